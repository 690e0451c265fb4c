"""The launch stack's builder in its units: who builds, what a build reaches, what it leaves.

The tests write orders, as the service does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from construct.builder import DEVELOPMENT_LEVEL
from construct.builder import Builder as ReleaseBuilder
from construct.cache import Cache
from construct.channel import solve, write
from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.code import units as code_units
from littlest_hub.stacks.launch.environment.environment_files import environment
from littlest_hub.stacks.launch.order import Order, of_environment
from littlest_hub.stacks.launch.resolver.units import sources_of
from tests import projects
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import PACKAGES, LaunchMachine, launch_machine
from tests.machine import Machine
from tests.server import Server

pytestmark = pytest.mark.long

PORT, CHANNELS = 8047, "/srv/channels"
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


# A postBuild that tries what it must not, and says what has come of it.
HOSTILE = """\
#!/usr/bin/env python3
import errno, json, os, signal, socket, subprocess, sys, urllib.request
from pathlib import Path
home, own = Path({home!r}), Path(os.environ["NB_PYTHON_PREFIX"])
def tried(what, action):
    try:
        found = action()
        print("TRIED", what, "works", "" if found is None else found)
    except OSError as error:
        print("TRIED", what, errno.errorcode.get(error.errno, error))
def write(path):
    tried(f"write {{path}}", lambda: open(path, "w").close())
for path in (home / "cache/x", home / "x", home / "records/x", "/etc/x", "/tmp/x", "/var/tmp/x",
             "/run/x", "/opt/littlest-hub/x", own.parent / "x"):
    write(path)
print("TRIED sockets", [str(each) for each in Path("/run").rglob("*") if each.is_socket()])
for path in ({sources!r}, "/opt/littlest-hub/jupyterhub_config.d", "/root", "/home",
             "/opt/littlest-hub/state", home, home / "cache", own.parent):
    tried(f"list {{path}}", lambda: sorted(os.listdir(path))[:9])
tried("setuid", lambda: os.chmod(own / "pyvenv.cfg", 0o4755))
tried("device", lambda: os.mknod(own / "device", 0o600 | 0o060000, os.makedev(8, 0)))
tried("mount", lambda: os.unshare(0x00020000))
tried("init", lambda: os.kill(1, 0))
print("TRIED processes", sorted({{os.stat(f"/proc/{{each}}").st_uid == os.getuid()
      for each in os.listdir("/proc") if each.isdigit()}}))
print("TRIED rights", [each.split()[1] for each in open("/proc/self/status")
      if each.startswith(("CapBnd", "NoNewPrivs"))])
for host in ("127.0.0.1", {address!r}):
    tried(f"index at {{host}}", lambda: socket.create_connection((host, 8047), 5).close())
tried("name", lambda: socket.getaddrinfo("example.org", 443))
tried("proxy", lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=20).close())
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
tried("large file", lambda: os.truncate(own / "pyvenv.cfg.large", 1 << 32)
      if open(own / "pyvenv.cfg.large", "w").close() is None else None)
room = os.statvfs(own)
print("TRIED room", room.f_blocks * room.f_frsize >> 20, "MB", room.f_files, "files")
(own / "pyvenv.cfg.large").unlink()
room = os.statvfs("/tmp")
print("TRIED room of /tmp", room.f_blocks * room.f_frsize >> 20, "MB", room.f_files, "files")
many = own / "many"
many.mkdir()
def fill():
    for number in range(400_000):
        open(many / str(number), "w").close()
tried("many files", fill)
print("TRIED counted", len(os.listdir(many)) < 310_000)
subprocess.run(["rm", "-r", many], check=True)
children = []
def fork():
    while len(children) < 2000:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
tried("fork", fork)
print("TRIED counted", len(children) < 260)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
subprocess.Popen(["setsid", "sleep", "77777"])
for name, target in {{"out": "/etc/passwd", "up": "../../cache", "other": "../{other}"}}.items():
    (own / name).symlink_to(target)
subprocess.run(["rm", "-r", own / "share/jupyter"], check=True)
(own / "share/jupyter").symlink_to("../../{other}/share/jupyter")
os.mkfifo(own / "fifo")
(own / "twice").hardlink_to(own / "pyvenv.cfg")
module = next(own.glob("lib/python3*/site-packages/alpha.py"))
module.write_text("VERSION = 'poison'")
"""


class Building:
    """A machine with the builder's units, and an index of packages."""

    def __init__(self, launching: LaunchMachine) -> None:
        self.hub, self.machine = launching.hub, launching.machine
        self.place, self.index = launching.place, launching.index
        self.data = self.hub.layout.stack_data("launch")
        self.commits = 0

    def order(self, text: str, file: str = "requirements.txt") -> Order:
        return self.written(Order(files={file: text}))

    def written(self, order: Order) -> Order:
        self.machine.put(f"{self.data}/orders/{order.id}.json", order.canonical)
        return order

    def approved(self, files: Mapping[str, str], **more: Any) -> Order:
        """Write the files of a repository, and an order in which its code is approved."""

        def read(file: str, limit_bytes: int) -> bytes:
            return files[file].encode()[:limit_bytes]

        self.commits += 1
        source = f"{self.commits:040x}-{'0' * 16}"
        directory = sources_of(self.hub.layout) / source / "files"
        for path, text in files.items():
            self.machine.put(f"{directory}/{path}", text)
        # The resolver, another user than the builder, leaves them readable.
        self.machine.run(["chmod", "-R", "a+rX", str(sources_of(self.hub.layout))])
        found = environment(files, read, ["3.13"])
        return self.written(replace(of_environment(found, read, source=source), **more))

    def lines(self, order: Order) -> list[str]:
        """Return what the log of an order has for people."""
        log = self.machine.read(str(self.place.log(order.id)))
        records = map(json.loads, log.splitlines())
        return [each["text"] for each in records if "outcome" not in each]

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
def building(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Building]:
    directory = tmp_path_factory.mktemp("building")
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        _add_channel(machine, directory)
        serve = [hub.path("hub/bin/python3"), "-m", "http.server", "--directory", CHANNELS]
        machine.run(["systemd-run", "--unit=channel", "--collect", *serve, str(PORT)])
        channels = {"conda-forge": f"http://127.0.0.1:{PORT}/conda-forge"}
        with launch_machine(hub, directory, values={"CHANNELS": channels}) as launching:
            launching.wheel("alpha")
            launching.wheel("beta")
            yield Building(launching)


def _add_channel(machine: Server, directory: Path) -> None:
    """Copy packages that releases are made of to a channel of the machine."""
    made = ReleaseBuilder(Cache(), level=DEVELOPMENT_LEVEL, jobs=2).channel()
    found = solve(made, ["python", "ipykernel", "pyyaml"])
    place = f"{CHANNELS}/conda-forge"
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
    assert shown == "3 lhub-build 444\n", "store and environments share files"
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
        *("/root Permission denied", "/home Permission denied", "state ['stacks']"),
        *("/etc/x Read-only file system", "/opt/littlest-hub/x Read-only file system"),
        "/opt/littlest-hub/hub/x Read-only file system",
        # The kernel's part, IPAddressDeny=, is not to be had in a container.
        "index works",
    ):
        assert f"{line}\n" in printed


def test_what_cannot_be_built_says_why_and_the_next_order_is_built(building: Building) -> None:
    failed = building.ask(building.order("alpha==9\n"))
    assert failed["outcome"] == "failed"
    assert re.match(
        r"there is no solution for Python 3\.\d+\.\d+: there is no version of alpha==9",
        failed["text"],
    )
    assert building.ask(building.order("alpha\n"))["outcome"] == "done"
    assert building.shell("systemctl list-units --failed --no-legend 'littlest-hub.launch*'") == ""


def test_cleaning_keeps_what_servers_refer_to(building: Building) -> None:
    keys = [building.ask(building.order(text))["key"] for text in ("alpha\n", "alpha\nbeta\n")]
    layout, machine = building.hub.layout, building.machine
    # The unit that writes it would find nobody who has launched this.
    drop_in = f"{layout.system_units}/{builder_units.kept_unit(layout)}.d"
    machine.put(f"{drop_in}/test.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n")
    asked = json.dumps({"budget_bytes": 1, "kept": [keys[0]]})
    machine.put(str(builder_units.cleaning_of(layout)), asked)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "--wait", builder_units.cleaning_unit(layout))
    machine.run(["rm", "-r", drop_in])
    machine.systemctl("daemon-reload")
    assert building.shell(f"ls {building.place.built}").split() == [keys[0]]
    assert building.ask(building.order("alpha\nbeta\n"))["key"] == keys[1]


def test_a_killed_starter_stops_no_build_and_the_next_request_waits_for_its_end(
    building: Building,
) -> None:
    script = "#!/bin/sh\nhead -c 4000000000 /dev/zero | md5sum\n"
    order = building.approved({"requirements.txt": "alpha\n", "postBuild": script})
    log = building.place.log(order.id)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(building.ask, order)
        eventually(
            lambda: "running postBuild" in building.shell(f"cat {log} || true"), 120, "the script"
        )
        starters = "littlest-hub.launch-starter@*.service"
        building.machine.systemctl("kill", "--signal=KILL", starters)
        assert isinstance(first.exception(), json.JSONDecodeError), "it has no answer"
    assert building.ask(order)["outcome"] == "done"
    assert building.lines(order).count("running postBuild") == 1


def test_a_hostile_script_reaches_nothing_and_leaves_nothing_but_its_own_files(
    building: Building,
) -> None:
    other = building.ask(building.order("alpha\n"))["key"]
    home, machine = building.place.home, building.machine
    address = building.shell("hostname -I").split()[0]
    script = HOSTILE.format(
        home=str(home), sources=str(sources_of(building.hub.layout)), address=address, other=other
    )
    order = building.approved({"requirements.txt": "alpha\n", "postBuild": script})
    ended = building.ask(order)
    lines = building.lines(order)
    assert ended["outcome"] == "done", (ended, lines)
    log = "\n".join(lines)
    for path, why in {
        **{f"{home}/{name}": "ENOENT" for name in ("cache/x", "records/x")},
        **dict.fromkeys((f"{home}/x", "/etc/x", "/run/x"), "EROFS"),
        **dict.fromkeys(("/tmp/x", "/var/tmp/x"), "works"),
        "/opt/littlest-hub/x": "EROFS",
    }.items():
        assert f"TRIED write {path} {why}" in lines, log
    for path, why in {
        f"{sources_of(building.hub.layout)}": "ENOENT",
        "/opt/littlest-hub/jupyterhub_config.d": "EACCES",
        "/root": "EACCES",
        "/home": "EACCES",
        "/opt/littlest-hub/state": "works []",
        f"{home}": "works ['built', 'pythons']",
        f"{home}/cache": "ENOENT",
    }.items():
        assert f"TRIED list {path} {why}" in lines, log
    assert other not in "".join(each for each in lines if each.startswith("TRIED list"))
    for what in ("setuid", "device", "mount", "init"):
        assert f"TRIED {what} EPERM" in lines, log
    assert "TRIED sockets []" in lines, log
    assert "TRIED processes [True]" in lines, log
    assert "TRIED rights ['0000000000000000', '1']" in lines, log
    assert "TRIED index at 127.0.0.1 ECONNREFUSED" in lines, log
    assert f"TRIED index at {address} ENETUNREACH" in lines, log
    assert any(each.startswith("TRIED name ") and "works" not in each for each in lines), log
    assert "TRIED proxy HTTP Error 403: Forbidden" in lines, log
    assert (
        "169.254.169.254:80 is not reached: it is not among the hosts that were approved" in lines
    )
    assert "TRIED netlink EAFNOSUPPORT" in lines, log
    assert "TRIED large file EFBIG" in lines, log
    assert "TRIED room 3072 MB 307200 files" in lines, log
    assert "TRIED room of /tmp 1024 MB 102400 files" in lines, log
    assert "TRIED many files ENOSPC" in lines, log
    assert "TRIED fork EAGAIN" in lines, log
    assert lines.count("TRIED counted True") == 2, log
    mine, theirs = (building.place.environment(key) for key in (ended["key"], other))
    strange = "-perm /6000 -o -type p -o -type b -o -type c -o -type s -o -not -user lhub-build"
    assert building.shell(f"find {mine} {strange}") == ""
    # Only the modules whose bytecode is shared have other names.
    assert building.shell(f"find {mine} -type f -links +1 -not -name '*.pyc'") == ""
    links = building.shell(f"find {mine} -type l -printf '%P -> %l\\n'").splitlines()
    python = f"{building.place.pythons}/"
    assert all(f"-> {python}" in each or "/" not in each.partition(" -> ")[2] for each in links), (
        links
    )
    program = "import alpha; print(alpha.VERSION)"
    shown = [building.shell(f"{each}/bin/python -I -c '{program}'") for each in (mine, theirs)]
    assert shown == ["poison\n", "1.0\n"]
    kernel = "share/jupyter/kernels/python3/kernel.json"
    for each in (mine, theirs):
        assert json.loads(machine.read(f"{each}/{kernel}"))["argv"][0] == f"{each}/bin/python"
    eventually(
        lambda: building.shell("pgrep -f 'sleep 7777[7]' || true") == "", 30, "the rest to end"
    )
    units = "systemctl list-units --all --no-legend 'littlest-hub.launch-code-*@*'"
    eventually(lambda: building.shell(units) == "", 30, "its unit to be forgotten")
    left = "find /run/littlest-hub.launch-code-*-tmp -mindepth 1"
    assert building.shell(left) == "", "the memory of /tmp"


def test_sources_become_wheels_with_tools_from_the_index_if_that_was_approved(
    building: Building,
) -> None:
    code = f"import beta\nmade = beta.VERSION\nopen('{building.place.cache}/x', 'w')"
    hostile = projects.project("own", code=code, requires='"beta"')
    ended = building.ask(building.approved(hostile))
    assert "No such file or directory" in ended["text"], ended
    files = projects.project("own", code="import beta\nmade = beta.VERSION", requires='"beta"')
    order = building.approved(files, is_online=False)
    ended = building.ask(order)
    assert "No matching distribution found for beta" in ended["text"], ended
    ended = building.ask(building.approved(files))
    assert ended["outcome"] == "done", ended
    python = f"{building.place.environment(ended['key'])}/bin/python -I"
    assert building.shell(f"{python} -c 'import own; print(own.MADE)'", "nobody") == "1.0\n"


def test_two_builds_have_different_users_and_one_that_takes_too_long_is_ended(
    building: Building,
) -> None:
    machine, layout = building.machine, building.hub.layout
    drop_ins = [f"{layout.system_units}/{each}@.service.d" for each in code_units.names(layout)]
    for directory in drop_ins:
        machine.put(f"{directory}/time.conf", "[Service]\nRuntimeMaxSec=20\n")
    machine.systemctl("daemon-reload")
    script = "#!/bin/sh\nid -u\necho waiting\nsleep 600\n"
    orders = [
        building.approved({"requirements.txt": f"alpha\n{more}", "postBuild": script})
        for more in ("", "beta\n")
    ]
    with ThreadPoolExecutor() as threads:
        ended = list(threads.map(building.ask, orders))
    why = "the result of code that was run: it has ended before"
    assert all(each["text"].startswith(why) for each in ended), ended
    users = {building.lines(order)[-2] for order in orders}
    assert len(users) == 2, users
    machine.run(["rm", "-r", *drop_ins])
    machine.systemctl("daemon-reload")
    assert building.shell(f"ls -A {building.place.built} | grep -v '^[0-9a-f]*$' || true") == ""
    quick = building.approved({"requirements.txt": "alpha\n", "postBuild": "#!/bin/sh\n"})
    assert building.ask(quick)["outcome"] == "done"
