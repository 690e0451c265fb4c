"""The launch stack's builder in its units: who builds, what a build reaches, what it leaves.

The stack cannot be enabled yet: the test writes its units and orders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from construct import bundle
from construct.builder import DEVELOPMENT_LEVEL, ROOT
from construct.builder import Builder as ReleaseBuilder
from construct.cache import Cache
from construct.channel import solve, write
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.order import Order
from tests import wheels
from tests.container.test_packages import packages
from tests.hub import Hub
from tests.server import Server

pytestmark = pytest.mark.long

PORT = 8047
PROBE = """\
import os, socket
def tried(what, action):
    try:
        action()
        print(what, "works")
    except OSError as error:
        print(what, error.strerror)
for directory in ("/opt/littlest-hub/jupyterhub_config.d", "/root", "/home"):
    tried(directory, lambda: os.listdir(directory))
print("state", os.listdir("/opt/littlest-hub/state"))
for file in ("/etc/x", "/opt/littlest-hub/x", "/opt/littlest-hub/hub/x"):
    tried(file, lambda: open(file, "w"))
tried("index", lambda: socket.create_connection(("127.0.0.1", 8047), 5))
"""


class Building:
    """A machine with the builder's units, and an index of packages."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.machine = hub, hub.machine
        self.place = Place.of(hub.layout)
        self.data = hub.layout.stack_data("launch")

    def order(self, text: str, file: str = "requirements.txt") -> Order:
        order = Order(files={file: text})
        self.machine.put(f"{self.data}/orders/{order.id}.json", order.canonical)
        return order

    def ask(self, order: Order) -> dict[str, str]:
        """Ask the starter for an order; return how its build ended."""
        address = builder_units.address_of(self.hub.layout)
        program = (
            f"import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect({str(address)!r});"
            " s.sendall(sys.stdin.buffer.read()); s.shutdown(1); print(s.makefile().read())"
        )
        python = self.hub.path("hub/bin/python3")
        request = json.dumps({"order": order.id}) + "\n"
        asked = self.machine.run([python, "-I", "-c", program], input=request)
        assert json.loads(asked.stdout) == {"ended": {}}
        log = self.machine.read(str(self.place.log(order.id)))
        found: dict[str, str] = json.loads(log.splitlines()[-1])
        return found

    def shell(self, command: str, user: str = "root") -> str:
        return self.machine.run(["sh", "-c", command], user=user).stdout


@pytest.fixture(scope="module")
def building(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Building]:
    directory = tmp_path_factory.mktemp("building")
    machine, layout = hub.machine, hub.layout
    lists = directory / "lists"
    lists.mkdir()
    (lists / "tools.txt").write_text("py-rattler\nuv\n")
    made = bundle.build(ROOT, bundle.find(ROOT, str(lists)), directory, Cache())
    packages(hub, "add", f"--from={machine.copy(made, f'/srv/{made.name}')}")
    for name, requires in {"ipykernel": ["alpha"], "alpha": [], "beta": []}.items():
        wheel = wheels.make(directory, name, requires=requires)
        machine.run(["mkdir", "--parents", f"/srv/index/simple/{name}", "/srv/index/files"])
        machine.copy(wheel, f"/srv/index/files/{wheel.name}")
        page = f'<a href="/files/{wheel.name}">{wheel.name}</a>'
        machine.put(f"/srv/index/simple/{name}/index.html", page)
    _add_channel(machine, directory)
    machine.put("/etc/pip.conf", f"[global]\nindex-url = http://127.0.0.1:{PORT}/simple\n")
    serve = [hub.path("hub/bin/python3"), "-m", "http.server", "--directory", "/srv/index"]
    machine.run(["systemd-run", "--unit=index", "--collect", *serve, str(PORT)])
    channels = Channels({"conda-forge": f"http://127.0.0.1:{PORT}/conda-forge"})
    stack = EnabledStack("launch")
    units = list(builder_units.units(layout, stack, ["127.0.0.0/8"], channels=channels))
    for unit in units:
        machine.put(f"{layout.system_units}/{unit.name}", unit.text())
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "littlest-hub.launch-starter.socket")
    yield Building(hub)
    machine.systemctl("stop", "index.service", "littlest-hub.launch-starter.socket")
    machine.run(["rm", "/etc/pip.conf", *(f"{layout.system_units}/{each.name}" for each in units)])
    machine.run(["rm", "-r", str(layout.environments), str(layout.stacks / "launch")])
    machine.systemctl("daemon-reload")
    packages(hub, "remove", "uv", "py-rattler")


def _add_channel(machine: Server, directory: Path) -> None:
    """Copy packages that releases are made of to a channel of the machine."""
    made = ReleaseBuilder(Cache(), level=DEVELOPMENT_LEVEL, jobs=2).channel()
    found = solve(made, ["python", "ipykernel", "pyyaml"])
    place = "/srv/index/conda-forge"
    machine.run(["mkdir", "--parents", f"{place}/linux-64", f"{place}/noarch"])
    for each in write(found, directory / "conda-forge").folder.glob("*/*"):
        machine.copy(each.resolve(), f"{place}/{each.parent.name}/{each.name}")


def test_an_order_becomes_an_environment_that_everybody_may_use_and_nobody_change(
    building: Building,
) -> None:
    ended = [building.ask(building.order(text)) for text in ("alpha\n", "alpha\nbeta\n")]
    assert [each["outcome"] for each in ended] == ["done", "done"]
    directories = [building.place.environment(each["key"]) for each in ended]
    python = f"{directories[1]}/bin/python -I"
    program = "import alpha, beta, sys; print(alpha.VERSION, sys.base_prefix)"
    assert f"1.0 {building.place.pythons}/" in building.shell(f"{python} -c '{program}'", "nobody")
    module = "lib/python3*/site-packages/alpha.py"
    shown = building.shell(f"stat --format='%h %U %a' {directories[0]}/{module}")
    assert shown == "3 lhub-build 644\n", "cache and environments share files"


def test_an_environment_of_conda_has_its_own_python_and_shares_its_files(
    building: Building,
) -> None:
    text = "dependencies:\n- python=3.13\n- pyyaml\n"
    asked = [text, f"{text}- pip:\n  - beta\n"]
    ended = [building.ask(building.order(each, "environment.yml")) for each in asked]
    assert [each["outcome"] for each in ended] == ["done", "done"], ended
    directories = [building.place.environment(each["key"]) for each in ended]
    program = "import beta, ipykernel, sys, yaml; print(sys.prefix, sys.version_info[1])"
    shown = building.shell(f"{directories[1]}/bin/python -I -c '{program}'", "nobody")
    assert shown == f"{directories[1]} 13\n"
    module = "lib/python3.13/site-packages/yaml/__init__.py"
    shown = building.shell(f"stat --format='%h %U %a' {directories[0]}/{module}")
    assert shown == "3 lhub-build 644\n", "store and environments share files"
    changeable = f"find {building.place.home} -perm /6022 ! -type l ! -path '*/cache/*'"
    assert building.shell(f"{changeable} ! -path '*/locks/*'") == ""


def test_a_conflict_of_conda_is_explained(building: Building) -> None:
    order = building.order("dependencies: [python=3.13, pyyaml=0.1]", "environment.yml")
    failed = building.ask(order)
    assert failed["outcome"] == "failed"
    assert "there is no solution: " in failed["text"]
    assert "pyyaml" in failed["text"]


def test_a_build_sees_nothing_of_the_hubs_and_writes_to_one_directory(building: Building) -> None:
    machine = building.machine
    unit = "littlest-hub.launch-build@.service"
    drop_in = f"{building.hub.layout.system_units}/{unit}.d"
    machine.put("/srv/probe.py", PROBE)
    run = f"ExecStart={building.hub.path('hub/bin/python3')} -I /srv/probe.py"
    machine.put(f"{drop_in}/probe.conf", f"[Service]\nExecStart=\n{run}\nStandardInput=null\n")
    machine.systemctl("daemon-reload")
    probe = builder_units.build_unit(building.hub.layout, "0" * 64)
    machine.systemctl("start", "--wait", probe)
    printed = building.shell(f"journalctl --output=cat --unit={probe}")
    machine.run(["rm", "-r", drop_in])
    machine.systemctl("daemon-reload")
    for line in (
        "/opt/littlest-hub/jupyterhub_config.d Permission denied",
        *("/root Permission denied", "/home Permission denied", "state []"),
        *("/etc/x Read-only file system", "/opt/littlest-hub/x Read-only file system"),
        "/opt/littlest-hub/hub/x Read-only file system",
        # The kernel's part, IPAddressDeny=, is not to be had in a container.
        "index works",
    ):
        assert f"{line}\n" in printed


def test_what_cannot_be_built_says_why_and_the_next_order_is_built(building: Building) -> None:
    failed = building.ask(building.order("alpha==9\n"))
    assert failed["outcome"] == "failed"
    assert failed["text"].startswith("there is no solution: there is no version of alpha==9")
    assert building.ask(building.order("alpha\n"))["outcome"] == "done"
    assert building.shell("systemctl list-units --failed --no-legend 'littlest-hub.launch*'") == ""


def test_cleaning_keeps_what_servers_refer_to(building: Building) -> None:
    keys = [building.ask(building.order(text))["key"] for text in ("alpha\n", "alpha\nbeta\n")]
    asked = json.dumps({"budget_bytes": 1, "kept": [keys[0]]})
    building.machine.put(f"{building.data}/cleaning.json", asked)
    building.machine.systemctl("start", "--wait", builder_units.cleaning_unit(building.hub.layout))
    assert building.shell(f"ls {building.place.built}").split() == [keys[0]]
    assert building.ask(building.order("alpha\nbeta\n"))["key"] == keys[1]
