"""The proxy is replaced, on purpose or not, while users work."""

import contextlib
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import make
from tests.client import Kernel
from tests.container.conftest import FURTHER
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

LONG = 'c.HubProxy.extra_static_config = {"entryPoints": {"http": {"transport": {"respondingTimeouts": {"readTimeout": "17m"}}}}}\n'  # noqa: E501
MOVED = """
c.HubProxy.extra_dynamic_config = {"http": {
    "middlewares": {"moved": {"redirectRegex": {"regex": ".*", "replacement": "/hub/login"}}},
    "routers": {
        "moved": {
            "rule": "Path(`/moved`)", "service": "noop@internal", "middlewares": ["moved"],
            "priority": 1000,
        },
    },
}}
"""
WRONG = 'c.TraefikProxy.extra_static_config = {"log": {"levle": "DEBUG"}}\n'
OURS = 'c.HubProxy.extra_static_config = {"entrypoints": {"HTTP": {"address": ":81"}}}\n'


class Visitors:
    """Visitors who request the login page, each by a new connection, up to ten times a second.

    More would take the processor from what is tested.
    """

    def __init__(self, url: str) -> None:
        self.host = url.partition("//")[2].partition(":")[0].rstrip("/")
        self.answers: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(3)]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> dict[str, int]:
        return {answer: n for answer, n in self.answers.items() if answer != "200"}

    def _visit(self) -> None:
        while not self._over.wait(0.1):
            self.answers[self._answer()] += 1

    def _answer(self) -> str:
        try:
            with socket.create_connection((self.host, 80), 30) as connection:
                return status_of(get_login_page(connection, self.host))
        except OSError as error:
            return repr(error)


def get_login_page(connection: socket.socket, host: str) -> bytes:
    """Request the login page and return the whole answer."""
    connection.sendall(b"GET /hub/login HTTP/1.0\r\nHost: %s\r\n\r\n" % host.encode())
    received = b""
    while more := connection.recv(65536):
        received += more
    return received


def status_of(received: bytes) -> str:
    """Return the status of an answer; "cut short" if the page is incomplete."""
    return received[9:12].decode() if b"</html>" in received else "cut short"


@contextlib.contextmanager
def working(hub: Hub) -> Iterator[Kernel]:
    """Keep a user's kernel connected while visitors come and go; none of them may fail."""
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            with Visitors(hub.url) as visitors:
                yield kernel
                assert kernel.run("x + 1") == "42"
            assert not visitors.failures
            assert visitors.answers["200"] > 10


def status(hub: Hub) -> str:
    shown = hub.machine.systemctl("show", "--property=StatusText", hub.layout.proxy_service)
    return shown.stdout.strip()


def serving(hub: Hub) -> int:
    found = re.search(r"Process (\d+) serves", status(hub))
    return int(found[1]) if found else 0


def kill(hub: Hub, pid: int) -> None:
    hub.machine.run(["sh", "-c", f"kill -KILL {pid}"])


def commands(hub: Hub) -> list[str]:
    return hub.machine.run(["sh", "-c", "cat /proc/[0-9]*/comm"], check=False).stdout.split()


def main_pid(hub: Hub) -> int:
    shown = hub.machine.systemctl("show", "--property=MainPID", "--value", hub.layout.proxy_service)
    return int(shown.stdout)


def test_reloading_and_restarting_the_proxy_loses_no_request_and_no_websocket(hub: Hub) -> None:
    with working(hub) as kernel:
        before = {main_pid(hub)}
        for verb in ("reload", "reload", "restart", "reload", "restart", "reload", "restart"):
            hub.machine.systemctl(verb, hub.layout.proxy_service)
            assert kernel.run("x + 1") == "42"
            assert serving(hub) not in before
            before.add(serving(hub))


def test_a_killed_supervisor_interrupts_no_user_and_the_next_one_finds_its_traefik(
    hub: Hub,
) -> None:
    with working(hub):
        supervisor, traefik = main_pid(hub), serving(hub)
        kill(hub, supervisor)
        eventually(lambda: serving(hub) not in {0, traefik}, 30, "another traefik to serve")
        assert main_pid(hub) not in {0, supervisor}
        assert "1 before it" in status(hub)


@pytest.mark.row(20)
def test_a_killed_traefik_is_replaced_at_once_with_all_routes(hub: Hub) -> None:
    with hub.person() as alice:
        alice.start_server()
        supervisor, traefik = main_pid(hub), serving(hub)
        kill(hub, traefik)
        eventually(lambda: serving(hub) not in {0, traefik}, 30, "another traefik to serve")
        assert main_pid(hub) == supervisor
        assert alice.sees(f"/user/{alice.name}/lab")


def test_stopping_the_proxy_ends_every_traefik(hub: Hub) -> None:
    layout, machine = hub.layout, hub.machine
    units = (layout.proxy_socket, layout.proxy_api_socket, layout.proxy_service)
    machine.systemctl("restart", layout.proxy_service)
    machine.systemctl("stop", *units)
    try:
        # systemd 247 does not wait until killed processes are gone.
        eventually(lambda: "traefik" not in commands(hub), 10, "every traefik to end")
        assert not hub.machine.run(["ls", "/run/private"], check=False).stdout.strip()
    finally:
        machine.systemctl("start", *units)
    eventually(hub.answers, 30, "the hub")


def led_to(hub: Hub, path: str) -> str:
    """Return where an address leads, or the status of its page."""
    answer = httpx.get(f"{hub.url}{path}", trust_env=False)
    return str(answer.headers.get("Location", answer.status_code))


def test_a_fragment_changes_the_running_proxy_and_no_request_fails(hub: Hub) -> None:
    static = str(hub.layout.static_config)
    with working(hub):
        before = serving(hub)
        with hub.fragment("70-long.py", LONG + MOVED):
            assert 'readTimeout = "17m"' in hub.machine.read(static)
            assert serving(hub) != before
            assert led_to(hub, "/moved") == "/hub/login"
        assert 'readTimeout = "17m"' not in hub.machine.read(static)
        assert led_to(hub, "/moved") == "/hub/moved"


@pytest.mark.parametrize(
    ("text", "reason"),
    [(WRONG, "levle"), (OURS, "entryPoints.http.address is not for fragments to change")],
    ids=["traefik refuses it", "it is ours"],
)
def test_a_wrong_static_configuration_is_refused_with_the_reason(
    hub: Hub, text: str, reason: str
) -> None:
    static = hub.machine.read(str(hub.layout.static_config))
    with working(hub):
        before = serving(hub)
        file = hub.write_fragment("70-wrong.py", text)
        try:
            refused = hub.reload(check=False)
            assert refused.returncode != 0
            assert reason in hub.status()
            assert hub.machine.read(str(hub.layout.static_config)) == static
            assert serving(hub) == before
        finally:
            hub.machine.run(["rm", file])
            hub.reload()


def test_a_renewed_certificate_is_served_without_a_command_but_a_wrong_one_is_not(
    hub: Hub, tmp_path: Path
) -> None:
    machine, layout = hub.machine, hub.layout
    drop_in = f"/etc/systemd/system/{layout.proxy_service}.d/https.conf"
    https_socket = "/etc/systemd/system/test-https.socket"
    machine.put(
        https_socket,
        "[Socket]\nListenStream=443\nListenStream=443\nReusePort=yes\nFileDescriptorName=https\n"
        f"Service={layout.proxy_service}\n",
    )
    machine.put(drop_in, "[Unit]\nWants=test-https.socket\nAfter=test-https.socket\n")
    certificates = f"{layout.proxy_state}/certificates"
    dynamic = f"{layout.dynamic_config}/tls.toml"
    first, second, third = (make(tmp_path, name) for name in ("first", "second", "third"))
    install(hub, certificates, first[0], first[1])
    machine.put(
        dynamic,
        f'[tls.stores.default.defaultCertificate]\ncertFile = "{certificates}/tls.crt"\n'
        f'keyFile = "{certificates}/tls.key"\n'
        '[http.routers.secure]\nrule = "PathPrefix(`/`)"\nentryPoints = ["https"]\n'
        'service = "noop@internal"\n[http.routers.secure.tls]\n',
    )
    fragment = 'c.HubProxy.extra_static_config = {"entryPoints": {"https": {"address": ":443"}}}\n'
    try:
        machine.systemctl("daemon-reload")
        machine.systemctl("stop", layout.proxy_service)
        machine.systemctl("start", "test-https.socket", layout.proxy_service)
        with hub.fragment("70-https.py", fragment), working(hub):
            assert served(machine.address) == first[0].read_text()
            install(hub, certificates, second[0], second[1])
            eventually(
                lambda: served(machine.address) == second[0].read_text(), 60, "the renewed one"
            )
            install(hub, certificates, third[0], second[1])
            eventually(lambda: "certificate" in status(hub), 60, "the complaint")
            assert served(machine.address) == second[0].read_text()
            refused = machine.systemctl("reload", layout.proxy_service, check=False)
            assert refused.returncode != 0
            install(hub, certificates, third[0], third[1])
            eventually(
                lambda: served(machine.address) == third[0].read_text(), 60, "the mended one"
            )
            assert "certificate" not in status(hub)
    finally:
        machine.run(["rm", "-f", dynamic, drop_in, https_socket])
        machine.run(["rm", "-rf", certificates])
        machine.systemctl("stop", "test-https.socket", layout.proxy_service)
        machine.systemctl("daemon-reload")
        machine.systemctl("start", layout.proxy_service)
        eventually(hub.answers, 30, "the hub")


def install(hub: Hub, directory: str, certificate: Path, key: Path) -> None:
    for source, name in ((certificate, "tls.crt"), (key, "tls.key")):
        hub.machine.put(f"{directory}/.new", source.read_text())
        hub.machine.run(["mv", f"{directory}/.new", f"{directory}/{name}"])


def served(host: str) -> str:
    return ssl.get_server_certificate((host, 443), timeout=10)


@pytest.fixture(params=["bullseye", *FURTHER[1:]])
def other_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(request.param) as machine:
        yield machine


def test_replacement_works_with_older_and_newer_systemd(
    other_machine: Machine, installer: Path
) -> None:
    hub = Hub.install(other_machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
    hub.write_fragment("20-everybody.py", "c.Authenticator.allow_all = True\n")
    hub.reload()
    test_reloading_and_restarting_the_proxy_loses_no_request_and_no_websocket(hub)
    test_a_killed_supervisor_interrupts_no_user_and_the_next_one_finds_its_traefik(hub)
    test_stopping_the_proxy_ends_every_traefik(hub)
