"""File permissions and rights of processes on a machine that serves."""

import json
import re
import tomllib

import pytest

from tests.eventually import eventually
from tests.hub import Hub


def _mode(hub: Hub, path: object) -> str:
    return hub.machine.run(["stat", "--format=%U:%G %a", str(path)]).stdout.strip()


def test_the_proxy_reads_its_rules_and_no_other_user_does(hub: Hub) -> None:
    layout = hub.layout
    assert _mode(hub, layout.routes) == "root:root 644"
    with hub.person() as alice:
        alice.start_server()
        # The directories above are closed: the proxy's own mount is its only way there.
        read = ["cat", str(layout.routes)]
        assert hub.machine.run(read, user=alice.name, check=False).returncode != 0
        assert f"/user/{alice.name}/" in hub.machine.read(str(layout.routes))


def test_only_root_enters_the_state_directory(hub: Hub) -> None:
    layout = hub.layout
    assert _mode(hub, layout.state) == "root:root 700"
    assert _mode(hub, layout.database) == "root:root 600"
    assert _mode(hub, layout.cookie_secret) == "root:root 600"
    with hub.person() as alice:
        tried = hub.machine.run(["ls", str(layout.state)], user=alice.name, check=False)
        assert tried.returncode != 0
        alice.start_server()
        listing = "import os\ntry:\n    os.listdir(%r)\nexcept PermissionError:\n    print('no')"
        assert alice.run_cell(listing % str(layout.state)) == "no\n"


@pytest.mark.row(4)
def test_no_command_line_and_no_journal_shows_a_secret(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        alice.run_cell("1")
        rules = hub.machine.read(str(hub.layout.routes))
        environment = hub.machine.run(["cat", f"/proc/{hub.main_pid()}/environ"]).stdout
        secrets = {
            "cookie secret": hub.machine.read(str(hub.layout.cookie_secret)).strip(),
            "hash of the proxy's API password": rules.partition("{SHA}")[2][:28],
            "alice's password": alice.password,
        }
        assert all(len(secret) > 20 for secret in secrets.values()), secrets
        commands = hub.machine.run(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout
        journal = hub.machine.journal()
        for name, secret in secrets.items():
            assert secret not in commands, f"{name} is on a command line"
            assert secret not in journal, f"{name} is in the journal"
            assert secret not in environment, f"{name} is in the hub's environment"
        tokens = re.findall(r"JUPYTERHUB_API_TOKEN=(\w+)", commands + journal + environment)
        assert tokens == []


@pytest.mark.row(3)
def test_a_user_sees_no_secret_of_another_in_the_processes(hub: Hub) -> None:
    with hub.person() as alice, hub.person() as bob:
        alice.start_server()
        read = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c API_TOKEN; true"
        assert hub.machine.run(["sh", "-c", read], user=bob.name).stdout.strip() == "0"


def test_each_hub_process_brings_a_new_password_for_the_proxy(hub: Hub) -> None:
    def password_hash() -> str:
        return hub.machine.read(str(hub.layout.routes)).partition("{SHA}")[2][:28]

    before = password_hash()
    hub.machine.systemctl("restart", hub.layout.hub_service)
    eventually(lambda: password_hash() != before, 10, "a new hash in the proxy's rules")
    # A new route needs the proxy to accept the new password.
    with hub.person() as alice:
        alice.start_server()
        assert alice.run_cell("6 * 7") == "42"


@pytest.mark.row(16)
def test_the_proxy_has_a_user_of_its_own_and_no_capability(hub: Hub) -> None:
    status = hub.machine.read(f"/proc/{hub.main_pid(hub.layout.proxy_service)}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    (proxy_uid,) = set(fields["Uid"].split())
    # The range of dynamic users (DynamicUser= of systemd.exec(5)).
    assert 61184 <= int(proxy_uid) <= 65519
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.row(16)
def test_the_hub_reads_roots_files_and_cannot_become_another_user(hub: Hub) -> None:
    status = hub.machine.read(f"/proc/{hub.serving_pid()}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapBnd"], 16) == 1 << 2  # CAP_DAC_READ_SEARCH of linux/capability.h
    assert fields["NoNewPrivs"] == "1"
    assert hub.machine.read(f"/proc/{hub.serving_pid()}/uid_map").split() == ["0", "0", "1"]
    # In a process with its unit's sandbox: how it would run something as another user.
    attempt = "import os\nfor become in (os.setuid, os.setgid):\n  try: become(65534)\n"
    attempt += "  except OSError: print('no')\n  else: print(os.getuid(), os.getgid())"
    properties = ["CapabilityBoundingSet", "NoNewPrivileges", "PrivateUsers"]
    shown = hub.machine.systemctl(
        "show", *(f"--property={name}" for name in properties), hub.layout.hub_service
    ).stdout.splitlines()
    given = [f"--property={line}" for line in shown]
    python = hub.path("hub/bin/python3")
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *given, python, "-c", attempt]
    assert hub.machine.run(run).stdout == "no\nno\n"


def test_the_proxy_neither_checks_for_updates_nor_reports_anything(hub: Hub) -> None:
    # Without these settings, the effect would show only on a machine with internet access.
    static = tomllib.loads(hub.machine.read(str(hub.layout.static_config)))
    assert static["global"] == {"checkNewVersion": False, "sendAnonymousUsage": False}


@pytest.mark.row(16)
def test_the_idle_culler_may_list_and_stop_servers_and_nothing_else(hub: Hub) -> None:
    pid = hub.machine.run(
        ["sh", "-c", "grep -l idle_cull[e]r /proc/[0-9]*/cmdline | head -n 1"]
    ).stdout.split("/")[2]
    environment = hub.machine.run(["cat", f"/proc/{pid}/environ"]).stdout
    token = re.search(r"JUPYTERHUB_API_TOKEN=(\w+)", environment)
    address = re.search(r"JUPYTERHUB_API_URL=([^\0]+)", environment)
    assert token is not None
    assert address is not None

    with hub.person() as alice:
        headers = {"Authorization": f"token {token[1]}"}
        api = f"{hub.url}/hub/api"
        alice.browser.cookies.clear()
        me = alice.browser.get(f"{api}/user", headers=headers)
        scopes = set(me.json()["scopes"])
        assert scopes, me.text
        assert all(scope.startswith(("list:", "read:", "delete:servers")) for scope in scopes), (
            json.dumps(sorted(scopes))
        )
        assert alice.browser.get(f"{api}/users", headers=headers).status_code == 200
        forbidden = [
            alice.browser.post(f"{api}/users/mallory", headers=headers),
            alice.browser.delete(f"{api}/users/{alice.name}", headers=headers),
            alice.browser.post(f"{api}/users/{alice.name}/tokens", headers=headers),
            alice.browser.post(f"{api}/shutdown", headers=headers, json={}),
        ]
        assert [answer.status_code for answer in forbidden] == [403] * 4
        alice.log_in()
