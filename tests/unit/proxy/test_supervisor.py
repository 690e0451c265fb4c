"""The proxy's supervisor: how it divides visitors between two generations, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littlest_hub.proxy.certificates import (
    CertificateFiles,
    ConfiguredCertificates,
    certificate_files,
)
from littlest_hub.proxy.configuration import ready_config, static_config
from littlest_hub.proxy.generation import Generation, generations
from littlest_hub.proxy.listening import Address, group_by_address, other_listeners
from littlest_hub.proxy.relay import ACCEPTING, SOURCE, relay, route
from littlest_hub.proxy.supervisor import reload
from littlest_hub.system import processes
from littlest_hub.system.sd_daemon import Inherited, spawn
from littlest_hub.system.toml import to_toml
from tests.capabilities import PATH, missing
from tests.eventually import eventually
from tests.network import free_port

pytestmark = pytest.mark.unit

TRAEFIK = shutil.which("traefik", path=PATH)
REPOSITORY = Path(__file__).parents[3]
# Not -m: littlest_hub is not installed where the tests run. A reload executes this again.
SUPERVISOR = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from littlest_hub.proxy.supervisor import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", number: int = 2) -> Iterator[list[socket.socket]]:
    """Make sockets that share an address, as systemd does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, as in a unit: a socket with a port of the kernel's choice loses it in shutdown(2).
    port = free_port()
    with contextlib.ExitStack() as stack:
        made: list[socket.socket] = []
        for _ in range(number):
            one = stack.enter_context(socket.socket(family))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            one.bind((host, port))
            one.listen(4096)
            made.append(one)
        yield made


def passed(name: str, sockets: list[socket.socket]) -> list[Inherited]:
    return [Inherited(name, each.fileno()) for each in sockets]


def port_of(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1])


# --- steering


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_new_connections_go_where_they_are_steered(host: str) -> None:
    with listening(host) as sockets, contextlib.ExitStack() as visitors:
        (address,) = group_by_address(passed("http", sockets))
        for slot, queued in ((0, (9, 0)), (1, (9, 9)), (0, (18, 9))):
            address.steer(slot)
            for _ in range(9):
                at = ("127.0.0.1", port_of(sockets))
                visitors.enter_context(socket.create_connection(at))
            assert (address.queued(0), address.queued(1)) == queued


@pytest.mark.parametrize("waiting", [0, 9])
@pytest.mark.parametrize("number_of_others", [0, 1, 2])
def test_sockets_are_found_as_the_kernel_numbers_them_whichever_others_were_closed(
    number_of_others: int, waiting: int
) -> None:
    with listening(number=number_of_others) as others, contextlib.ExitStack() as stack:
        at = others[0].getsockname() if others else ("127.0.0.1", free_port())
        new = []
        for _ in range(2):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(at)
            one.listen()
            new.append(one)
        # Those of a proxy that ends.
        for each in others:
            each.close()
        for _ in range(waiting):
            stack.enter_context(socket.create_connection(at))
        address = Address("http", tuple(passed("http", new))).in_order_of_kernel()
        assert address.queued(0) + address.queued(1) == waiting + 1, "and the one that looks"
        for slot in (1, 0, 1):
            before = address.queued(0), address.queued(1)
            address.steer(slot)
            stack.enter_context(socket.create_connection(at))
            after = address.queued(0), address.queued(1)
            assert after[slot] == before[slot] + 1
            assert after[1 - slot] == before[1 - slot]
        order = [address.inode_of(0), address.inode_of(1)]
        again = Address("http", tuple(passed("http", new))).in_order_of([7, *order])
        assert [again.inode_of(0), again.inode_of(1)] == order


def test_an_address_with_one_socket_is_shared() -> None:
    with listening(number=1) as sockets:
        (address,) = group_by_address(passed("http", sockets))
        address.steer(1)
        assert address.socket_of(0) == address.socket_of(1)


def test_an_entry_point_has_one_address_and_the_rest_is_reported(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with listening() as first, listening() as second, listening() as api:
        found = group_by_address(
            [*passed("http", first), *passed("http", second), *passed("auth_api", api)]
        )
        assert [(a.name, len(a.sockets)) for a in found] == [("http", 2), ("auth_api", 2)]
        assert str(port_of(second)) in capfd.readouterr().err


# --- visitors who wait where no traefik accepts


def test_the_relay_copies_all_bytes_in_both_directions_until_both_ends_are_closed() -> None:
    sent = os.urandom(3_000_000)
    with listening() as sockets, ThreadPoolExecutor() as background:
        (address,) = group_by_address(passed("http", sockets))
        address.steer(0)
        with socket.create_connection(sockets[0].getsockname()) as visitor:
            address.steer(1)
            ours, theirs = socket.socketpair()
            held = [Inherited("http", os.dup(sockets[0].fileno()))]
            relaying = background.submit(relay, [*held, Inherited(ACCEPTING, theirs.detach())])
            serving, (source, _) = sockets[1].accept()
            assert source == "127.0.0.1"
            with ours, serving:
                for giver, taker in ((visitor, serving), (serving, visitor)):
                    giving = background.submit(_send_all, giver, sent)
                    with taker.makefile("rb") as reading:
                        assert reading.read() == sent
                    giving.result()
                # It accepts no more.
                assert ours.recv(1) == b""
            relaying.result(timeout=20)


def _send_all(giver: socket.socket, data: bytes) -> None:
    giver.sendall(data)
    giver.shutdown(socket.SHUT_WR)


OURS = "2001:db8::2"


@pytest.mark.parametrize(
    ("is_ipv6_only", "peer", "own", "trusted", "expected"),
    [
        (False, "::ffff:192.0.2.7", "::ffff:192.0.2.1", "127.0.0.1", ("127.0.0.1", SOURCE)),
        (False, "2001:db8::1", OURS, "127.0.0.1", ("127.0.0.1", SOURCE)),
        (False, "::ffff:127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1", ("127.0.0.1", "127.0.0.1")),
        (False, "::1", "::1", "::1", ("::1", "::1")),
        (True, "::1", "::1", "::1", ("::1", "::1")),
        # From ::1, and from every address of 127.0.0.0/8, they could send X-Forwarded-For.
        (True, "2001:db8::1", OURS, "::1", (OURS, OURS)),
        (
            *(False, "::ffff:192.0.2.7", "::ffff:192.0.2.1", "127.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1"),
        ),
        (False, "::ffff:192.0.2.7", "::ffff:192.0.2.1", "0.0.0.0/0", None),
        (False, "2001:db8::1", OURS, "127.0.0.0/8", None),
    ],
)
def test_relayed_visitors_cannot_pose_as_a_proxy_in_front_on_this_machine(
    is_ipv6_only: bool, peer: str, own: str, trusted: str, expected: tuple[str, str] | None
) -> None:
    networks = [ipaddress.ip_network(trusted)]
    with socket.socket(socket.AF_INET6) as listening:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_ipv6_only)
        listening.bind(("::", 0))
        port = listening.getsockname()[1]
        if expected is None:
            with pytest.raises(PermissionError):
                route(listening, peer, own, networks)
            return
        host, source = expected
        assert route(listening, peer, own, networks) == ((host, port), (source, 0))


# --- records


def test_a_generation_exists_as_long_as_its_record_is_locked(tmp_path: Path) -> None:
    record = tmp_path / "1.accepting"
    hold = (
        "import fcntl,sys,time; f=open(sys.argv[1]); fcntl.flock(f,2); print(flush=True); input()"
    )
    record.write_text("123 1 4567 89 90")
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(record)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        expected = Generation(record, 123, 1, 4567, (89, 90))
        assert generations(tmp_path) == [expected]
        assert expected.is_accepting
        holder.kill()
    assert generations(tmp_path) == []
    assert not record.exists()


# --- certificates


def test_certificates_are_found_wherever_the_dynamic_configuration_names_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tls.toml"
    file.write_text(
        '[[tls.certificates]]\ncertFile = "/a.crt"\nkeyFile = "/a.key"\n'
        '[[tls.certificates]]\ncertFile = "-----BEGIN"\nkeyFile = "-----BEGIN"\n'
        '[tls.stores.default.defaultCertificate]\ncertFile = "/b.crt"\nkeyFile = "/b.key"\n'
        "[tls.stores.other]\n"
    )
    assert certificate_files(file) == [
        CertificateFiles("/a.crt", "/a.key"),
        CertificateFiles("/b.crt", "/b.key"),
    ]


def test_a_file_that_traefik_could_not_parse_is_named(tmp_path: Path) -> None:
    (tmp_path / "tls.toml").write_text("[tls\n")
    with pytest.raises(ValueError, match=r"tls\.toml: .*line 1"):
        ConfiguredCertificates(tmp_path).read()


def test_a_missing_certificate_is_a_problem_that_names_it() -> None:
    assert "/nowhere.crt" in (CertificateFiles("/nowhere.crt", "/nowhere.key").problem or "")


# --- the whole


class Proxy:
    """A supervisor with the real traefik, outside systemd, which serves nothing but 404s."""

    def __init__(self, directory: Path, http: list[socket.socket], api: list[socket.socket]):
        self.static = directory / "traefik.toml"
        self.dynamic = directory / "dynamic"
        self.run = directory / "run"
        self.control = self.run / "control"
        self.log = directory / "log"
        self.port = port_of(http)
        self._inherited = [*passed("http", http), *passed("auth_api", api)]
        for made in (self.dynamic, self.run, directory / "bin"):
            made.mkdir()
        (directory / "bin/traefik").symlink_to(TRAEFIK or "traefik")
        (directory / "bin/python3").symlink_to(sys.executable)
        self._python = str(directory / "bin/python3")
        self.write_static({})
        (self.dynamic / "ready.toml").write_text(to_toml(ready_config()))
        self.write_rules(1)
        self.environ: Mapping[str, str] = os.environ
        self.pid = 0

    def write_static(self, more: dict[str, object]) -> None:
        ours = static_config(
            public=f"127.0.0.1:{self.port}", api="127.0.0.1:1", dynamic_config=self.dynamic
        )
        self.static.write_text(to_toml({**ours, **more}))

    def write_rules(self, number: int) -> None:
        router = {"entryPoints": ["http"], "service": "noop@internal"}
        rules = {f"r{n}": {"rule": f"PathPrefix(`/user/{n}/`)", **router} for n in range(number)}
        (self.dynamic / "rules.toml").write_text(to_toml({"http": {"routers": rules}}))

    def start(self) -> None:
        words = [self._python, "-c", SUPERVISOR, "supervise", str(self.static), str(self.control)]
        with self.log.open("ab") as log:
            self.pid = spawn(words, self._inherited, environ=self.environ, output=log.fileno())

    def wait(self) -> None:
        eventually(lambda: self.is_ready and self.status("/user/0/") == 418, 30, "a traefik")

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self.control.unlink(missing_ok=True)

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status

    @property
    def is_ready(self) -> bool:
        return any(each.is_accepting and each.is_ready for each in generations(self.run))

    @property
    def accepting(self) -> list[int]:
        return [each.pid for each in generations(self.run) if each.is_accepting]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with _proxy(tmp_path, order=1) as proxy:
        yield proxy


@contextlib.contextmanager
def _proxy(tmp_path: Path, order: int) -> Iterator[Proxy]:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    with listening() as http_sockets, listening() as api_sockets:
        proxy = Proxy(tmp_path, http_sockets[::order], api_sockets)
        try:
            yield proxy
        finally:
            proxy.kill()
            for each in generations(proxy.run):
                os.kill(each.pid, signal.SIGKILL)


def test_visitors_reach_the_proxy_if_the_kernel_numbers_its_sockets_in_another_order(
    tmp_path: Path,
) -> None:
    with _proxy(tmp_path, order=-1) as proxy:
        proxy.start()
        proxy.wait()
        assert reload(proxy.control) == ""
        assert proxy.status("/user/0/") == 418
        proxy.kill()
        proxy.start()
        eventually(lambda: reload(proxy.control) == "", 30, "a reload of the next supervisor")
        assert proxy.status("/user/0/") == 418


def test_a_generation_that_is_ready_has_all_its_routes(proxy: Proxy) -> None:
    proxy.write_rules(500)
    proxy.start()
    proxy.wait()
    for _ in range(2):
        assert [n for n in range(500) if proxy.status(f"/user/{n}/") != 418] == []
        assert reload(proxy.control) == ""


def test_a_reload_keeps_the_process_and_starts_another_traefik(proxy: Proxy) -> None:
    proxy.start()
    proxy.wait()
    (before,) = proxy.accepting
    assert reload(proxy.control) == ""
    assert os.waitpid(proxy.pid, os.WNOHANG) == (0, 0)
    assert before in proxy.accepting
    assert len(proxy.accepting) == 2


def test_the_traefik_of_a_killed_supervisor_serves_until_the_next_one_takes_over(
    proxy: Proxy,
) -> None:
    proxy.start()
    proxy.wait()
    (before,) = proxy.accepting
    proxy.kill()
    assert proxy.status("/user/0/") == 418
    proxy.start()
    proxy.wait()
    assert proxy.status("/user/0/") == 418
    assert before in proxy.accepting
    eventually(lambda: before not in proxy.accepting, 60, "the one before to be told to end")


def test_a_port_that_is_added_or_removed_ends_no_traefik(proxy: Proxy) -> None:
    proxy.start()
    proxy.wait()
    with listening() as https_sockets:
        for more in (passed("https", https_sockets), []):
            (before, *_) = proxy.accepting[::-1]
            proxy.kill()
            proxy._inherited = [each for each in proxy._inherited if each.name != "https"] + more
            proxy.start()
            proxy.wait()
            assert proxy.status("/user/0/") == 418
            assert before in proxy.accepting
    assert "taken" not in proxy.log.read_text()


def test_a_socket_without_an_entry_point_is_not_passed_to_traefik(proxy: Proxy) -> None:
    with listening() as https_sockets:
        own = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in https_sockets}
        proxy._inherited += passed("https", https_sockets)
        proxy.start()
        proxy.wait()
        # A connection there is no reason to replace traefik.
        with socket.create_connection(https_sockets[0].getsockname()):
            before = proxy.accepting
            has = {what for _, what in processes.descriptors(before[0])}
            assert has
            assert not own & has
            assert reload(proxy.control) == ""
            assert len(proxy.accepting) <= 2
            assert proxy.status("/user/0/") == 418


def test_traefik_gets_the_units_environment_and_our_certificate_authorities(
    proxy: Proxy, tmp_path: Path
) -> None:
    (tmp_path / "ssl").mkdir()
    (tmp_path / "ssl/cacert.pem").touch()
    others = {key: value for key, value in os.environ.items() if key != "SSL_CERT_FILE"}
    proxy.environ = {**others, "EXEC_PATH": "/x", "NOTIFY_SOCKET": "@none"}
    proxy.start()
    proxy.wait()
    (traefik,) = proxy.accepting
    has = Path(f"/proc/{traefik}/environ").read_text().split("\0")
    assert "EXEC_PATH=/x" in has
    assert f"SSL_CERT_FILE={tmp_path}/ssl/cacert.pem" in has
    assert not any(each.startswith("NOTIFY_SOCKET=") for each in has)


def test_visitors_who_come_before_traefik_wait_until_it_has_its_routes(proxy: Proxy) -> None:
    proxy.write_rules(500)
    with contextlib.ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
            for _ in range(50)
        ]
        for visitor in waiting:
            visitor.settimeout(60)
            visitor.sendall(b"GET /user/0/ HTTP/1.0\r\n\r\n")
        proxy.start()
        assert {visitor.recv(12)[9:] for visitor in waiting} == {b"418"}


def test_a_reload_that_comes_before_the_first_traefik_is_ready_waits_for_it(proxy: Proxy) -> None:
    proxy.start()
    eventually(proxy.control.exists, 30, "the supervisor")
    assert reload(proxy.control) == ""
    assert proxy.status("/user/0/") == 418


def test_a_static_configuration_that_traefik_refuses_is_refused_with_its_message(
    proxy: Proxy,
) -> None:
    proxy.start()
    proxy.wait()
    before = proxy.accepting
    proxy.write_static({"log": {"levle": "DEBUG"}})
    assert "levle" in reload(proxy.control)
    assert proxy.accepting == before
    assert proxy.status("/user/0/") == 418


def test_without_its_sockets_the_supervisor_says_so_and_ends(tmp_path: Path) -> None:
    if TRAEFIK is None:
        missing("no traefik on PATH")
    with listening() as sockets:
        proxy = Proxy(tmp_path, sockets, sockets)
        proxy._inherited = []
        proxy.start()
        _, ended = os.waitpid(proxy.pid, 0)
        assert os.waitstatus_to_exitcode(ended) == 1
        assert f"port {proxy.port} is taken by" in proxy.log.read_text()


def test_a_program_that_shares_our_address_is_found() -> None:
    with listening() as (ours, theirs), listening():
        (other,) = other_listeners(frozenset({os.fstat(ours.fileno()).st_ino}))
        assert other.port == theirs.getsockname()[1]
        assert other.inode == os.fstat(theirs.fileno()).st_ino
        assert other.uid == os.geteuid()
