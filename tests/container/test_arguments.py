"""Text of fragments that reaches a server as it was written, on every supported systemd."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from littlest_hub.hub.accounts import LentAccount
from littlest_hub.hub.launch import CONTROL_CHARACTER, Launch, assignment, environment_file
from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.client import Person
from tests.container.conftest import FURTHER
from tests.hub import Hub
from tests.machine import Machine

PROGRAM = "/usr/local/bin/repeat"
ANSWER, ENVIRONMENT = "/run/answer", "/run/repeat.env"
# No Python on these machines. The environment is read as the kernel has it.
REPEAT = f"""#!/bin/sh
{{ printf '%s\\0' "$@"; printf '\\0'; cat /proc/self/environ; }} >{ANSWER}
"""
WHO = """#!/bin/sh
echo "$(id -un) $(id -gn) $(eval echo ~ada)" >answer
"""
# "\0" ends an argument; surrogates are no UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
JSON = """--ServerApp.tornado_settings={'headers': {'X-A': 'b'}}"""
SPECIAL = [
    JSON,
    "$HOME",
    "${HOME}",
    "$$",
    "$",
    "a$b$$c",
    "%h",
    "%%",
    "{USER}",
    "\\x41\\",
    "'\"",
    "",
]


@pytest.fixture(scope="module", params=["bullseye", *FURTHER])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine without a hub: systemd 247, 252, 257."""
    with Machine(request.param) as machine:
        machine.put(PROGRAM, REPEAT, mode=0o755)
        yield machine


@pytest.mark.row(39)
@given(st.lists(TEXTS, max_size=20), TEXTS)
@example(SPECIAL, '{"a": "\\n\\\\ $HOME %h \'"}')
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_arguments_and_variables_reach_a_unit_byte_for_byte(
    machine: Machine, arguments: list[str], value: str
) -> None:
    value = CONTROL_CHARACTER.sub("", value)
    in_json = json.dumps({"a": value})
    launch = Launch(
        unit="repeat.service",
        account=None,
        command=[PROGRAM, *arguments],
        environment={},
        properties={
            "Type": "oneshot",
            "Environment": ["PLAIN=x", assignment(f"JSON={in_json}")],
        },
    )
    machine.put(ENVIRONMENT, environment_file({"VALUE": value}))
    machine.run(launch.systemd_run(Path(ENVIRONMENT)))
    # Encoded, or "\r" would be taken for an end of a line on its way here.
    answer = machine.run(["base64", ANSWER]).stdout
    said = base64.b64decode(answer).decode().split("\0")
    assert said[: len(arguments)] == arguments
    assert {"PLAIN=x", f"JSON={in_json}", f"VALUE={value}"} <= set(said[len(arguments) :])


def test_a_lent_account_has_the_hubs_name_wherever_it_is_looked_up(machine: Machine) -> None:
    machine.put("/usr/local/bin/who", WHO, mode=0o755)
    files = Path("/run/lent:named")
    account = LentAccount(Layout(DEFAULT_BASE), "ada", Path("/var/lib/homes/ada"), files)
    # As in user servers: it hides where systemd records the number.
    hidden: dict[str, str | list[str]] = {
        "TemporaryFileSystem": "/run/systemd:ro",
        "BindReadOnlyPaths": account.views(),
    }
    launch = Launch(
        unit="lent.service",
        account=None,
        command=["/usr/local/bin/who"],
        environment={},
        properties={"Type": "oneshot", "Restart": "no", **account.properties(), **hidden},
    )
    machine.put(ENVIRONMENT, "")
    for _ in range(2):  # the second time, the files are there
        machine.run(launch.systemd_run(Path(ENVIRONMENT)))
        assert machine.read("/var/lib/homes/ada/answer") == "ada ada /var/lib/homes/ada\n"
    assert machine.read(f"{files}.passwd").count("ada") == 3
    assert machine.run(["id", "ada"], check=False).returncode != 0


@pytest.mark.row(39)
def test_braces_and_dollars_of_a_fragment_reach_a_real_server(hub: Hub) -> None:
    arguments = [JSON, "--ServerApp.token=$HOME $$ %h {x}", "--IdentityProvider.x=${USER}"]
    fragment = f"""
c.Spawner.args = {arguments!r}
c.Spawner.environment = {{"LOOK": "{{USERNAME}} $HOME"}}
c.SystemdSpawner.unit_extra_properties = {{"Environment": 'MARK={{"a":1}}'}}
"""
    with hub.fragment("70-text.py", fragment), hub.person() as alice:
        alice.start_server()
        server = hub.main_pid(f"{hub.layout.user_unit(alice.name)}.service")
        command = hub.machine.read(f"/proc/{server}/cmdline").split("\0")
        assert command[-4:-1] == arguments
        cell = "import os\nprint(os.environ['MARK'], os.environ['LOOK'])"
        assert alice.run_cell(cell) == '{"a":1} {USERNAME} $HOME\n'


@pytest.mark.row(39)
def test_of_two_accounts_with_one_number_the_server_runs_as_the_one_that_logged_in(
    hub: Hub,
) -> None:
    cell = """
import grp, os, subprocess
names = sorted(grp.getgrgid(each).gr_name for each in {os.getegid(), *os.getgroups()})
print(os.path.expanduser("~"), os.getcwd(), os.listdir("/home"), names, os.environ["LOGNAME"])
open("own", "w").close()
"""
    password = secrets.token_urlsafe()
    with hub.person("number-one") as first:
        uid = hub.machine.run(["id", "-u", first.name]).stdout.strip()
        hub.machine.run(["useradd", "-o", "-u", uid, "-m", "number-two"])
        hub.machine.run(["chpasswd"], input=f"number-two:{password}\n")
        hub.machine.run(["groupadd", "seconds"])
        hub.machine.run(["gpasswd", "--add", "number-two", "seconds"])
        with Person(hub.url, "number-two", password) as second:
            second.log_in()
            second.start_server()
            home = "/home/number-two"
            groups = ["number-two", "seconds"]
            told = second.run_cell(cell)
            assert told == f"{home} {home} ['number-two'] {groups} number-two\n"
            hub.machine.run(["test", "-e", f"{home}/own"])
            second.stop_server()
        first.start_server()
        home = "/home/number-one"
        told = first.run_cell(cell)
        assert told == f"{home} {home} ['number-one'] ['number-one'] number-one\n"
