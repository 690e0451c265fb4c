"""A hub behind nginx and behind Apache, as docs/how-to/behind-nginx.md has it."""

import re
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.client import Person
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

HOW_TO = Path(__file__).parents[2] / "docs/how-to/behind-nginx.md"
CERTIFICATE = "/etc/ssl/hub.example.org"
FRAGMENT = "21-behind-a-proxy.py"
BELOW = 'c.JupyterHub.base_url = "/jupyter/"\n'


def snippet(language: str) -> str:
    """Return the block of this language in the how-to."""
    found = re.search(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert found, language
    return found[1]


@dataclass(frozen=True)
class Front:
    """A hub on loopback; nginx in front of it does HTTPS, Apache has it below a path."""

    hub: Hub
    certificate: Path
    printed: dict[str, str]
    """Output of the installation, and of the move to loopback."""

    @property
    def visitor(self) -> str:
        """Our address, as the machine sees it."""
        return f"{self.hub.machine.address.rpartition('.')[0]}.1"

    @contextmanager
    def person(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Person]:
        """Log a user in at this URL, with these additional headers."""
        name, password = f"person{secrets.token_hex(3)}", secrets.token_urlsafe()
        self.hub.machine.add_user(name, password)
        with Person(url, name, password, trusted=self.certificate) as person:
            person.browser.headers.update(headers or {})
            person.log_in()
            yield person
            person.stop_server()

    def wait_for_log(self, text: str) -> None:
        eventually(lambda: text in self.hub.machine.journal(self.hub.layout.hub_service), 10, text)


@pytest.fixture(scope="module")
def front(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with Machine("bookworm", packages=("apache2", "nginx-light")) as machine:
        # Both want port 80 when they are installed; the site is nginx's here.
        machine.systemctl("stop", "apache2")
        machine.systemctl("restart", "nginx")
        installed = machine.install(installer, env={"LITTLEST_HUB_ADMIN": "boss"}).stdout
        hub = Hub(machine, Layout(DEFAULT_BASE), f"https://{machine.address}")
        command = hub.path("hub/bin/littlest-hub")
        loopback = {"LITTLEST_HUB_PORT": "127.0.0.1:8000"}
        moved = machine.run([command, "install"], env=loopback).stdout
        machine.run([command, "enable", "behind-a-proxy"])
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()

        certificate = certify(machine, tmp_path_factory.mktemp("https"))
        machine.put("/etc/nginx/conf.d/hub.conf", snippet("nginx"))
        machine.systemctl("reload", "nginx")
        machine.put("/etc/apache2/ports.conf", "Listen 8080\n")
        machine.put(
            "/etc/apache2/sites-available/000-default.conf",
            f"<VirtualHost *:8080>\n{snippet('apache')}</VirtualHost>\n",
        )
        machine.run(["a2enmod", "proxy", "proxy_http", "headers"])
        machine.systemctl("start", "apache2")
        yield Front(hub, certificate, {"installed": installed, "moved": moved})


def certify(machine: Machine, directory: Path) -> Path:
    """Give nginx a self-signed certificate for the machine's address; return a copy of it."""
    certificate, key = directory / "hub.crt", directory / "hub.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=hub", "-addext", f"subjectAltName=IP:{machine.address}"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", "-x509", *new, *name, *files], check=True, capture_output=True
    )
    machine.put(f"{CERTIFICATE}.crt", certificate.read_text())
    machine.put(f"{CERTIFICATE}.key", key.read_text(), mode=0o600)
    return certificate


def test_an_install_that_finds_port_80_taken_names_the_program_and_the_remedy(front: Front) -> None:
    printed = front.printed["installed"]
    assert re.search(r"answers at http://\S+:8000/\n\(port 80 is taken by nginx", printed), printed
    assert "littlest-hub enable behind-a-proxy" in printed
    assert "answers at http://127.0.0.1:8000/, to this machine alone" in front.printed["moved"]


@pytest.mark.row(6)
def test_the_network_cannot_bypass_the_proxy_in_front(front: Front) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((front.hub.machine.address, 8000), 10)


def test_users_work_through_nginx_with_https(front: Front) -> None:
    with front.person(front.hub.url) as alice:
        assert are_secure(alice)
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 6 * 7")
            # Nor does a reload of the hub interrupt the kernel.
            front.hub.reload()
            assert kernel.run("x") == "42"
        front.wait_for_log(f"({alice.name}@{front.visitor})")


def test_users_work_through_apache_below_a_path(front: Front) -> None:
    hub = front.hub
    url = f"http://{hub.machine.address}:8080/jupyter"
    with hub.fragment("22-below.py", BELOW):
        with front.person(url) as alice:
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
            name = "a/b c%d;é.txt"
            path = f"/user/{alice.name}/files/{quote(name)}"
            alice.run_cell(f"import os\nos.mkdir('a')\nopen({name!r}, 'w').write('here')")
            assert alice.browser.get(path).text == "here"
            front.wait_for_log(f"({alice.name}@{front.visitor})")
        doctor = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor"], check=False).stdout
        # Otherwise it would report that the login page or routes are missing.
        assert "All is well" in doctor
    assert httpx.get(f"{hub.url}/hub/login", verify=False, trust_env=False).status_code == 200


@pytest.mark.row(8)
def test_forwarded_headers_of_visitors_through_nginx_are_ignored(front: Front) -> None:
    with front.person(front.hub.url, FORGED) as alice:
        assert are_secure(alice)
        alice.browser.get("/hub/home?forged")
        front.wait_for_log(f"/hub/home?forged ({alice.name}@{front.visitor})")
    assert "10.66.6.6" not in front.hub.machine.journal(front.hub.layout.hub_service)


FORGED = {
    "X-Forwarded-For": "10.66.6.6",
    "X-Forwarded-Proto": "http",
    "X-Real-IP": "10.66.6.6",
    "X-Scheme": "http",
    "Forwarded": "for=10.66.6.6;proto=http",
}


def are_secure(person: Person) -> bool:
    """Return whether the cookies that identify the user are for HTTPS alone."""
    jar = {cookie.name: cookie.secure for cookie in person.browser.cookies.jar}
    return {jar["jupyterhub-session-id"], jar["jupyterhub-hub-login"]} == {True}
