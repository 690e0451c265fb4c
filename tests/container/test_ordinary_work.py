"""Ordinary work succeeds in the sandbox, and each restriction can be lifted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import websocket

from tests.client import Kernel, Person
from tests.hub import Hub


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[Person]:
    with hub.person() as person:
        person.start_server()
        yield person


@pytest.fixture(scope="module")
def kernel(alice: Person) -> Iterator[Kernel]:
    with alice.open_kernel() as kernel:
        yield kernel


def test_many_processes_share_memory_and_locks(kernel: Kernel) -> None:
    cell = """
import multiprocessing as mp
from multiprocessing.shared_memory import SharedMemory
shared = SharedMemory(create=True, size=2**20)
with mp.get_context("fork").Pool(4, initializer=str) as pool:
    print(sum(pool.map(abs, range(-10, 10))))
with mp.get_context("forkserver").Manager() as manager:
    print(list(manager.list([shared.size, mp.Lock().acquire(timeout=5)])))
shared.close()
shared.unlink()
"""
    assert kernel.run(cell).split("\n")[:2] == ["100", f"[{2**20}, True]"]


def test_packages_are_installed_for_oneself_and_into_environments(kernel: Kernel) -> None:
    cell = """
import os, subprocess, sys, zipfile
os.makedirs("wheels", exist_ok=True)
with zipfile.ZipFile("wheels/mine-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("mine.py", "answer = 42")
    wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1")
    wheel.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any")
    wheel.writestr("mine-1.dist-info/RECORD", "")
offline = ["install", "--quiet", "--no-index", "--find-links=wheels", "mine"]
def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout + (done.stderr if done.returncode else ""), end="")
run(sys.executable, "-m", "pip", *offline, "--user", "--break-system-packages")
run(sys.executable, "-c", "import mine; print(mine.answer)")
run(sys.executable, "-m", "venv", "--without-pip", "env")
run(sys.executable, "-m", "pip", "--python=env/bin/python", *offline)
run("env/bin/python", "-c", "import mine, sys; print(mine.answer, sys.prefix)")
"""
    said = kernel.run(cell, timeout_s=120).split()
    assert said[:2] == ["42", "42"], said
    assert said[2].endswith("/env")


def test_a_debugger_attaches_to_the_own_processes(kernel: Kernel) -> None:
    cell = """
import ctypes, os, subprocess
child = subprocess.Popen(["sleep", "60"])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
attached = libc.ptrace(16, child.pid, 0, 0)
print(attached, os.WIFSTOPPED(os.waitpid(child.pid, 0)[1]))
child.kill()
print(ctypes.CDLL(None).personality(0x0040000))
"""
    # The last one: lldb starts nothing that it cannot start without address randomization.
    assert kernel.run(cell) == "0 True\n0\n"


def test_the_debugger_of_jupyterlab_starts(kernel: Kernel) -> None:
    request: dict[str, object] = {
        "channel": "control",
        "header": {
            "msg_id": "debug",
            "msg_type": "debug_request",
            "session": "debug",
            "username": "",
            "date": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "type": "request",
            "seq": 1,
            "command": "initialize",
            "arguments": {"clientID": "test", "adapterID": "test"},
        },
        "buffers": [],
    }
    kernel.tell(request)
    while True:
        message = kernel.receive()
        if message["header"]["msg_type"] == "debug_reply":
            break
    assert message["content"]["success"], message["content"]


def test_a_terminal_begins_in_the_home_directory(hub: Hub, alice: Person) -> None:
    said = in_terminal(alice, "echo $PWD:$(cat /proc/$$/oom_score_adj)")
    # Like kernels, it is killed before the server is.
    assert f"/home/{alice.name}:300" in said


def test_a_kernel_starts_although_the_home_directory_is_full(alice: Person) -> None:
    said = alice.run_cell("import os, jupyter_core.paths as p\nprint(p.jupyter_runtime_dir())")
    assert said == "/run/jupyter\n"


def test_a_line_for_each_wall_that_is_in_the_way(hub: Hub, alice: Person) -> None:
    machine = hub.machine
    machine.run(["install", "--directory", "--mode=1777", "/home/shared"])
    machine.run(["install", "--mode=4755", "/usr/bin/id", "/usr/local/bin/root-id"])
    lines = """\
c.SystemdSpawner.unit_extra_properties = {
    "BindPaths": ["/home/{USERNAME}", "/home/shared"],
    "MemoryMax": "1G",
}
c.SystemdSpawner.isolate_tmp = False
c.SystemdSpawner.isolate_devices = False
c.SystemdSpawner.disable_user_sudo = False
c.Spawner.args = ["--KernelManager.transport=tcp"]
"""
    machine.run(["touch", "/tmp/of-everybody"])
    try:
        with hub.fragment("70-doors.py", lines), hub.person() as person:
            person.start_server()
            said = person.run_cell(
                "import glob, os, subprocess, sys\n"
                "print(sorted(os.listdir('/home')) == sorted(['shared', os.environ['USER']]))\n"
                "print(open('/home/shared/x', 'w').write('x'))\n"
                "print(os.path.exists('/tmp/of-everybody'))\n"
                "print(os.path.lexists('/dev/initctl'))\n"
                "print(subprocess.check_output(['root-id', '--user'], text=True), end='')\n"
                "connection = glob.glob('/run/jupyter/kernel-*.json')[0]\n"
                'print(\'"transport": "tcp"\' in open(connection).read())\n'
                # For `sudo systemctl`.
                "print(os.path.exists('/run/systemd/private'))"
            )
            assert said.split() == ["True", "1", "True", "True", "0", "True", "True"]
            unit = f"{hub.layout.user_unit(person.name)}.service"
            memory = machine.systemctl("show", "--property=MemoryMax", "--value", unit).stdout
            assert memory.strip() == str(2**30)
    finally:
        machine.run(["rm", "-r", "/home/shared", "/usr/local/bin/root-id", "/tmp/of-everybody"])


def test_homes_that_are_links_or_elsewhere_are_found(hub: Hub) -> None:
    machine = hub.machine
    machine.run(["mkdir", "--parents", "/data/real", "/data/homes"])
    script = """
        usermod --home /home/"$1" --move-home "$1"
        mv /home/"$1" /data/real/"$1" && ln -s /data/real/"$1" /home/"$1"
    """
    with hub.person() as linked, hub.person() as elsewhere:
        machine.run(["sh", "-c", script, "sh", linked.name], check=False)
        machine.run(
            ["usermod", "--home", f"/data/homes/{elsewhere.name}", "--move-home", elsewhere.name]
        )
        for person, seen in ((linked, "/home"), (elsewhere, "/data/homes")):
            person.start_server()
            said = person.run_cell(
                f"import os\nopen('mine', 'w').write('x')\nprint(os.getcwd(), os.listdir({seen!r}))"
            )
            assert said == f"{seen}/{person.name} ['{person.name}']\n"
        assert machine.read(f"/data/real/{linked.name}/mine") == "x"


@pytest.mark.row(12)
def test_a_hostile_home_does_not_change_a_server_that_shuts_it_out(hub: Hub) -> None:
    hostile = "raise SystemExit('taken over')\n"
    with (
        hub.fragment("70-own.py", "c.Spawner.disable_user_config = True\n"),
        hub.person() as person,
    ):
        home = f"/home/{person.name}"
        for path in (
            ".jupyter/jupyter_server_config.py",
            ".jupyter/jupyter_lab_config.py",
            ".ipython/profile_default/startup/00.py",
            ".local/lib/python3.13/site-packages/sitecustomize.py",
            ".local/lib/python3.13/site-packages/usercustomize.py",
            ".local/lib/python3.13/site-packages/jupyterhub/__init__.py",
            ".local/etc/jupyter/jupyter_server_config.py",
            "jupyterhub.py",
            "jupyter_server_config.py",
        ):
            hub.machine.put(f"{home}/{path}", hostile)
        hub.machine.run(["chown", "-R", f"{person.name}:", home])
        person.start_server()
        assert person.sees(f"/user/{person.name}/api/status")


def in_terminal(person: Person, command: str) -> str:
    """Return the output of a command in a terminal of JupyterLab."""
    path = f"/user/{person.name}"
    token = person._xsrf_token(f"{path}/")
    made = person.browser.post(f"{path}/api/terminals", headers={"X-XSRFToken": token})
    where = f"{path}/terminals/websocket/{made.json()['name']}"
    terminal = websocket.create_connection(
        person.url.replace("http", "ws") + where,
        cookie=person.cookies(where),
        origin=person.url,
        timeout=30,
    )
    # The terminal's echo does not contain the second half.
    terminal.send(json.dumps(["stdin", f"{command}; echo the e''nd\r"]))
    said, deadline = "", time.monotonic() + 30
    while "the end" not in said and time.monotonic() < deadline:
        kind, *text = json.loads(terminal.recv())
        said += "".join(map(str, text)) if kind == "stdout" else ""
    terminal.close()
    return said
