"""The launch stack's resolver in its unit: what it sees, writes and reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.stacks.launch.resolver.units import address_of, sources_of
from tests.hub import Hub
from tests.launch_machine import PACKAGES, LaunchMachine, launch_machine
from tests.machine import Machine

pytestmark = [pytest.mark.long, pytest.mark.needs("git")]

CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(sys.argv[2].encode())
    connection.shutdown(socket.SHUT_WR)
    print(connection.makefile().read())
"""
PROBE = """
import json, os, sys
sys.stdin.read()
seen, written = {}, []
for directory in sys.argv[1].split(":"):
    try:
        seen[directory] = sorted(each for each in os.listdir(directory) if not each.isdigit())
    except OSError:
        seen[directory] = None
for directory in sys.argv[2].split(":"):
    try:
        with open(directory + "/probe", "w"):
            written.append(directory)
        os.unlink(directory + "/probe")
    except OSError:
        pass
try:
    with open("/run/large", "wb") as file:
        for _ in range(1000):
            file.write(bytes(1 << 20))
except OSError:
    pass
size = os.path.getsize("/run/large") >> 20
rights = open("/proc/self/status").read().partition("CapBnd:")[2].split()[0]
print(json.dumps({"seen": seen, "written": written, "megabytes": size, "rights": int(rights, 16)}))
"""


class Resolver:
    """The resolver on a machine with the stack."""

    def __init__(self, launching: LaunchMachine) -> None:
        self.hub, self.machine = launching.hub, launching.machine
        self.layout = launching.layout
        self.python = self.hub.path("hub/bin/python3")
        self.url = f"{launching.url}a"
        self.name = self.layout.stack_unit("launch", "-resolver")

    def ask(self, repository: str, *, user: str = "root") -> list[dict[str, Any]]:
        """Return the lines of an answer."""
        request = json.dumps({"repository": repository})
        command = [self.python, "-c", CLIENT, str(address_of(self.layout)), request]
        printed = self.machine.run(command, user=user).stdout
        return [json.loads(line) for line in printed.splitlines() if line]


@pytest.fixture(scope="module")
def resolver(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resolver]:
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        with launch_machine(hub, tmp_path_factory.mktemp("resolving")) as launching:
            yield Resolver(launching)


def test_a_repository_is_resolved_twice_and_fetched_once(resolver: Resolver) -> None:
    first = resolver.ask(resolver.url)
    assert [*first[0]] == ["progress"]
    found = first[-1]["resolved"]
    place = sources_of(resolver.layout) / found["directory"]
    assert resolver.machine.read(f"{place}/files/requirements.txt") == "six\n"
    assert found["environment"]["kind"] == "requirements.txt"
    again = resolver.ask(resolver.url)
    assert again[-1]["resolved"] == found
    assert {"progress": "unpacking"} in first
    assert {"progress": "unpacking"} not in again


def test_a_host_that_nobody_knows_is_said_to_be_unknown(resolver: Resolver) -> None:
    (_, last) = resolver.ask("https://git.example.com/a")
    assert "'git.example.com' cannot be found" in last["refused"]


def test_only_root_connects(resolver: Resolver) -> None:
    command = [resolver.python, "-c", CLIENT, str(address_of(resolver.layout)), "{}"]
    done = resolver.machine.run(command, user="nobody", check=False)
    assert "PermissionError" in done.stderr


def test_the_resolver_sees_and_writes_almost_nothing(resolver: Resolver) -> None:
    layout, machine = resolver.layout, resolver.machine
    sources = str(sources_of(layout))
    to_see = [layout.state, layout.stacks / "launch", layout.fragments, "/home", "/root", "/proc"]
    to_write = [
        sources,
        "/run",
        layout.base,
        layout.state,
        layout.stacks / "launch",
        "/etc",
        "/var",
    ]
    seen, written = (":".join(map(str, each)) for each in (to_see, to_write))
    machine.put("/usr/local/lib/probe.py", PROBE)
    drop_in = f"/run/systemd/system/{resolver.name}@.service.d/probe.conf"
    command = f"{resolver.python} /usr/local/lib/probe.py {seen} {written}"
    machine.put(drop_in, f"[Service]\nExecStart=\nExecStart={command}\n")
    machine.systemctl("daemon-reload")
    try:
        (found,) = resolver.ask(resolver.url)
    finally:
        machine.run(["rm", drop_in])
        machine.systemctl("daemon-reload")
    assert found == {
        "seen": {
            str(layout.state): ["stacks"],
            str(layout.stacks / "launch"): ["cache", "resolver.json"],
            **{str(each): None for each in (layout.fragments, "/home", "/root")},
            "/proc": ["self", "thread-self"],
        },
        "written": [sources, "/run"],
        "megabytes": 400,
        "rights": 0,
    }
