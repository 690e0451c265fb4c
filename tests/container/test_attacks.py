"""Attempts of Alice's notebook on Bob and the machine; each is a cell in her real kernel.

`pytest -rP tests/container/test_attacks.py` prints the answer of each cell.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from littlest_hub.system.systemctl import ALL_JOURNALS
from tests.client import Kernel, Person
from tests.eventually import eventually
from tests.hub import Hub

SECRET = "the-secret-of-bob"
NO_JOURNAL = "exit code 1: No journal files were opened due to insufficient permissions."

# The start of every attempt. It uses only what an ordinary account has.
TOOLS = '''
import ctypes, glob, json, os, shutil, signal, socket, stat, subprocess, sys, urllib.request
from pathlib import Path

def attempt(what, action):
    """Try it, and print what came of it in one line."""
    try:
        answer = action()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    print(f"{what}: {answer}")

def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().replace("\\n", " | ")
    return f"exit code {done.returncode}: {said}"

def get(url, token=None, method="GET", data=None):
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers, method=method, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        with opener.open(request, timeout=10) as answer:
            return f"{answer.status} {answer.read(200)!r}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None
'''


@dataclass(frozen=True)
class Victim:
    """Bob at work: his server runs, everyone may read his home directory, his files are in /tmp."""

    person: Person
    kernel: Kernel
    server_pid: int
    port: int
    token: str


@dataclass(frozen=True)
class Attacker:
    """Alice in her notebook."""

    person: Person
    kernel: Kernel

    def tries(self, cell: str) -> dict[str, str]:
        """Run a cell, and return the lines of its output by their labels."""
        output = self.kernel.run(cell)
        print(output)
        assert SECRET not in output
        return dict(line.split(": ", 1) for line in output.splitlines())


@pytest.fixture(scope="module")
def bob(hub: Hub) -> Iterator[Victim]:
    with hub.person() as person:
        hub.machine.run(["chmod", "0755", f"/home/{person.name}"])
        person.start_server()
        with person.open_kernel() as kernel:
            found = kernel.run(
                "import json, os, shutil\n"
                f"for place in ('~', '/tmp', '/var/tmp', '/dev/shm'):\n"
                "    path = os.path.join(os.path.expanduser(place), 'notes.txt')\n"
                f"    open(path, 'w').write({SECRET!r})\n"
                "    os.chmod(path, 0o666)\n"
                f"secret = {SECRET!r}\n"
                "own = ('JPY_PARENT_PID', 'JUPYTERHUB_SERVICE_URL', 'JUPYTERHUB_API_TOKEN')\n"
                "print(json.dumps([os.environ.get(name) for name in own]))"
            )
            pid, url, token = json.loads(found)
            assert token, "a kernel can use the API in its owner's name"
            yield Victim(person, kernel, int(pid), httpx.URL(url).port or 0, token)


@pytest.fixture(scope="module")
def alice(hub: Hub, bob: Victim) -> Iterator[Attacker]:
    with hub.person() as person:
        person.start_server()
        with person.open_kernel() as kernel:
            kernel.run(TOOLS)
            yield Attacker(person, kernel)


@pytest.mark.row(3)
def test_a_home_of_another_is_not_there_whatever_its_mode(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    path = f"/home/{bob.person.name}/notes.txt"
    # Outside a user server, Bob's file modes decide.
    assert hub.machine.run(["cat", path], user=alice.person.name).stdout == SECRET
    said = alice.tries(f"""
attempt("homes", lambda: os.listdir("/home"))
attempt("the file", lambda: open({path!r}).read())
attempt("by way of init", lambda: open("/proc/1/root{path}").read())
attempt("by way of his server", lambda: open("/proc/{bob.server_pid}/root{path}").read())
attempt("by way of its directory", lambda: open("/proc/{bob.server_pid}/cwd/notes.txt").read())
attempt("a door of her own", lambda: os.symlink({path!r}, "door") or open("door").read())
attempt("lifting the cover", lambda: run("umount", "/home"))
attempt("a home of root", lambda: os.listdir("/root"))
""")
    assert said.pop("homes") == f"['{alice.person.name}']"
    assert said.pop("a home of root") == "[]"
    assert said.pop("lifting the cover").startswith("exit code 32")
    assert all(answer.startswith("FileNotFoundError") for answer in said.values()), said


@pytest.mark.row(3)
def test_temporary_files_and_shared_memory_of_another_are_not_there(
    alice: Attacker, bob: Victim
) -> None:
    assert bob.kernel.run("print(open('/tmp/notes.txt').read())") == f"{SECRET}\n"
    said = alice.tries("""
for place in "/tmp", "/var/tmp", "/dev/shm":
    attempt(place, lambda: [name for name in os.listdir(place) if name != "door"])
attempt("his file", lambda: open("/tmp/notes.txt").read())
attempt("the real one", lambda: glob.glob("/tmp/systemd-private-*"))
attempt("sockets of kernels", lambda: [
    socket.socket(socket.AF_UNIX).connect(path)
    for path in glob.glob("/run/jupyter/kernel-*-ipc-1") if os.stat(path).st_uid != os.getuid()])
attempt("segments of System V", lambda: len(open("/proc/sysvipc/shm").readlines()) - 1)
""")
    assert said.pop("his file").startswith("FileNotFoundError")
    assert said.pop("segments of System V") == "0"
    assert set(said.values()) == {"[]"}, said


@pytest.mark.row(3)
def test_processes_and_environments_of_another_are_not_there(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    assert bob.token in hub.machine.run(["cat", f"/proc/{bob.server_pid}/environ"]).stdout
    said = alice.tries(f"""
def whose():
    found = set()
    for pid in range(1, {bob.server_pid} + 2000):
        try:
            found.add(os.stat(f"/proc/{{pid}}").st_uid)
        except FileNotFoundError:
            pass
    return found == {{os.getuid()}}

attempt("only her own processes", whose)
attempt("environment", lambda: open("/proc/{bob.server_pid}/environ").read())
attempt("command line", lambda: open("/proc/{bob.server_pid}/cmdline").read())
attempt("memory", lambda: open("/proc/{bob.server_pid}/mem", "rb").read(1))
attempt("his signal", lambda: os.kill({bob.server_pid}, signal.SIGTERM))
attempt("the hub's environment", lambda: open("/proc/{hub.serving_pid()}/environ").read())
""")
    assert said.pop("only her own processes") == "True"
    assert said.pop("his signal").startswith("PermissionError")
    assert all(answer.startswith("FileNotFoundError") for answer in said.values()), said


@pytest.mark.row(3, 4)
def test_units_environment_files_and_journals_of_another_cannot_be_read(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    layout = hub.layout
    unit = layout.user_unit(bob.person.name)
    environment = layout.server_environments / f"{unit}.env"
    assert bob.token in hub.machine.read(str(environment))
    shown = hub.machine.systemctl("show", f"{unit}.service").stdout
    assert bob.token not in shown
    assert bob.token not in hub.machine.systemctl("cat", f"{unit}.service").stdout
    said = alice.tries(f"""
attempt("environment file", lambda: open("{environment}").read())
attempt("their directory", lambda: os.listdir("{environment.parent}"))
attempt("systemctl show", lambda: run("systemctl", "show", "{unit}.service"))
attempt("bus", lambda: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket"))
attempt("journal", lambda: run("journalctl", "--quiet", "--unit={unit}.service"))
attempt("state", lambda: os.listdir("{layout.state}"))
attempt("database", lambda: open("{layout.database}", "rb").read(1))
attempt("cookie secret", lambda: open("{layout.cookie_secret}").read())
attempt("fragments", lambda: os.listdir("{layout.fragments}"))
""")
    assert "Failed to connect" in said.pop("systemctl show")
    assert said.pop("journal") in ("exit code 0: ", NO_JOURNAL)
    assert all(answer.startswith("PermissionError") for answer in said.values()), said


@pytest.mark.row(32)
def test_nothing_of_the_machine_is_reachable_but_what_is_on_these_lists(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    said = alice.tries(MACHINE.replace("HIS_NAME", bob.person.name))
    found = {label: set(json.loads(answer)) for label, answer in said.items()}
    # Names of hosts and of dynamic users. What is not installed here may be in neither list.
    assert found["systemd"] <= {"incoming", "journal", "resolve", "userdb"}
    assert found["sockets"] == {"/run/systemd/userdb/io.systemd.DynamicUser"}
    # systemd's own connections to the bus, none of them a listener.
    assert found["abstract sockets"] == set()
    assert found["writable"] == {"/dev/mqueue", "/dev/shm", "/run/jupyter", "/run/lock"}
    assert found["not her own"] == set()
    assert found["settings"] == set()
    assert found["devices"] <= {
        *("full", "null", "ptmx", "random", "tty", "urandom", "zero", "pts/0", "pts/ptmx"),
    }
    assert found["his name"] == set()
    # Users' messages are in a journal of their own; those of systemd about units are not theirs.
    unit = f"--unit={hub.layout.user_unit(alice.person.name)}"
    written = ["journalctl", "--quiet", "--output=cat", unit, "_TRANSPORT=stdout"]
    assert hub.machine.run(written).stdout == ""
    assert "ServerApp" in hub.machine.run([*written, ALL_JOURNALS]).stdout


# Lists of what she can reach: sockets and pipes; directories and files that she may write to;
# files of others among those; devices; settings of the kernel; names.
MACHINE = """
own = (os.environ["HOME"], "/proc", "/sys", "/tmp", "/var/tmp", "/run/jupyter")

def walk(top):
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if os.path.join(directory, name) not in own]
        for name in names + files:
            path = os.path.join(directory, name)
            try:
                yield path, os.lstat(path)
            except OSError:
                pass

def connects(path):
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET:
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(path)
                return True
            except OSError:
                pass

everything = list(walk("/"))
shared = [path for path in ("/dev/shm", "/dev/mqueue", "/run/lock", "/run/jupyter", "/tmp",
          "/var/tmp") for name in os.listdir(path)
          if os.lstat(os.path.join(path, name)).st_uid != os.getuid()]
lists = {
    "systemd": os.listdir("/run/systemd"),
    "sockets": [path for path, status in everything if stat.S_ISSOCK(status.st_mode)
                and connects(path) or stat.S_ISFIFO(status.st_mode) and os.access(path, os.W_OK)],
    "abstract sockets": [name for name in (line.split()[7:] for line in open("/proc/net/unix"))
                         if name and name[0].startswith("@") and connects(chr(0) + name[0][1:])],
    "writable": ["/run/jupyter"] + [path for path, status in everything
                 if stat.S_ISDIR(status.st_mode) and os.access(path, os.W_OK)
                 or stat.S_ISREG(status.st_mode) and os.access(path, os.W_OK)],
    "not her own": shared,
    "settings": [path for top in ("/proc/sys", "/sys") for path, status in
                 ((os.path.join(d, f), None) for d, _, fs in os.walk(top) for f in fs)
                 if os.access(path, os.W_OK)],
    "devices": [os.path.relpath(path, "/dev") for path, status in everything
                if path.startswith("/dev/")
                and (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode))],
    "his name": [path for path, status in everything
                 if path.startswith("/run/") and "HIS_NAME" in path],
}
for label, found in lists.items():
    print(f"{label}: {json.dumps(sorted(set(found)))}")
"""


@pytest.mark.row(5)
def test_her_token_opens_nothing_of_another(hub: Hub, alice: Attacker, bob: Victim) -> None:
    name = bob.person.name
    said = alice.tries(f"""
api, own = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]
user = os.environ["JUPYTERHUB_USER"]
attempt("herself", lambda: get(f"{{api}}/users/{{user}}", own))
attempt("him", lambda: get(f"{{api}}/users/{name}", own))
attempt("everybody", lambda: get(f"{{api}}/users", own))
attempt("stop his server", lambda: get(f"{{api}}/users/{name}/server", own, "DELETE"))
attempt("his tokens", lambda: get(f"{{api}}/users/{name}/tokens", own))
attempt("a token for him", lambda: get(f"{{api}}/users/{name}/tokens", own, "POST", b"{{}}"))
attempt("routes", lambda: get(f"{{api}}/proxy", own))
attempt("services", lambda: get(f"{{api}}/services", own))
attempt("shutdown", lambda: get(f"{{api}}/shutdown", own, "POST", b"{{}}"))
attempt("an administrator", lambda: get(f"{{api}}/users/{{user}}", own, "PATCH", b'{{"admin": 1}}'))
attempt("without a token", lambda: get(f"{{api}}/users"))
""")
    assert said.pop("herself").startswith(("200", "403"))
    assert {answer[:3] for answer in said.values()} <= {"403", "404"}, said
    assert bob.person.has_server()


@pytest.mark.row(5)
def test_ports_on_loopback_show_her_nothing(hub: Hub, alice: Attacker, bob: Victim) -> None:
    api = hub.machine.systemctl(
        "show", "--property=Listen", "--value", hub.layout.proxy_api_socket
    ).stdout.split()[0]
    said = alice.tries(f"""
own = os.environ["JUPYTERHUB_API_TOKEN"]
his = "http://127.0.0.1:{bob.port}/user/{bob.person.name}"
attempt("his files", lambda: get(f"{{his}}/api/contents"))
attempt("his files with her token", lambda: get(f"{{his}}/api/contents", own))
attempt("his kernels with her token", lambda: get(f"{{his}}/api/kernels", own))
attempt("his page with her token", lambda: get(f"{{his}}/lab", own))
attempt("a terminal of his", lambda: get(f"{{his}}/api/terminals", own, "POST", b"{{}}"))
attempt("the proxy's API", lambda: get("http://{api}/api/rawdata"))
attempt("the proxy's API with her token", lambda: get("http://{api}/api/rawdata", own))
attempt("the proxy's configuration", lambda: get("http://{api}/debug/vars"))
""")
    assert {answer[:3] for answer in said.values()} <= {"302", "401", "403", "404"}, said


@pytest.mark.row(5, 31)
def test_she_hears_nothing_of_his_kernel(hub: Hub, alice: Attacker, bob: Victim) -> None:
    connection = f"/run/jupyter/kernel-{bob.kernel.id}.json"
    assert '"transport": "ipc"' in bob.kernel.run(f"print(open('{connection}').read())")
    uid = hub.machine.run(["id", "--user", bob.person.name]).stdout.strip()
    # The kernel's forked children, too, send it their output without a port.
    assert bob.kernel.run(FORKED) == "of a child\n"
    said = alice.tries(f"""
import zmq
ports = set()
for line in open("/proc/net/tcp").readlines()[1:]:
    local, state, uid = (line.split()[column] for column in (1, 3, 7))
    if state == "0A" and uid == "{uid}":
        ports.add(int(local.rpartition(":")[2], 16))
context = zmq.Context()
ears = []
attempt("ports", lambda: sorted(ports))
for port in ports:
    ear = context.socket(zmq.SUB)
    ear.subscribe("")
    ear.connect(f"tcp://127.0.0.1:{{port}}")
    ears.append(ear)
""")
    assert said["ports"] == f"[{bob.port}]", "his server's alone"
    bob.kernel.run(f"print({SECRET!r})")
    said = alice.tries("""
attempt("what she heard", lambda: [ear.recv() for ear in ears if ear.poll(500)])
attempt("his sockets", lambda: [name for name in os.listdir("/run/jupyter")
                                if os.stat(f"/run/jupyter/{name}").st_uid != os.getuid()])
""")
    assert set(said.values()) == {"[]"}, said


@pytest.mark.row(5, 31)
def test_his_debugger_obeys_nobody_else(hub: Hub, alice: Attacker, bob: Victim) -> None:
    """It runs whatever those ask for who connect."""
    (port,) = json.loads(bob.kernel.run(DEBUGGED))
    said = alice.tries(f"""
def connects():
    with socket.create_connection(("127.0.0.1", {port}), 10) as connection:
        return connection.recv(99)
attempt("his debugger", connects)
""")
    answer = said["his debugger"]
    assert answer == "b''" or answer.startswith("ConnectionResetError"), answer
    bob.kernel.run("import socket")
    own = f"print(socket.create_connection(('127.0.0.1', {port}), 10).recv(14))"
    assert bob.kernel.run(own) == "b'Content-Length'\n"


DEBUGGED = """
import debugpy
print([debugpy.listen(("127.0.0.1", 0))[1]])
"""


FORKED = """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=print, args=("of a child",))
child.start()
child.join()
"""


@pytest.mark.row(11)
def test_she_gains_no_right_that_she_was_not_given(hub: Hub, alice: Attacker, bob: Victim) -> None:
    # As a mistake of the administrator would leave it.
    hub.machine.run(["install", "--mode=4755", "/bin/cat", "/usr/local/bin/root-cat"])
    try:
        assert hub.machine.run(
            ["root-cat", str(hub.layout.cookie_secret)], user=alice.person.name
        ).stdout
        said = alice.tries(f"""
libc = ctypes.CDLL(None, use_errno=True)

def call(*arguments):
    return 0 if libc.syscall(*arguments) == 0 else os.strerror(ctypes.get_errno())

attempt("a program that is root for everybody", lambda: run("root-cat", "/etc/shadow"))
attempt("su", lambda: run("su", "--command=id"))
attempt("user namespace", lambda: run("unshare", "--user", "--map-root-user", "id"))
attempt("mount", lambda: run("mount", "-t", "tmpfs", "none", "/mnt"))
attempt("debugger at his server", lambda: call(101, 16, {bob.server_pid}, 0, 0))
attempt("program in the kernel", lambda: call(321, 0, 0, 0))
attempt("kernel module", lambda: call(175, 0, 0, 0))
attempt("calls that no filter sees", lambda: call(425, 8, ctypes.create_string_buffer(200)))
attempt("clock", lambda: call(227, 0, ctypes.byref((ctypes.c_long * 2)())))
attempt("sniffer", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("disks", lambda: glob.glob("/dev/[sv]d*") + glob.glob("/dev/nvme*"))
attempt("the machine's memory", lambda: open("/dev/mem", "rb"))
attempt("kernel's log", lambda: run("dmesg"))
attempt("systemd-run", lambda: run("systemd-run", "--uid=0", "id"))
""")
    finally:
        hub.machine.run(["rm", "/usr/local/bin/root-cat"])
    assert said.pop("disks") == "[]"
    assert "Permission denied" in said.pop("a program that is root for everybody")
    assert said.pop("debugger at his server") in ("Operation not permitted", "No such process")
    refused = (
        *("exit code 1:", "exit code 32:", "PermissionError", "FileNotFoundError", "OSError"),
        "Operation not permitted",
    )
    assert all(answer.startswith(refused) for answer in said.values()), said
    rights = alice.kernel.run("""
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs")):
        print(*line.split())
""")
    assert "NoNewPrivs: 1" in rights
    assert {line.split()[1] for line in rights.splitlines()} == {"1", "0" * 16}


@pytest.mark.row(11)
def test_she_cannot_write_files_that_others_or_the_hub_run(hub: Hub, alice: Attacker) -> None:
    said = alice.tries(f"""
writable = []
for top in "{hub.layout.base}", *os.environ["PATH"].split(":"), "/etc", "/usr":
    for directory, _, files in os.walk(top):
        names = [directory, *(os.path.join(directory, name) for name in files)]
        names = [name for name in names if not os.path.islink(name)]
        writable += [name for name in names if os.access(name, os.W_OK)]
attempt("writable below the base directory, PATH, /etc, /usr", lambda: writable)
attempt("first in PATH", lambda: Path(os.environ["PATH"].split(":")[0], "ls").write_text(""))
""")
    assert said.pop("writable below the base directory, PATH, /etc, /usr") == "[]"
    assert said.pop("first in PATH").startswith(("PermissionError", "OSError"))


@pytest.mark.row(33)
def test_she_takes_all_that_the_kernel_gives_and_others_still_get_theirs(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    try:
        said = alice.tries(KERNEL_RESOURCES + TAKE_ALL)
        assert said["events"] == "0, then Operation not permitted"
        assert all(", then " in answer for answer in said.values()), said
        his = bob.kernel.run(KERNEL_RESOURCES + TAKE_ONE)
        print(his)
        assert his == "['watchers', 'shared memory', 'message queues']\n"
    finally:
        alice.kernel.run(GIVE_BACK)


@pytest.mark.row(33)
def test_a_program_that_takes_all_terminals_is_ended_and_others_get_theirs(
    hub: Hub, alice: Attacker, bob: Victim
) -> None:
    terminal = ["script", "--quiet", "--return", "--command", "tty", "/dev/null"]
    try:
        assert int(alice.tries(TAKE_TERMINALS)["terminals"]) > 2000
        eventually(
            lambda: hub.machine.run(terminal, check=False).stdout.startswith("/dev/pts/"),
            30,
            "a terminal for root",
        )
        assert bob.kernel.run("import pty; print(len(pty.openpty()))") == "2\n"
        assert alice.kernel.run("print(hog.wait(10))") == "-9\n"
    finally:
        alice.kernel.run("hog.kill()")
    unit = f"{hub.layout.user_unit(alice.person.name)}.service"
    assert "pseudo-terminals: few are left" in hub.machine.journal(unit)


TAKE_TERMINALS = """
hog = subprocess.Popen([sys.executable, "-c", '''
import pty, resource, signal
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while True:
        held.append(pty.openpty())
except OSError:
    print("terminals:", len(held), flush=True)
signal.pause()
'''], stdout=subprocess.PIPE, text=True)
print(hog.stdout.readline(), end="")
"""

KERNEL_RESOURCES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
descriptors, segments, queues = [], [], []

def called(function, *arguments):
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

KINDS = {
    "watchers": lambda: descriptors.append(called(libc.inotify_init1, 0)),
    "events": lambda: called(libc.syscall, 206, 65536, ctypes.byref(ctypes.c_ulong())),
    "shared memory": lambda: segments.append(called(libc.shmget, 0, 1, 0o600)),
    "message queues": lambda: queues.append(called(libc.msgget, 0, 0o600)),
}
"""

TAKE_ALL = """
for kind, take in KINDS.items():
    try:
        for number in range(40000):
            take()
    except OSError as error:
        print(f"{kind}: {number}, then {error.strerror or error}")
    else:
        print(f"{kind}: all of them")
"""

TAKE_ONE = """
def gets_one(take):
    try:
        take()
        return True
    except OSError:
        return False

print([kind for kind, take in KINDS.items() if gets_one(take)])
"""

GIVE_BACK = """
for descriptor in descriptors:
    os.close(descriptor)
for segment in segments:
    libc.shmctl(segment, 0, None)
for queue in queues:
    libc.msgctl(queue, 0, None)
"""


@pytest.mark.row(14)
def test_a_user_who_has_filled_every_disk_can_clean_up_with_a_new_kernel(hub: Hub) -> None:
    places = ("/home", "/tmp", "/var/tmp")
    with contextlib.ExitStack() as mounted:
        for place in places:
            tmpfs = ["mount", "--types=tmpfs", "--options=size=20M,mode=1777", "none", place]
            hub.machine.run(tmpfs)
            mounted.callback(hub.machine.run, ["umount", "--lazy", place])
        with hub.person() as alice:
            alice.start_server()
            said = alice.run_cell(FILL)
            print(said)
            assert said.count("No space left on device") == len(places)
            assert hub.answers()
            assert alice.run_cell(TIDY_UP) == "42\n"


FILL = """
for place in ".", "/tmp", "/var/tmp":
    try:
        with open(f"{place}/all", "wb", buffering=0) as file:
            while True:
                file.write(bytes(2**20))
    except OSError as error:
        print(error)
"""

TIDY_UP = """
import os
for place in ".", "/tmp", "/var/tmp":
    os.remove(f"{place}/all")
print(6 * 7)
"""
