"""Ports of user servers: who gets them, and who uses them up."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub

# Binds the port in every way, again and again; when it has it, it serves a page.
TAKE = """
import itertools, socket, sys
port, options = int(sys.argv[1]), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
subsets = ((), options[:1], options[1:], options)
for address, subset in itertools.cycle(itertools.product(("127.0.0.1", "0.0.0.0", "::"), subsets)):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        try:
            for option in subset:
                listener.setsockopt(socket.SOL_SOCKET, option, 1)
            listener.bind((address, port))
            listener.listen()
        except OSError:
            continue
        while True:
            with listener.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nstolen")
"""

# Binds all ports that the kernel chooses from. Several processes: one may have too few files.
FLOOD = """
import os, resource, socket, sys, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
first, last = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
part = next((n for n in range(1, 8) if os.fork() == 0), 0)
held = []
for port in range(first + part, last + 1, 8):
    held.append(socket.socket(*SOCKET))
    try:
        held[-1].bind((ADDRESS, port))
    except OSError:
        held.pop().close()
time.sleep(1000)
"""
# Opens and closes connections from all ports, so that no process has them, but the kernel.
CLOSE = """
import socket, sys
first, last = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
listener = socket.create_server(("127.0.0.1", 0))
while True:
    for port in range(first + int(sys.argv[1]), last + 1, 2):
        with socket.socket() as closed:
            try:
                closed.bind(("127.0.0.1", port))
                closed.connect(listener.getsockname())
            except OSError:
                continue
            with listener.accept()[0]:
                closed.close()
"""
FLOODS = {
    "TCP": ("(socket.AF_INET,)", "127.0.0.1"),
    "TCP-IPv6": ("(socket.AF_INET6,)", "::1"),
    "UDP": ("(socket.AF_INET, socket.SOCK_DGRAM)", "127.0.0.1"),
}


@contextmanager
def taking(hub: Hub, person: Person, port: int) -> Iterator[None]:
    """Let somebody try to take a port all the time."""
    hub.machine.put("/var/tmp/take.py", TAKE)
    command = [hub.path("hub/bin/python3"), "/var/tmp/take.py", str(port)]
    hub.machine.run(["systemd-run", "--unit=take", f"--uid={person.name}", *command])
    try:
        yield
    finally:
        hub.machine.systemctl("stop", "take.service")


@pytest.mark.row(26)
def test_no_one_gets_the_port_of_a_server_that_was_killed_while_a_route_leads_there(
    hub: Hub,
) -> None:
    machine, layout = hub.machine, hub.layout
    hub_units = (layout.hub_socket, layout.hub_service)
    seen: set[tuple[int, bool]] = set()

    def visit() -> None:
        page = httpx.get(f"{hub.url}/user/{alice.name}/api", trust_env=False)
        seen.add((page.status_code, page.text == "stolen"))

    with hub.person() as alice, hub.person() as mallory:
        alice.start_server()
        server = f"{layout.user_unit(alice.name)}.service"
        port = hub.held_ports()[server]
        with taking(hub, mallory, port):
            visit()
            # The guard loses nothing when it is killed or restarted, and finds the server again
            # when it was stopped.
            machine.run(["sh", "-c", f"kill -KILL {hub.main_pid(layout.guard_service)}"])
            machine.systemctl("restart", layout.guard_service)
            machine.systemctl("stop", layout.guard_service)
            machine.systemctl("start", layout.guard_service)
            assert hub.held_ports()[server] == port
            machine.systemctl("stop", *hub_units)
            machine.systemctl("kill", "--signal=KILL", server)
            eventually(lambda: hub.main_pid(server) == 0, 30, "the server's end")
            visit()
            machine.run(["sh", "-c", f"kill -KILL {hub.main_pid(layout.guard_service)}"])
            visit()
            machine.systemctl("restart", layout.guard_service)
            visit()
            assert seen == {(200, False), (502, False)}
            machine.systemctl("start", *hub_units)
            # Once the route is gone, the port is free.
            url = f"http://127.0.0.1:{port}"
            fetch = f"import urllib.request as r; print(r.urlopen({url!r}).read())"
            direct = [hub.path("hub/bin/python3"), "-c", fetch]
            eventually(lambda: "stolen" in machine.run(direct, check=False).stdout, 60, "the port")
            visit()
            assert not any(is_stolen for _, is_stolen in seen)
        alice.start_server()
        assert hub.held_ports()[server] != port


@pytest.mark.row(26)
def test_no_one_gets_the_port_of_a_hub_that_is_stopped(hub: Hub) -> None:
    machine, layout = hub.machine, hub.layout
    listen = machine.systemctl("show", "--property=Listen", "--value", layout.hub_socket).stdout
    port = int(re.findall(r":(\d+) ", listen)[0])
    units = (layout.hub_socket, layout.hub_service)
    with hub.person() as mallory, taking(hub, mallory, port):
        machine.systemctl("stop", *units)
        try:
            assert httpx.get(f"{hub.url}/hub/login", trust_env=False).status_code == 502
            machine.run(["sh", "-c", f"kill -KILL {hub.main_pid(layout.guard_service)}"])
            machine.systemctl("restart", layout.guard_service)
            assert httpx.get(f"{hub.url}/hub/login", trust_env=False).status_code == 502
        finally:
            machine.systemctl("start", *units)
        eventually(hub.answers, 30, "the hub")


@pytest.mark.row(26)
def test_a_port_is_given_up_when_its_server_stops(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        server = f"{hub.layout.user_unit(alice.name)}.service"
        assert server in hub.held_ports()
        hub.reload()
        assert server in hub.held_ports()
        assert alice.run_cell("6 * 7") == "42"
        alice.stop_server()
        eventually(lambda: server not in hub.held_ports(), 30, "the port to be given up")


@pytest.mark.row(26)
def test_a_server_that_systemd_restarts_gets_its_port_again(hub: Hub) -> None:
    restart = (
        'c.SystemdSpawner.unit_extra_properties = {"Restart": "always", "RestartSec": "100ms"}\n'
    )
    with hub.fragment("70-restart.py", restart), hub.person() as alice:
        alice.start_server()
        server = f"{hub.layout.user_unit(alice.name)}.service"
        hub.reload()
        assert server not in hub.held_ports()
        pid = hub.main_pid(server)
        hub.machine.systemctl("kill", "--signal=KILL", server)
        eventually(lambda: hub.main_pid(server) not in (0, pid), 30, "another process")
        page = f"{hub.url}/user/{alice.name}/api"
        eventually(
            lambda: httpx.get(page, trust_env=False).status_code == 200, 30, "the server to answer"
        )


@pytest.mark.row(26)
def test_where_the_kernel_lets_no_port_be_held_servers_start_and_doctor_says_so(hub: Hub) -> None:
    guard = hub.layout.guard_service
    drop_in = f"{hub.layout.system_units}/{guard}.d/refused.conf"
    hub.machine.put(drop_in, "[Service]\nSystemCallFilter=~pidfd_getfd\n")
    hub.machine.systemctl("daemon-reload")
    hub.machine.systemctl("restart", guard)
    try:
        with hub.person() as alice:
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
            examined = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor"], check=False)
            assert "are not held (pidfd_getfd: Operation not permitted)" in examined.stdout
    finally:
        hub.machine.run(["rm", "-r", f"{hub.layout.system_units}/{guard}.d"])
        hub.machine.systemctl("daemon-reload")
        hub.machine.systemctl("restart", guard)


@contextmanager
def limited_by_the_guard(hub: Hub) -> Iterator[int]:
    """Let the guard's unit set the kernel's limit of closed connections, and yield the limit."""
    setting, guard = "/proc/sys/net/ipv4/tcp_max_tw_buckets", hub.layout.guard_service
    before = hub.machine.read(setting)
    # nspawn makes it read-only.
    remount = ["mount", "--options"]
    hub.machine.run([*remount, "remount,bind,rw", "/proc/sys"])
    try:
        hub.machine.systemctl("restart", guard)
        yield int(hub.machine.read(setting))
        # Uninstalling stops it too: nothing may stay.
        hub.machine.systemctl("stop", guard)
        assert hub.machine.read(setting) == before
    finally:
        hub.machine.run(["sh", "-c", f"echo {before} >{setting}"])
        hub.machine.run([*remount, "remount,bind,ro", "/proc/sys"])
        hub.machine.systemctl("start", guard)


@pytest.mark.row(27)
def test_closed_connections_of_one_user_do_not_keep_all_ports(hub: Hub) -> None:
    def closed() -> int:
        (found,) = re.findall(r"^TCP: .* tw (\d+)", hub.machine.read("/proc/net/sockstat"), re.M)
        return int(found)

    with hub.person() as alice, hub.person() as mallory, limited_by_the_guard(hub) as limit:
        mallory.start_server()
        with mallory.open_kernel() as kernel:
            command = f"[sys.executable, '-c', {CLOSE!r}, str(part)]"
            kernel.run(
                f"import subprocess, sys\nhogs = [subprocess.Popen({command}) for part in (0, 1)]"
            )
            eventually(lambda: closed() > limit - 100, 30, "as many as the kernel keeps")
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
            assert closed() <= limit + 10
            kernel.run("for hog in hogs: hog.kill()")


@pytest.mark.row(27)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_user_who_takes_all_ports_does_not_keep_others_from_working(hub: Hub, flood: str) -> None:
    kind, address = FLOODS[flood]
    code = FLOOD.replace("SOCKET", kind).replace("ADDRESS", repr(address))
    start = f"import subprocess, sys\n_ = subprocess.Popen([sys.executable, '-c', {code!r}])"
    with hub.person() as alice, hub.person() as mallory:
        mallory.start_server()
        with mallory.open_kernel() as kernel:
            kernel.run(start)
            server = f"{hub.layout.user_unit(mallory.name)}.service"
            ended = rf"ended process .* of {re.escape(server)}, which had \d+ {flood[:3]} sockets"
            eventually(lambda: re.search(ended, hub.machine.journal(server)), 30, "its end")
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
            # It ends what has most of them, not the server and not the kernel.
            assert kernel.run("6 * 7") == "42"
