"""HTTPS with certificate files and with a real ACME server, under traffic."""

from __future__ import annotations

import contextlib
import errno
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

from littlest_hub.proxy.https import fetch_certificate
from tests.acme import authority, hub_with_authority, names, obtain
from tests.certificates import make
from tests.client import Kernel, Person
from tests.container.test_edge import FORGED
from tests.container.test_proxy import Visitors, get_login_page, install, status_of
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
    """Visitors who come by http and follow a redirect to https."""

    def _answer(self) -> str:
        try:
            with socket.create_connection((self.host, 80), 30) as connection:
                received = get_login_page(connection, NAME)
            if received[9:12] != b"302":
                return status_of(received)
            context = ssl._create_unverified_context()
            with (
                socket.create_connection((self.host, 443), 30) as connection,
                context.wrap_socket(connection, server_hostname=NAME) as secured,
            ):
                return status_of(get_login_page(secured, NAME))
        except OSError as error:
            return repr(error)


class Loyals(Visitors):
    """Visitors who come by https and accept only certificates of this authority."""

    def __init__(self, url: str, authority: str) -> None:
        self.context = ssl.create_default_context(cadata=authority)
        super().__init__(url)

    def _answer(self) -> str:
        try:
            with (
                socket.create_connection((self.host, 443), 30) as connection,
                self.context.wrap_socket(connection, server_hostname=NAME) as secured,
            ):
                return status_of(get_login_page(secured, NAME))
        except OSError as error:
            return repr(error)


@contextlib.contextmanager
def open_tab(hub: Hub) -> Iterator[Kernel]:
    """Keep a user's kernel connected."""
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            yield kernel


@contextlib.contextmanager
def working(hub: Hub) -> Iterator[tuple[Person, Kernel]]:
    """Keep a user's kernel connected while visitors come and go; none of them may fail."""
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel, visited(Followers(hub.url)):
            kernel.run("x = 41")
            yield alice, kernel
            assert kernel.run("x + 1") == "42"


@contextlib.contextmanager
def visited(visitors: Visitors) -> Iterator[None]:
    """Run visitors and check that all were served."""
    with visitors:
        yield
    assert visitors.failures == {}
    assert visitors.answers["200"] > 10


def save_file(person: Person) -> int:
    """Save a file as JupyterLab in an open tab does; return the status."""
    path = f"/user/{person.name}"
    page = {"Referer": f"{person.url}{path}/lab", "Origin": person.url, "Accept": "*/*"}
    cookies = {each.path: each.value for each in person.browser.cookies.jar if "_xsrf" in each.name}
    token = {"X-XSRFToken": cookies[f"{path}/"] or ""}
    text = {"type": "file", "format": "text", "content": "1"}
    url = f"{path}/api/contents/a.txt"
    saved = person.browser.put(url, json=text, headers=page | token, follow_redirects=False)
    # A browser sends no Origin when it reads.
    del page["Origin"]
    seen = person.browser.get(url, headers=page, follow_redirects=False)
    assert (seen.status_code == 200) == (saved.status_code in {200, 201})
    return saved.status_code


def login_cookies(hub: Hub, trusted: Path) -> list[Cookie]:
    """Log a user in by https and return the cookies that identify the user."""
    password = secrets.token_urlsafe()
    name = f"secure{secrets.randbelow(1 << 32)}"
    hub.machine.add_user(name, password)
    with Person(f"https://{hub.machine.address}", name, password, trusted=trusted) as person:
        person.log_in()
        found = [each for each in person.browser.cookies.jar if each.name != "_xsrf"]
    assert found
    return found


def serial(hub: Hub, name: str = NAME) -> int:
    found = fetch_certificate(443, name, hub.machine.address)
    assert found, "no certificate"
    return found.serial_number


def number(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def negotiated(hub: Hub, version: ssl.TLSVersion) -> tuple[str | None, str | None]:
    """Connect with one TLS version; return the version and application protocol negotiated."""
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
def test_one_fragment_turns_https_on_and_its_removal_turns_it_off_and_no_request_fails(
    hub: Hub, tmp_path: Path
) -> None:
    machine, layout = hub.machine, hub.layout
    certified, key = make(tmp_path, NAME, machine.address)
    install(hub, CERTIFICATES, certified, key)
    machine.run(["chmod", "0600", f"{CERTIFICATES}/tls.key"])
    with working(hub) as (alice, kernel):
        with hub.fragment("20-https.py", FILES):
            assert kernel.run("x + 1") == "42"
            assert serial(hub) == number(certified)
            # Her tab was opened by http: she can still save_file and reconnect.
            assert save_file(alice) in {200, 201}
            with alice.connect(kernel.id) as again:
                assert again.run("x + 1") == "42"
            for method, path in (("POST", "/hub/login"), ("GET", "/hub/api"), ("PUT", "/user/a/x")):
                answer = httpx.request(method, f"{hub.url}{path}", trust_env=False)
                assert answer.status_code == (302 if method == "GET" else 307)
            came = {"Referer": f"{hub.url}/", "Accept": "text/html,*/*;q=0.8"}
            assert httpx.get(f"{hub.url}/hub/login", headers=came, trust_env=False).is_redirect
            answer = httpx.get(f"{hub.url}/hub/login?next=a", trust_env=False)
            assert answer.status_code == 302
            assert answer.headers["Location"] == f"https://{machine.address}/hub/login?next=a"
            page = httpx.get(answer.headers["Location"], verify=False, trust_env=False)
            assert page.status_code == 200
            assert page.headers["Strict-Transport-Security"] == "max-age=2592000"
            assert all(cookie.secure for cookie in login_cookies(hub, certified))
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                with pytest.raises(OSError, match=r"PROTOCOL_VERSION|protocol version|alert"):
                    negotiated(hub, version)
            assert negotiated(hub, ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "h2")
            assert negotiated(hub, ssl.TLSVersion.TLSv1_3) == ("TLSv1.3", "h2")
            machine.run(["rm", "-r", layout.acme])
            machine.systemctl("restart", layout.proxy_service)
            assert serial(hub) == number(certified)
            hub.reload()
            machine.systemctl("restart", layout.proxy_service)
            made = machine.run(["stat", "-c", "%a %U", layout.acme]).stdout
            assert made.startswith("700 ")
            assert not made.endswith(" root\n")
            machine.systemctl("reload", layout.proxy_service)
            assert serial(hub) == number(certified)
        assert httpx.get(f"{hub.url}/hub/login", trust_env=False).status_code == 200
        eventually(lambda: connect_error(machine, 443) == errno.ECONNREFUSED, 60, "HTTPS to end")
    left = machine.run(["find", layout.proxy_state, "-type", "f"]).stdout.split()
    assert sorted(Path(file).name for file in left) == [
        "ready.toml",
        "rules.toml",
        "traefik.toml",
        "zz-default-certificate.toml",
    ]


@pytest.mark.row(7)
def test_a_wrong_certificate_is_refused_with_its_line_and_a_replaced_one_is_loaded(
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


def test_if_the_https_port_is_taken_the_reload_names_it_and_http_goes_on(
    hub: Hub, tmp_path: Path
) -> None:
    machine = hub.machine
    install(hub, CERTIFICATES, *make(tmp_path, NAME))
    python = hub.path("hub/bin/python3")
    other = [
        "systemd-run",
        "--quiet",
        "--unit=other-web-server",
        python,
        "-m",
        "http.server",
        "443",
    ]
    machine.run(other)
    file = hub.write_fragment("20-https.py", FILES)
    try:
        eventually(lambda: connect_error(machine, 443) == 0, 30, "the other one to listen")
        assert hub.reload(check=False).returncode != 0
        assert f"{file}:1: JupyterHub.ssl_cert: HTTPS needs port 443" in hub.status()
        assert "which is in use by" in hub.status()
        assert hub.answers()
    finally:
        machine.systemctl("stop", "other-web-server")
        machine.run(["rm", "-f", file])
        hub.reload()


def connect_error(machine: Server, port: int) -> int:
    """Return the error of connect(2); 0: a program listens."""
    with socket.socket() as connection:
        connection.settimeout(10)
        return connection.connect_ex((machine.address, port))


@pytest.mark.row(7)
def test_a_hub_that_starts_with_a_broken_certificate_loads_the_repaired_one(
    hub: Hub, tmp_path: Path
) -> None:
    machine = hub.machine
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    install(hub, CERTIFICATES, *first)
    with hub.fragment("20-https.py", FILES):
        install(hub, CERTIFICATES, first[0], second[1])
        machine.systemctl("restart", hub.layout.hub_service)
        assert serial(hub) == number(first[0])
        install(hub, CERTIFICATES, *second)
        eventually(lambda: serial(hub) == number(second[0]), 60, "the mended one")
        eventually(lambda: http_status(hub) == "302", 60, "http to lead to https")


@pytest.mark.long
@pytest.mark.row(7)
def test_https_moves_to_another_port_with_two_drop_ins_and_a_restart(
    hub: Hub, tmp_path: Path
) -> None:
    machine, layout = hub.machine, hub.layout
    certificate = make(tmp_path, NAME)
    install(hub, CERTIFICATES, *certificate)
    drop_ins = {
        layout.proxy_https_socket: "[Socket]\nListenStream=\n" + "ListenStream=9443\n" * 2,
        layout.hub_service: "[Service]\nEnvironment=LITTLEST_HUB_HTTPS_PORT=9443\n",
    }
    with open_tab(hub) as kernel, hub.fragment("20-https.py", FILES):
        for unit, text in drop_ins.items():
            machine.put(f"{layout.system_units}/{unit}.d/port.conf", text)
        try:
            machine.systemctl("daemon-reload")
            machine.systemctl("restart", layout.hub_service)
            eventually(lambda: fetch_certificate(9443, NAME, machine.address), 60, "HTTPS")
            eventually(lambda: connect_error(machine, 443) == errno.ECONNREFUSED, 60, "443 to end")
            eventually(lambda: ":9443/" in http_location(hub), 60, "http to lead there")
            assert kernel.run("x + 1") == "42"
        finally:
            for unit in drop_ins:
                machine.run(["rm", "-r", f"{layout.system_units}/{unit}.d"])
            machine.systemctl("daemon-reload")
            machine.systemctl("restart", layout.hub_service)
        eventually(lambda: serial(hub) == number(certificate[0]), 60, "HTTPS at 443 again")
        assert kernel.run("x + 1") == "42"


def http_location(hub: Hub) -> str:
    answer = httpx.get(f"{hub.url}/hub/login", trust_env=False)
    return str(answer.headers.get("Location", ""))


@pytest.mark.row(8)
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_forwarded_headers_of_visitors_by_https_are_ignored(
    hub: Hub, tmp_path: Path, spelling: str
) -> None:
    machine = hub.machine
    certified, key = make(tmp_path, NAME, machine.address)
    install(hub, CERTIFICATES, certified, key)
    forged = {**FORGED, "X-Forwarded-Proto": "http", "Forwarded": "for=10.66.6.6;proto=http"}
    forged["X-Scheme"] = "http"
    headers = {name.replace("-", spelling): value for name, value in forged.items()}
    name, password = f"forger{secrets.randbelow(1 << 32)}", secrets.token_urlsafe()
    machine.add_user(name, password)
    url = f"https://{machine.address}"
    with (
        hub.fragment("20-https.py", FILES),
        Person(url, name, password, trusted=certified) as forger,
    ):
        forger.browser.headers.update(headers)
        forger.log_in()
        # If the hub trusted the headers, the cookie would not be marked as one for HTTPS.
        assert [c.secure for c in forger.browser.cookies.jar if "login" in c.name] == [True]
        query = secrets.token_hex(4)
        forger.browser.get(f"/hub/home?{query}")
        logged = f"/hub/home?{query} ({name}@{machine.address.rpartition('.')[0]}.1)"
        eventually(lambda: logged in machine.journal(hub.layout.hub_service), 10, logged)


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
        eventually(lambda: http_status(hub) == "302", 30, "http to lead to https")
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


def test_if_the_authority_does_not_answer_http_goes_on_and_doctor_says_why(
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
    reason = eventually(lambda: reason_for_no_certificate(hub), 60, "doctor to say why")
    assert "127.0.0.1:14009" in reason
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
    printed = checked.stdout + checked.stderr
    assert (
        f"{file}:1: warning: HubProxy.domains: elsewhere.example.org leads to 192.0.2.1" in printed
    )


def reason_for_no_certificate(hub: Hub) -> str:
    examined = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor"], check=False).stdout
    lines = [line for line in examined.splitlines() if "there is no certificate yet" in line]
    return next((line for line in lines if "14009" in line), "")


def http_status(hub: Hub) -> str:
    with socket.create_connection((hub.machine.address, 80), 30) as connection:
        return get_login_page(connection, NAME)[9:12].decode()
