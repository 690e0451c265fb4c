"""Real faults are named, and the commands that the doctor gives repair them."""

import base64
import json
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

Finding = dict[str, Any]


@pytest.fixture(scope="module")
def sick(installer: Path) -> Iterator[Hub]:
    """A hub for these tests only, since they break it."""
    with Machine("bookworm") as machine:
        machine.add_user("boss", "boss-password")
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment(
            "20-everybody.py",
            # Enough for a server that starts on a busy machine.
            "c.Authenticator.allow_all = True\nc.Spawner.start_timeout = 30\n",
        )
        hub.reload()
        yield hub


def examine(hub: Hub, *, user: str = "root") -> list[Finding]:
    """Return the doctor's findings that are not ok."""
    argv = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
    done = hub.machine.run(argv, check=False, user=user)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["well"] else 1)
    found: list[Finding] = [f for f in told["findings"] if f["severity"] != "ok"]
    return found


def about(found: list[Finding], subject: str, severity: str = "problem") -> Finding:
    matching = [f for f in found if subject in f["subject"] and f["severity"] == severity]
    assert matching, f"nothing about {subject}: {json.dumps(found, indent=1)}"
    return matching[0]


def mend(hub: Hub, finding: Finding) -> None:
    """Run a command as an administrator who pastes it."""
    hub.machine.run(["sh", "-c", finding["command"]], check=False)


def is_well(hub: Hub) -> bool:
    problems = [f for f in examine(hub) if f["severity"] == "problem"]
    assert not problems, json.dumps(problems, indent=1)
    return True


def healed(hub: Hub, finding: Finding) -> None:
    mend(hub, finding)
    eventually(lambda: is_well(hub), 90, "no problem any more")
    assert hub.answers()


def test_a_fresh_hub_is_well_and_the_report_is_short(sick: Hub) -> None:
    argv = [sick.path("hub/bin/littlest-hub"), "doctor"]
    done = sick.machine.run(argv, check=False)
    assert done.returncode == 0, done.stdout
    assert "All is well." in done.stdout
    assert len(done.stdout.splitlines()) < 20
    everything = sick.machine.run([*argv, "--all"]).stdout
    for what in (
        "login page: answers in",
        "held by systemd",
        "is active",
        "intact, ",
        "fragments: ",
    ):
        assert what in everything


@pytest.mark.parametrize("unit", ["hub_service", "proxy_service", "hub_socket", "proxy_socket"])
def test_a_stopped_unit_is_started_again(sick: Hub, unit: str) -> None:
    name = getattr(sick.layout, unit)
    sockets = [sick.layout.hub_socket, sick.layout.proxy_socket, sick.layout.proxy_api_socket]
    others = sockets if name.endswith(".service") else []
    sick.machine.systemctl("stop", *others, name)
    for _ in range(6):
        found = [f for f in examine(sick) if f["severity"] == "problem"]
        if not found:
            break
        mend(sick, found[0])
    eventually(lambda: is_well(sick), 60, "no problem any more")


def test_a_unit_that_was_disabled(sick: Hub) -> None:
    sick.machine.systemctl("disable", sick.layout.proxy_service)
    finding = about(examine(sick), sick.layout.proxy_service)
    mend(sick, finding)
    state = sick.machine.systemctl("is-enabled", sick.layout.proxy_service).stdout.strip()
    assert state == "enabled"


def test_a_port_that_another_program_took(sick: Hub) -> None:
    sockets = [sick.layout.proxy_socket, sick.layout.proxy_api_socket]
    sick.machine.systemctl("stop", sick.layout.proxy_service, *sockets)
    listen = "import socket, time; s = socket.create_server(('', 80)); time.sleep(600)"
    python = sick.path("hub/bin/python3")
    # Like any service, it does not survive `disable --now`.
    sick.machine.run(["systemd-run", "--unit=intruder", python, "-I", "-c", listen])
    eventually(lambda: sick.machine.systemctl("is-active", "intruder").stdout, 10, "the intruder")
    found = eventually(
        lambda: [f for f in examine(sick) if f["subject"] == "port 80"], 30, "port 80"
    )
    assert "intruder.service" in found[0]["text"]
    assert "python3" in found[0]["text"]
    mend(sick, found[0])
    for finding in examine(sick):
        if finding["severity"] == "problem":
            mend(sick, finding)
    eventually(lambda: is_well(sick), 60, "no problem any more")


def test_a_database_that_is_damaged_is_restored_from_the_last_backup(sick: Hub) -> None:
    database = sick.layout.database
    sick.machine.run([sick.path("hub/bin/littlest-hub"), "backup"])
    sick.machine.systemctl("stop", sick.layout.hub_socket, sick.layout.hub_service)
    sick.machine.run(
        ["sh", "-c", f"head -c 60000 /dev/urandom | dd of={database} bs=1 seek=3000 conv=notrunc"]
    )
    sick.machine.systemctl("start", sick.layout.hub_socket)
    finding = about(examine(sick), "database")
    assert "damaged" in finding["text"]
    assert "restore --yes" in finding["command"]
    healed(sick, finding)


@pytest.mark.parametrize(
    ("inside", "mode"),
    [
        ("state", "0755"),
        ("state/jupyterhub_cookie_secret", "0644"),
        ("jupyterhub_config.d", "0755"),
    ],
)
def test_secrets_that_others_may_read(sick: Hub, inside: str, mode: str) -> None:
    path = sick.path(inside)
    sick.machine.run(["chmod", mode, path])
    finding = about(examine(sick), path)
    healed(sick, finding)
    assert sick.machine.run(["stat", "-c%a", path]).stdout.strip() in ("700", "600")


@pytest.mark.row(34)
def test_a_directory_above_the_hub_that_others_may_replace(sick: Hub) -> None:
    above = str(sick.layout.base.parent)
    sick.machine.run(["chmod", "0777", above])
    finding = about(examine(sick), above)
    assert "belongs to root and has mode 0777: other users can change" in finding["text"]
    for verb in ("edit", "enable"):
        command = [sick.path("hub/bin/littlest-hub"), verb, "slurm"]
        refused = sick.machine.run(command, check=False)
        assert refused.returncode == 1
        assert f"chown root: {above} && chmod go-w {above}" in refused.stderr
    healed(sick, finding)
    fragment = sick.write_fragment("70-theirs.py", "c.Spawner.mem_limit = '2G'\n")
    sick.machine.run(["chmod", "0666", fragment])
    finding = about(examine(sick), fragment)
    assert "other users can change what the hub runs" in finding["text"]
    healed(sick, finding)
    sick.machine.run(["rm", fragment])


def test_a_fragment_with_a_mistake_and_one_that_is_not_applied(sick: Hub) -> None:
    path = sick.write_fragment("70-bad.py", "c.Spawner.mem_limits = '1G'\n")
    found = examine(sick)
    assert "mem_limit" in about(found, f"{path}:1")["text"]
    assert "70-bad.py" in about(found, f"{path}:1")["command"]
    sick.machine.put(path, "c.Spawner.mem_limit = '2G'\n")
    finding = about(examine(sick), "fragments", "warning")
    assert "70-bad.py" in finding["text"]
    mend(sick, finding)
    assert not [f for f in examine(sick) if f["subject"] == "fragments"]
    sick.machine.run(["mv", path, f"{path}.old"])
    mend(sick, about(examine(sick), "70-bad.py.old", "warning"))
    sick.machine.run(["sh", "-c", f"rm -f {sick.path('jupyterhub_config.d')}/70-bad*"])
    sick.reload()


def test_a_missing_home_directory_is_why_a_server_does_not_start(sick: Hub) -> None:
    sick.machine.add_user("homeless", "homeless-password")
    sick.machine.run(["rm", "-rf", "/home/homeless"])
    with Person(sick.url, "homeless", "homeless-password") as person:
        person.log_in()
        # Refused at once, or after the hub has reported an attempt.
        with pytest.raises(AssertionError):
            person.start_server(timeout_s=60)
        finding = about(examine(sick), "homeless's server")
        assert "status=200/CHDIR" in finding["text"]
        assert "home directory is missing" in finding["text"]
        mend(sick, finding)
        person.start_server()
        is_well(sick)
        person.stop_server()


def test_a_full_disk(sick: Hub) -> None:
    sick.machine.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", "/home"])
    try:
        sick.machine.run(["sh", "-c", "head -c 5000000 /dev/zero > /home/core || true"])
        finding = about(examine(sick), "disk /home")
        assert "is full" in finding["text"]
        shown = sick.machine.run(["sh", "-c", finding["command"]]).stdout
        assert "/home" in shown
    finally:
        sick.machine.run(["umount", "/home"])
    is_well(sick)


def test_a_server_that_the_hub_does_not_know(sick: Hub) -> None:
    unit = f"{sick.layout.instance}.user-stray.service"
    sick.machine.run(["systemd-run", f"--unit={unit}", "sleep", "600"])
    finding = about(examine(sick), unit, "warning")
    mend(sick, finding)
    assert not [f for f in examine(sick) if unit in f["subject"]]


def test_a_hub_that_crashes_again_and_again_shows_why(sick: Hub) -> None:
    path = f"/etc/systemd/system/{sick.layout.hub_service}.d/crash.conf"
    sick.machine.put(path, "[Service]\nExecStartPre=/bin/sh -c 'echo the real cause >&2; exit 1'\n")
    sick.machine.systemctl("daemon-reload")
    sick.machine.systemctl("restart", sick.layout.hub_service, check=False)
    try:
        finding = eventually(
            lambda: about(examine(sick), sick.layout.hub_service), 30, "the crash loop"
        )
        assert "the real cause" in finding["text"], finding
    finally:
        sick.machine.run(["rm", path])
        sick.machine.systemctl("daemon-reload")
        sick.machine.systemctl("restart", sick.layout.hub_service)
    eventually(sick.answers, 30, "the login page")


def test_without_root_it_says_what_it_cannot_see(sick: Hub) -> None:
    found = examine(sick, user="boss")
    unseen = {f["subject"] for f in found if f["severity"] == "unseen"}
    assert {"fragments", "database", "backup"} <= unseen
    assert all("doctor" in f["command"] for f in found if f["subject"] in unseen and f["command"])
    assert not [f for f in found if f["severity"] == "problem"]


def test_it_works_when_half_of_the_hub_is_gone(sick: Hub) -> None:
    sick.machine.run(["mv", sick.path("state"), sick.path("state.away")])
    try:
        assert about(examine(sick), str(sick.layout.state))
    finally:
        sick.machine.run(["mv", sick.path("state.away"), sick.path("state")])


PLANTED = {
    "fragment client_secret": 'c.GitHubOAuthenticator.client_secret = "{}"',
    "fragment variable": 'pw = "{}"\nc.LDAPAuthenticator.bind_dn_password = pw',
    "fragment api_token": 'c.JupyterHub.services = [{{"name": "x", "api_token": "{}"}}]',
    "fragment environ": 'os.environ["AWS_SECRET_ACCESS_KEY"] = "{}"',
    "fragment url": 'c.JupyterHub.db_url = "postgresql://hub:{}@db.example/hub"',
    "fragment comment": "# the password was: {}",
    "fragment shell": 'c.Spawner.cmd = ["sh", "-c", "export HF_TOKEN={}; exec x"]',
    "fragment argument": 'c.Spawner.args = ["--token", "{}"]',
    "fragment f-string": 'x_secret = f"{}"',
    "fragment multi-line": 'private_key = """\n-----BEGIN RSA PRIVATE KEY-----\n{}\n'
    '-----END RSA PRIVATE KEY-----\n"""',
    "journal bearer": "Authorization: Bearer {}",
    "journal header": '"X-Xsrftoken": "{}",',
    "journal cookie": "Cookie: a={}; b=c",
    "journal query": "GET /hub/oauth_callback?code={}&state=x",
    "journal environment": "JUPYTERHUB_API_TOKEN={}",
    "journal password": "bind failed with password={}",
    "journal url": "cannot reach ldap://admin:{}@ldap.example",
    "drop-in environment": "Environment=OAUTH_CLIENT_SECRET={}",
    "drop-in quoted": 'Environment="SMTP_PASSWORD={}"',
    "drop-in crypt key": "Environment=JUPYTERHUB_CRYPT_KEY={}",
    "environment file": "PLAIN_NAME={}",
    "state key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "state secret": "{}",
}


def test_no_planted_secret_leaves_in_a_bundle(sick: Hub) -> None:
    machine, layout = sick.machine, sick.layout
    # Without digits: words, which only their place marks as a secret.
    words = {name: f"plant{chr(97 + i)}wort{chr(122 - i)}geheim" for i, name in enumerate(PLANTED)}
    lines = {name: text.format(words[name]) for name, text in PLANTED.items()}
    fragment = "import os\nif False:\n" + "".join(
        f"    {line}\n" if not line.startswith("-----") else f"{line}\n"
        for name, text in lines.items()
        if name.startswith("fragment") and "multi-line" not in name
        for line in text.splitlines()
    )
    path = sick.write_fragment("80-plant.py", fragment + lines["fragment multi-line"] + "\n")
    drop_in = f"/etc/systemd/system/{layout.hub_service}.d/plant.conf"
    environment = "\n".join(text for name, text in lines.items() if name.startswith("drop-in"))
    machine.put("/etc/plant.env", lines["environment file"] + "\n", mode=0o600)
    machine.put(drop_in, f"[Service]\n{environment}\nEnvironmentFile=/etc/plant.env\n")
    machine.put(sick.path("state/proxy/dynamic/plant.key"), lines["state key"], mode=0o600)
    machine.put(sick.path("state/oauth.secret"), lines["state secret"], mode=0o600)
    told = "\n".join(
        [
            *(text for name, text in lines.items() if name.startswith("journal")),
            # Known secrets, where nothing around them marks them.
            f"the file says {words['state secret']} and {words['state key']}",
            f"and {words['environment file']} and {words['fragment variable']}",
        ]
    )
    machine.put("/tmp/told", told)
    machine.run(
        ["systemd-run", "--wait", f"--unit={layout.instance}.user-plant", "cat", "/tmp/told"],
        check=False,
    )
    machine.systemctl("daemon-reload")
    try:
        machine.run(["rm", "-f", "/root/bundle.tar.gz"])
        sick_binary = sick.path("hub/bin/littlest-hub")
        machine.run([sick_binary, "doctor", "--bundle", "/root/bundle.tar.gz"], check=False)
        assert machine.run(["stat", "-c%a", "/root/bundle.tar.gz"]).stdout.strip() == "600"
        data = base64.b64decode(machine.run(["base64", "/root/bundle.tar.gz"]).stdout)
        cookie = machine.read(str(layout.cookie_secret)).strip()
    finally:
        machine.run(["rm", "-f", path, drop_in, "/etc/plant.env", "/tmp/told",
                     sick.path("state/proxy/dynamic/plant.key"),
                     sick.path("state/oauth.secret")])  # fmt: skip
        machine.systemctl("daemon-reload")
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        files = {i.name: f.read().decode() for i in tar if (f := tar.extractfile(i))}
    content = "\n".join(files.values())
    for name, word in {**words, "cookie secret": cookie}.items():
        assert word not in content, f"{name}: {word}"
        for offset in range(3):
            encoded = base64.b64encode(b"x" * offset + word.encode()).decode()
            assert encoded[4 if offset else 0 : -4] not in content, name
    # The useful facts are there.
    bundled = files["bundle/jupyterhub_config.d/80-plant.py"]
    assert "c.GitHubOAuthenticator.client_secret" in bundled
    assert "cannot reach ldap://" in files["bundle/journal/user-servers.txt"]
    assert "littlest-hub.service" in files["bundle/units/cat.txt"]
    assert "systemd" in files["bundle/machine/systemd.txt"]
    assert json.loads(files["bundle/doctor.json"])["format"] == 1
