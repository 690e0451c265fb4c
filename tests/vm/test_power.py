"""A machine that is rebooted, or that loses power at the worst moment."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import wheels
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.virtual import VIRTUAL_S, Vm
from tests.vm.conftest import FRAGMENT

INTEGRITY = """
import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("PRAGMA integrity_check").fetchone())
"""


@pytest.mark.long
def test_after_a_reboot_all_is_there_again_but_servers_which_are_shown_as_ended(
    hub: Hub, vm: Vm
) -> None:
    with hub.person(timeout_s=VIRTUAL_S) as alice:
        alice.start_server(timeout_s=VIRTUAL_S)
        assert alice.run_cell("6 * 7", timeout_s=VIRTUAL_S) == "42"
        vm.reboot()
        eventually(hub.answers, VIRTUAL_S, "the login page")
        with Person(hub.url, alice.name, alice.password, timeout_s=VIRTUAL_S) as again:
            again.log_in()
            eventually(lambda: not again.has_server(), VIRTUAL_S, "the server to be shown as ended")
            again.start_server(timeout_s=VIRTUAL_S)
            assert again.run_cell("6 * 7", timeout_s=VIRTUAL_S) == "42"


@pytest.mark.long
def test_power_that_fails_during_a_reload_leaves_a_hub_that_serves(hub: Hub, vm: Vm) -> None:
    reload = start(vm, "systemctl", "reload", hub.layout.hub_service)
    show = ["show", "--property=ActiveState", "--value", hub.layout.hub_service]
    eventually(lambda: vm.systemctl(*show).stdout == "reloading\n", VIRTUAL_S, "the reload")
    lose_power(vm, reload)
    serves_and_is_whole(hub)


@pytest.mark.long
def test_power_that_fails_during_an_upgrade_leaves_the_old_or_the_new(hub: Hub, vm: Vm) -> None:
    old = vm.run(["readlink", "--canonicalize", str(hub.layout.hub)]).stdout.strip()
    new = f"{old}-next"
    vm.run(["cp", "--archive", "--link", old, new])
    vm.run(["sync"])
    upgrade = start(vm, f"{new}/bin/python3", "-I", "-m", "littlest_hub", "install")
    eventually(lambda: active(hub) == new, VIRTUAL_S, "the link to be switched")
    lose_power(vm, upgrade)
    assert active(hub) in {old, new}
    serves_and_is_whole(hub)


@pytest.fixture
def class_vm(installer: Path) -> Iterator[Vm]:
    """A machine with the class stack, enabled before it boots, at this machine's speed."""

    def prepare(machine: Machine) -> None:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-patient.py", FRAGMENT)
        machine.run([hub.path("hub/bin/littlest-hub"), "enable", "class", "--yes"])
        machine.systemctl("stop", hub.layout.hub_service, hub.layout.proxy_service)

    with Vm("bookworm", prepare, is_prepared_booted=True) as vm:
        yield vm


@pytest.mark.long
def test_power_that_fails_while_packages_are_installed_for_a_class_leaves_the_old_or_the_new(
    class_vm: Vm, tmp_path: Path
) -> None:
    vm, hub = class_vm, Hub.found_on(class_vm)
    command = hub.path("hub/bin/littlest-hub")
    change = hub.path("environments/.class/change")
    wheel = wheels.make(tmp_path, "greeter", "1.0", files={"greeter.py": "VERSION = 1\n"})
    path = vm.copy(wheel, f"/srv/{wheel.name}")
    vm.run(["sync"])
    install = start(vm, command, "environment", "install", path)
    eventually(lambda: vm.run(["ls", change], check=False).stdout, VIRTUAL_S, "the change")
    lose_power(vm, install)
    serves_and_is_whole(hub)
    checked = vm.run([command, "environment", "check"], timeout_s=2 * VIRTUAL_S).stdout
    assert "a kernel starts" in checked
    vm.run([command, "environment", "install", path], timeout_s=2 * VIRTUAL_S)
    with hub.person(timeout_s=VIRTUAL_S) as alice:
        alice.start_server(timeout_s=VIRTUAL_S)
        assert alice.run_cell("import greeter; greeter.VERSION", timeout_s=VIRTUAL_S) == "1"


def start(vm: Vm, *command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        vm.enter(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def lose_power(vm: Vm, meanwhile: "subprocess.Popen[bytes]") -> None:
    assert meanwhile.poll() is None, "it was over already"
    vm.cut_power()
    meanwhile.wait(VIRTUAL_S)
    vm.power_on()


def active(hub: Hub) -> str:
    return hub.machine.run(["readlink", "--canonicalize", str(hub.layout.hub)]).stdout.strip()


def serves_and_is_whole(hub: Hub) -> None:
    eventually(hub.answers, VIRTUAL_S, "the login page")
    with hub.person(timeout_s=VIRTUAL_S):
        pass  # a new user logs in
    python, database = hub.path("hub/bin/python3"), str(hub.layout.database)
    assert hub.machine.run([python, "-c", INTEGRITY, database]).stdout == "ok\n"
    rules = tomllib.loads(hub.machine.read(str(hub.layout.routes)))
    assert "PathPrefix" in str(rules["http"]["routers"]), "the rules are not whole"
