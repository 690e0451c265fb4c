"""Fragments that `check` passes work at a reload and a boot; it names the lines of others.

The cases are reports of administrators whose fragment passed the check and then stopped the hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import make
from tests.container.test_configuring import COMMAND, check
from tests.eventually import eventually
from tests.hub import Hub

FILE = "60-checked.py"


@contextmanager
def drop_in(hub: Hub, text: str) -> Iterator[None]:
    """Give the hub's unit a drop-in, which systemd reads; restart the hub without it at the end."""
    path = f"/etc/systemd/system/{hub.layout.hub_service}.d/60-test.conf"
    hub.machine.put(path, f"[Service]\n{text}")
    hub.machine.systemctl("daemon-reload")
    try:
        yield
    finally:
        hub.machine.run(["rm", path])
        hub.machine.systemctl("daemon-reload")
        hub.machine.systemctl("restart", hub.layout.hub_service)


@contextmanager
def present(hub: Hub, text: str) -> Iterator[None]:
    """Leave a fragment in place for the block, and reload without it at the end."""
    path = hub.write_fragment(FILE, text)
    try:
        yield
    finally:
        hub.machine.run(["rm", path])
        hub.reload()


def boot(hub: Hub) -> None:
    """Stop hub, proxy and their sockets, then start them as a boot does."""
    units = [
        unit for unit in hub.layout.started_unit_names if unit != hub.layout.proxy_https_socket
    ]
    hub.machine.systemctl("stop", *units)
    hub.machine.systemctl("start", *units)
    eventually(hub.answers, 60, "a login page")


def announcement(hub: Hub) -> str:
    """Return what the login page announces."""
    script = f"import urllib.request as r; print(r.urlopen('{hub.url}/hub/login').read().decode())"
    page = hub.machine.run([hub.path("hub/bin/python3"), "-c", script]).stdout
    return page.partition("S=")[2].partition(";")[0]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\nc.JupyterHub.hub_ip = '0.0.0.0'\n", 2, "one more ListenStream= in a drop-in"),
        ("c.JupyterHub.hub_ip = ''\n", 1, "the hub cannot listen at *:15001"),
        ("c.JupyterHub.hub_connect_ip = '{address}'\n", 1, "it listens at 127.0.0.1:15001"),
        ("c.JupyterHub.hub_connect_ip = '192.0.2.7'\n", 1, "would listen at 192.0.2.7:15001 too"),
        ("c.JupyterHub.hub_ip = '::'\n", 1, "the hub cannot listen at :::15001"),
        ("c.JupyterHub.hub_bind_url = 'https://[::1]:15001'\n", 1, "http and TCP only"),
        ("c.JupyterHub.hub_bind_url = 'http://127.0.0.1:22'\n", 1, "Permission denied"),
        ("c.JupyterHub.hub_bind_url = 'http+unix://%2Frun%2Fhub'\n", 1, "http and TCP only"),
        ("c.JupyterHub.pid_file = '/usr/hub.pid'\n", 1, "may not write"),
    ],
)
def test_what_stops_a_hub_is_refused_with_its_line(
    hub: Hub, text: str, line: int, message: str
) -> None:
    text = text.format(address=hub.machine.address)
    code, said = check(hub, text)
    assert code == 1
    assert f"{FILE}:{line}: " in said
    assert message in said


def test_a_reload_refuses_what_would_stop_the_hub(hub: Hub) -> None:
    with present(hub, "\nc.JupyterHub.hub_ip = '0.0.0.0'\n"):
        assert hub.reload(check=False).returncode != 0
        assert f"{FILE}:2: " in hub.status()
        assert hub.answers()


def test_a_name_of_the_hubs_address_is_as_good_as_the_address(hub: Hub) -> None:
    text = "c.JupyterHub.hub_connect_ip = 'localhost'\n"
    code, said = check(hub, text)
    assert code == 0, said
    with present(hub, text):
        hub.reload()
        assert hub.answers()
        boot(hub)


def test_addresses_files_in_run_and_names_are_those_of_the_hub(hub: Hub) -> None:
    hub.machine.put("/run/secrets/note", "from the ministry\n")
    text = (
        "import socket\n"
        "from jupyter_client.localinterfaces import public_ips\n"
        "note = open('/run/secrets/note').read()\n"
        "name = socket.gethostbyname(socket.gethostname())\n"
        "c.JupyterHub.template_vars = {'announcement': f'S={public_ips()[0]} {name} {note};'}\n"
    )
    code, said = check(hub, text)
    assert code == 0, said
    with present(hub, text):
        hub.reload()
        expected = f"{hub.machine.address} {hub.machine.address} from the ministry"
        assert announcement(hub).strip() == expected
        boot(hub)
        assert announcement(hub).strip() == expected


def test_services_that_fail_do_not_take_the_hub_away(hub: Hub) -> None:
    hub.machine.add_user("marker", "x")
    text = (
        "c.JupyterHub.services.append({'name': 'grades', 'url': 'http://127.0.0.1:9010',\n"
        "    'user': 'marker', 'cwd': '/home/marker', 'command': ['/bin/sleep', '60']})\n"
        "c.JupyterHub.services.append({'name': 'other', 'user': 'marker',\n"
        "    'command': ['/bin/sleep', '60']})\n"
        "c.JupyterHub.services.append({'name': 'writer',\n"
        "    'command': ['/bin/sh', '-c', 'echo x >/srv/x']})\n"
    )
    code, said = check(hub, text)
    assert code == 0, said
    assert f"{FILE}:1: warning: JupyterHub.services: service 'grades' cannot start" in said
    assert "the hub cannot enter /home/marker" in said
    assert f"{FILE}:3: warning: JupyterHub.services: service 'other' cannot start" in said
    assert "may not become marker" in said
    with present(hub, text):
        for start in (hub.reload, lambda: boot(hub)):
            start()
            assert hub.answers()
            for name in ("grades", "other", "writer"):
                eventually(lambda: f"{name} (" in hub.status(), 20, f"the failure of {name}")  # noqa: B023
        assert "Service writer: exited with status" in hub.machine.journal(hub.layout.hub_service)
        doctor = hub.machine.run([hub.path(COMMAND), "doctor"], check=False).stdout
        assert "without service" in doctor
    assert "without service" not in hub.status()


def test_a_pid_file_names_the_hub_that_serves_after_every_reload(hub: Hub) -> None:
    text = "c.JupyterHub.pid_file = '/run/hub.pid'\n"
    assert check(hub, text)[0] == 0
    with present(hub, text):
        for start in (hub.reload, hub.reload, lambda: boot(hub)):
            start()
            assert hub.machine.read("/run/hub.pid").strip() == str(hub.serving_pid())
    assert hub.machine.run(["ls", "/run/hub.pid"], check=False).returncode != 0


def test_a_key_of_another_account_is_refused_and_does_not_stop_a_boot(
    hub: Hub, tmp_path: Path
) -> None:
    for file in make(tmp_path, "hub.example.org"):
        hub.machine.put(f"/etc/ssl/hub/{file.name}", file.read_text(), mode=0o600)
    text = (
        "c.JupyterHub.ssl_cert = '/etc/ssl/hub/hub.example.org.crt'\n"
        "c.JupyterHub.ssl_key = '/etc/ssl/hub/hub.example.org.key'\n"
    )
    hub.machine.run(["chown", "games", "/etc/ssl/hub/hub.example.org.key"])
    code, said = check(hub, text)
    assert code == 1
    assert f"{FILE}:2: JupyterHub.ssl_key: the hub cannot read" in said
    with present(hub, text):
        assert hub.reload(check=False).returncode != 0
        assert f"{FILE}:2: " in hub.status()
        # As after a certificate was renewed by another account.
        boot(hub)
        assert "hub.example.org.key: Permission denied" in hub.status()
        doctor = hub.machine.run([hub.path(COMMAND), "doctor"], check=False).stdout
        assert "the hub cannot read /etc/ssl/hub/hub.example.org.key" in doctor
        hub.machine.run(["chown", "root", "/etc/ssl/hub/hub.example.org.key"])
        eventually(lambda: "Permission denied" not in hub.status(), 30, "the key to be read")


VARIABLES = (
    "import os, pathlib\n"
    "pin = pathlib.Path(os.environ.get('CREDENTIALS_DIRECTORY', '/none'), 'pin')\n"
    "text = pin.read_text().strip() if pin.exists() else os.environ.get('S', 'none')\n"
    "c.JupyterHub.template_vars = {'announcement': f'S={text};'}\n"
)


def test_a_reload_takes_up_variables_of_drop_ins_as_check_sees_them(hub: Hub) -> None:
    with present(hub, VARIABLES):
        hub.reload()
        assert announcement(hub) == "none"
        hub.machine.put("/etc/hub.env", "S=one\n")
        with drop_in(hub, "EnvironmentFile=/etc/hub.env\n"):
            hub.reload()
            assert announcement(hub) == "one"
            hub.machine.put("/etc/hub.env", "S=two\n")
            hub.reload()
            assert announcement(hub) == "two"
            hub.machine.run(["sh", "-c", f"kill -KILL {hub.serving_pid()}"])
            assert announcement(hub) == "two"


def test_a_reload_names_what_only_a_restart_applies(hub: Hub) -> None:
    restart = f"systemctl restart {hub.layout.hub_service}"
    with present(hub, VARIABLES):
        hub.machine.put("/etc/hub.pin", "elder-7391\n", mode=0o600)
        with drop_in(hub, "LoadCredential=pin:/etc/hub.pin\nReadWritePaths=/srv\n"):
            checked = hub.machine.run([hub.path(COMMAND), "check"]).stdout
            assert hub.reload(check=False).returncode != 0
            for said in (checked, hub.status()):
                assert "ReadWritePaths= of littlest-hub.service has changed" in said
                assert restart in said
            assert "credential pin of" in hub.machine.run([hub.path(COMMAND), "check"]).stdout
            hub.machine.systemctl("restart", hub.layout.hub_service)
            assert announcement(hub) == "elder-7391"
            hub.reload()
            hub.machine.put("/etc/hub.pin", "birch-4182\n", mode=0o600)
            assert hub.reload(check=False).returncode != 0
            assert "credential pin of littlest-hub.service has changed" in hub.status()
            doctor = hub.machine.run([hub.path(COMMAND), "doctor"], check=False).stdout
            assert "credential pin of littlest-hub.service has changed" in doctor
            assert "birch-4182" not in hub.machine.journal(hub.layout.hub_service)
        path = f"/etc/systemd/system/{hub.layout.hub_service}.d/61-unread.conf"
        hub.machine.put(path, "[Service]\nEnvironment=S=unread\n")
        try:
            assert "systemctl daemon-reload" in hub.machine.run([hub.path(COMMAND), "check"]).stdout
        finally:
            hub.machine.run(["rm", "-r", path.rpartition("/")[0]])
            hub.machine.systemctl("daemon-reload")
