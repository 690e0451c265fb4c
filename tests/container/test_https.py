"""HTTPS as an administrator has it: files of their own, or a real ACME server; and who visits."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from http.cookiejar import Cookie
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from littlest_hub.https import presented
from tests.acme import authority, hub_with_authority, names, obtain
from tests.certificates import make
from tests.client import Kernel, Person
from tests.container.test_proxy import Visitors, install
from tests.eventually import eventually
from tests.hub import Hub
from tests.server import Server

CERTIFICATES = "/etc/ssl/hub"
FILES = (
    f'c.JupyterHub.ssl_cert = "{CERTIFICATES}/tls.crt"\n'
    f'c.JupyterHub.ssl_key = "{CERTIFICATES}/tls.key"\n'
)
NAME = "hub.example.org"


class Followers(Visitors):
    """People who type the address without https, and go where they are led."""

    def _answer(self) -> str:
        try:
            with socket.create_connection((self.host, 80), 30) as connection:
                received = ask(connection)
            if received[9:12] != b"302":
                return of(received)
            context = ssl._create_unverified_context()
            with (
                socket.create_connection((self.host, 443), 30) as connection,
                context.wrap_socket(connection, server_hostname=NAME) as secured,
            ):
                return of(ask(secured))
        except OSError as error:
            return repr(error)


class Loyals(Visitors):
    """People who come by https alone, and take no certificate but one of this authority."""

    def __init__(self, url: str, authority: str) -> None:
        self.context = ssl.create_default_context(cadata=authority)
        super().__init__(url)

    def _answer(self) -> str:
        try:
            with (
                socket.create_connection((self.host, 443), 30) as connection,
                self.context.wrap_socket(connection, server_hostname=NAME) as secured,
            ):
                return of(ask(secured))
        except OSError as error:
            return repr(error)


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"GET /hub/login HTTP/1.0\r\nHost: %s\r\n\r\n" % NAME.encode())
    received = b""
    while more := connection.recv(65536):
        received += more
    return received


def of(received: bytes) -> str:
    return received[9:12].decode() if b"</html>" in received else "cut short"


@contextlib.contextmanager
def working(hub: Hub) -> Iterator[Kernel]:
    """Somebody whose kernel is connected all the time, while others come and go, all served."""
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel, visited(Followers(hub.url)):
            kernel.run("x = 41")
            yield kernel
            assert kernel.run("x + 1") == "42"


@contextlib.contextmanager
def visited(visitors: Visitors) -> Iterator[None]:
    """They come and go, and all are served."""
    with visitors:
        yield
    assert visitors.failures == {}
    assert visitors.answers["200"] > 30


def cookies_of_somebody(hub: Hub, trusted: Path) -> list[Cookie]:
    """What identifies a person who has logged in by https."""
    password = secrets.token_urlsafe()
    name = f"secure{secrets.randbelow(1 << 32)}"
    hub.machine.add_user(name, password)
    with Person(f"https://{hub.machine.address}", name, password, trusted=trusted) as person:
        person.log_in()
        found = [each for each in person.browser.cookies.jar if each.name != "_xsrf"]
    assert found
    return found


def serial(hub: Hub, name: str = NAME) -> int:
    found = presented(443, name, hub.machine.address)
    assert found, "no certificate"
    return found.serial_number


def number(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def negotiated(hub: Hub, version: ssl.TLSVersion) -> tuple[str | None, str | None]:
    """TLS version and application protocol that a visitor of this version gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # OpenSSL itself refuses old versions otherwise.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((hub.machine.address, 443), 10) as connection,
        context.wrap_socket(connection, server_hostname=NAME) as secured,
    ):
        return secured.version(), secured.selected_alpn_protocol()


@pytest.mark.row(7)
def test_one_fragment_turns_https_on_and_taking_it_away_turns_it_off_without_loss(
    hub: Hub, tmp_path: Path
) -> None:
    machine, layout = hub.machine, hub.layout
    certified, key = make(tmp_path, NAME, machine.address)
    install(hub, CERTIFICATES, certified, key)
    machine.run(["chmod", "0600", f"{CERTIFICATES}/tls.key"])
    with working(hub) as kernel:
        with hub.fragment("20-https.py", FILES):
            assert kernel.run("x + 1") == "42"
            assert serial(hub) == number(certified)
            led = httpx.get(f"{hub.url}/hub/login?next=a", trust_env=False)
            assert led.status_code == 302
            assert led.headers["Location"] == f"https://{machine.address}/hub/login?next=a"
            page = httpx.get(led.headers["Location"], verify=False, trust_env=False)
            assert page.status_code == 200
            assert page.headers["Strict-Transport-Security"] == "max-age=2592000"
            assert all(cookie.secure for cookie in cookies_of_somebody(hub, certified))
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                with pytest.raises(OSError, match=r"PROTOCOL_VERSION|protocol version|alert"):
                    negotiated(hub, version)
            assert negotiated(hub, ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "h2")
            assert negotiated(hub, ssl.TLSVersion.TLSv1_3) == ("TLSv1.3", "h2")
            machine.systemctl("restart", layout.proxy_service)
            machine.systemctl("reload", layout.proxy_service)
            assert serial(hub) == number(certified)
        assert httpx.get(f"{hub.url}/hub/login", trust_env=False).status_code == 200
        eventually(lambda: presented(443, NAME, machine.address) is None, 60, "HTTPS to end")
    left = machine.run(["find", layout.proxy_state, "-type", "f"]).stdout.split()
    assert sorted(Path(file).name for file in left) == ["ready.toml", "rules.toml", "traefik.toml"]


@pytest.mark.row(7)
def test_a_wrong_certificate_is_refused_with_its_line_and_a_replaced_one_is_taken_up(
    hub: Hub, tmp_path: Path
) -> None:
    machine = hub.machine
    first, second, third = (make(tmp_path, name) for name in ("first", "second", "third"))
    past = make(tmp_path, "past", days=(-2, -1))
    for name, source, other in (("past", past[0], past[1]), ("mixed", first[0], second[1])):
        install(hub, f"/etc/ssl/{name}", source, other)
    install(hub, CERTIFICATES, first[0], first[1])
    with hub.fragment("20-https.py", FILES) as fragment, visited(Followers(hub.url)):
        for directory, reason in (
            ("/etc/ssl/past", "expired on"),
            ("/etc/ssl/mixed", "is not the key of"),
            ("/etc/ssl/nowhere", "cannot read"),
        ):
            machine.put(fragment, FILES.replace(CERTIFICATES, directory))
            refused = hub.reload(check=False)
            assert refused.returncode != 0
            assert re.search(rf"{fragment}:[12]: JupyterHub\.ssl_\w+: .*{reason}", hub.status())
            checked = machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
            assert checked.returncode == 1
            assert reason in checked.stdout + checked.stderr
            assert serial(hub) == number(first[0])
        machine.put(fragment, FILES)
        hub.reload()
        install(hub, CERTIFICATES, second[0], second[1])
        eventually(lambda: serial(hub) == number(second[0]), 60, "the renewed one")
        install(hub, CERTIFICATES, third[0], second[1])
        eventually(
            lambda: "is not the key of" in machine.journal(hub.layout.hub_service), 60, "a warning"
        )
        assert serial(hub) == number(second[0])
        install(hub, CERTIFICATES, third[0], third[1])
        eventually(lambda: serial(hub) == number(third[0]), 60, "the mended one")
    machine.run(["rm", "-rf", "/etc/ssl/past", "/etc/ssl/mixed", CERTIFICATES])


def test_a_port_of_somebody_else_is_named_and_http_goes_on(hub: Hub, tmp_path: Path) -> None:
    machine = hub.machine
    install(hub, CERTIFICATES, *make(tmp_path, NAME))
    machine.run(["systemd-run", "--quiet", "--unit=other-web-server", "--property=Type=notify",
                 "systemd-socket-activate", "--listen=443", "cat"], check=False)  # fmt: skip
    file = hub.write_fragment("20-https.py", FILES)
    try:
        eventually(lambda: listens(machine, 443), 30, "the other one to listen")
        assert hub.reload(check=False).returncode != 0
        assert f"{file}:1: JupyterHub.ssl_cert: HTTPS is served at port 443" in hub.status()
        assert "which is in use by" in hub.status()
        assert hub.answers()
    finally:
        machine.systemctl("stop", "other-web-server", check=False)
        machine.run(["rm", "-f", file])
        hub.reload()


def listens(machine: Server, port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex((machine.address, port)) == 0


# --- ACME


DNS_RECORD = """\
#!/opt/littlest-hub/hub/bin/python3 -I
import json, sys, urllib.request
action, name, value = sys.argv[1:4]
path = {"present": "set-txt", "cleanup": "clear-txt"}[action]
record = json.dumps({"host": name, "value": value}).encode()
urllib.request.urlopen(f"http://127.0.0.1:8055/{path}", record, 10)
"""


@pytest.fixture
def certified(installer: Path, tmp_path: Path) -> Iterator[Hub]:
    with hub_with_authority(installer, tmp_path) as hub:
        yield hub


def is_renewed(hub: Hub, before: int) -> bool:
    return serial(hub) != before


@pytest.mark.row(7)
def test_certificates_are_obtained_and_renewed_under_traffic(certified: Hub) -> None:
    hub, machine, layout = certified, certified.machine, certified.layout
    command = hub.path("hub/bin/littlest-hub")
    with visited(Followers(hub.url)):
        obtain(hub, "http-01", NAME, "www.example.org")
        eventually(lambda: of_http(hub) == "302", 30, "http to lead to https")
    assert names(hub, NAME) == [NAME, "www.example.org"]
    kept = machine.run(["stat", "-c", "%a %U", layout.acme_storage]).stdout
    assert kept.startswith("600 ")
    assert not kept.endswith(" root\n")
    with visited(Loyals(hub.url, authority(hub))):
        for verb in ("reload", "restart"):
            before = serial(hub)
            # A traefik that starts looks which are due; otherwise it does so once a minute or day.
            machine.systemctl(verb, layout.proxy_service)
            eventually(partial(is_renewed, hub, before), 60, "the renewed one")
        hub.reload()
    assert "is valid for" in machine.run([command, "doctor", "--json"], check=False).stdout

    # It survives: an installation on top, and a backup has it if secrets are asked for.
    before = serial(hub)
    machine.run([command, "install"])
    assert serial(hub) == before
    for option, has in ((), False), (("--secrets",), True):
        archive = f"/root/backup{has}.tar.gz"
        machine.run([command, "backup", *option, archive])
        listed = machine.run(["tar", "-tzf", archive]).stdout
        assert ("state/proxy/acme/acme.json" in listed) == has

    obtain(hub, "tls-alpn-01", "alpn.example.org")
    machine.put("/usr/local/bin/dns-record", DNS_RECORD, mode=0o755)
    drop_in = f"{layout.system_units}/{layout.proxy_service}.d/dns.conf"
    machine.put(drop_in, "[Service]\nEnvironment=EXEC_PATH=/usr/local/bin/dns-record\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", layout.proxy_service)
    obtain(hub, "dns-01", "*.example.net", provider="exec")


def test_an_authority_that_does_not_answer_leaves_http_as_it_is_and_doctor_says_why(
    certified: Hub,
) -> None:
    hub, machine = certified, certified.machine
    file = hub.write_fragment(
        "20-https.py",
        f'c.HubProxy.domains = [\n  "{NAME}",\n]\n'
        'c.HubProxy.acme_directory = "https://127.0.0.1:14009/dir"\n',
    )
    hub.reload()
    assert hub.answers()
    told = eventually(lambda: why_none(hub), 60, "doctor to say why")
    assert "127.0.0.1:14009" in told
    machine.run(["rm", file])
    hub.reload()
    # A name that leads elsewhere is a warning, with its line.
    add = '{"host": "elsewhere.example.org", "addresses": ["192.0.2.1"]}'
    url = "http://127.0.0.1:8055/add-a"
    script = f"import sys, urllib.request as u; u.urlopen({url!r}, sys.argv[1].encode())"
    machine.run([hub.path("hub/bin/python3"), "-c", script, add])
    machine.put(file, 'c.HubProxy.domains = [\n  "elsewhere.example.org",\n]\n')
    checked = machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
    assert checked.returncode == 0
    said = checked.stdout + checked.stderr
    assert f"{file}:1: warning: HubProxy.domains: elsewhere.example.org leads to 192.0.2.1" in said


def why_none(hub: Hub) -> str:
    examined = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor"], check=False).stdout
    lines = [line for line in examined.splitlines() if "there is no certificate yet" in line]
    return next((line for line in lines if "14009" in line), "")


def of_http(hub: Hub) -> str:
    with socket.create_connection((hub.machine.address, 80), 30) as connection:
        return ask(connection)[9:12].decode()
