"""A day in the life of a hub, and where its secrets are found in the evening."""

import json
import re
import secrets
import shlex
from collections.abc import Iterator

import pytest

from tests.client import Person, RefusedError
from tests.hub import Hub

# The first is for forms of this browser only; the second names its session and opens nothing.
NO_SECRETS = ("_xsrf", "jupyterhub-session-id", "littlest-hub-site", "littlest-hub-login")
NAMED = "c.JupyterHub.allow_named_servers = True\n"
# Everything that a user with only an account may read: every file system except the kernel's own
# and the release, which was built before there was any secret.
READABLE = (
    "umask 077; cat >/tmp/sought;"
    " find / \\( -path /proc -o -path /sys -o -path '*/releases/*' -o -path /usr"
    " -o -path /tmp/sought \\) -prune -o -type f -readable -print0 2>/dev/null"
    " | xargs -0 grep -lsFf /tmp/sought; rm /tmp/sought"
)
PROCESSES = "cat /proc/[0-9]*/{file} 2>/dev/null | tr '\\0' '\\n'"


@pytest.fixture
def day(hub: Hub) -> Iterator[dict[str, str]]:
    """Return the secrets of a day by kind; servers still run."""
    machine, command = hub.machine, hub.path("hub/bin/littlest-hub")
    bundle, backup = "/var/tmp/hub-bundle.tar.gz", "/var/tmp/hub-backup.tar.gz"
    known: dict[str, str] = {}
    with hub.fragment("70-named.py", NAMED), hub.person() as alice, hub.person() as bob:
        alice.start_server()
        bob.start_server(server="prod")
        alice.run_cell("1")
        known["kernel key"] = json.loads(
            alice.run_cell(
                "from ipykernel import get_connection_info\nprint(get_connection_info())"
            )
        )["key"]
        known["API token that alice asked for"] = alice.token()
        # Careless scripts do this.
        headers = {"Authorization": f"token {known['API token that alice asked for']}"}
        assert alice.browser.get("/hub/api/user", headers=headers).status_code == 200
        for path in ("/hub/api/user", f"/user/{alice.name}/api/status"):
            alice.browser.get(path, params={"token": known["API token that alice asked for"]})
        known["password that somebody typed"] = secrets.token_urlsafe()
        somebody = Person(hub.url, alice.name, known["password that somebody typed"])
        with somebody, pytest.raises(RefusedError):
            somebody.log_in()
        hub.reload()
        assert alice.run_cell("6 * 7") == "42"
        machine.run([command, "backup", backup])
        machine.run([command, "doctor"], check=False)
        machine.run([command, "doctor", "--bundle", bundle], check=False)
        try:
            for person in (alice, bob):
                known[f"password of {person.name}"] = person.password
                for cookie in person.browser.cookies.jar:
                    if cookie.name not in NO_SECRETS:
                        known[f"cookie {cookie.name} {cookie.path} of {person.name}"] = str(
                            cookie.value
                        )
            known |= _found_by_root(hub)
            yield known
        finally:
            machine.run(["rm", "-f", bundle, backup])
            bob.stop_server(server="prod")


def _found_by_root(hub: Hub) -> dict[str, str]:
    """Return the secrets that the hub stores and that it passed to the processes it started."""
    machine = hub.machine
    found = {
        "cookie secret": machine.read(str(hub.layout.cookie_secret)).strip(),
        "hash of the proxy's password": machine.read(str(hub.layout.routes)).partition("{SHA}")[2][
            :28
        ],
    }
    environments = machine.run(["sh", "-c", PROCESSES.format(file="environ")]).stdout
    tokens = set(re.findall(r"JUPYTERHUB_API_TOKEN=(\w+)", environments))
    # Those of the culler, of alice's server and of bob's.
    assert len(tokens) >= 3
    return {**found, **{f"token {number}": token for number, token in enumerate(sorted(tokens))}}


@pytest.mark.row(3, 4)
def test_in_the_evening_no_secret_is_anywhere_that_it_should_not_be(
    hub: Hub, day: dict[str, str]
) -> None:
    machine, eve = hub.machine, "eve"
    assert all(len(secret) >= 20 for secret in day.values()), day
    machine.add_user(eve, secrets.token_urlsafe())

    def sees(script: str, user: str) -> str:
        return machine.run(["sh", "-c", script], user=user, check=False).stdout

    show = "systemctl show --all '*'; systemctl cat '*' 2>/dev/null"
    seen = {
        "the journal": machine.journal(),
        "all command lines": sees(PROCESSES.format(file="cmdline"), "root"),
        "what eve sees of environments": sees(PROCESSES.format(file="environ"), eve),
        "what systemd tells root of units": sees(show, "root"),
        "what systemd tells eve of units": sees(show, eve),
        "the logs": sees("find /var/log -type f ! -path '*/journal/*' -exec cat {} +", "root"),
        "the bundle of doctor": sees("tar -xzOf /var/tmp/hub-bundle.tar.gz", "root"),
        "the backup": sees("tar -xzOf /var/tmp/hub-backup.tar.gz", "root"),
    }
    assert all(len(text) > 500 for place, text in seen.items() if "environments" not in place), seen
    leaks = [
        f"{what} is in {place}"
        for place, text in seen.items()
        for what, secret in day.items()
        if secret in text
    ]
    assert leaks == [], "\n".join(leaks)
    # The search returns names of files, not their contents.
    patterns = "".join(f"{secret}\n" for secret in day.values())
    files = machine.run(["sh", "-c", READABLE], user=eve, input=patterns, check=False).stdout
    assert files == ""
    # The same search finds a secret where one is.
    machine.put("/var/tmp/planted", f"x{day['cookie secret']}x\n")
    try:
        planted = machine.run(["sh", "-c", READABLE], user=eve, input=patterns, check=False).stdout
        assert shlex.split(planted) == ["/var/tmp/planted"]
    finally:
        machine.run(["rm", "/var/tmp/planted"])
        machine.run(["userdel", "--remove", eve], check=False)
