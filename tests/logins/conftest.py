"""A machine for all kinds of logins: a hub with HTTPS, and slapd. And a browser."""

import dataclasses
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import browser  # noqa: F401
from tests.certificates import make
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

HTTPS = """\
c.JupyterHub.ssl_cert = "/etc/ssl/private/hub.crt"
c.JupyterHub.ssl_key = "/etc/ssl/private/hub.key"
"""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The hub's self-signed certificate, once it is there."""
    return []


@pytest.fixture(scope="session")
def hub(
    installer: Path, tmp_path_factory: pytest.TempPathFactory, certificate: list[Path]
) -> Iterator[Hub]:
    """A hub with HTTPS on Debian 12, whose only user, and administrator, is the account `boss`."""
    directory = tmp_path_factory.mktemp("hub")
    with secure_hub(installer, directory, ["ldap-utils", "slapd"]) as (hub, file):
        certificate.append(file)
        yield hub


@contextmanager
def secure_hub(
    installer: Path, directory: Path, packages: Sequence[str]
) -> Iterator[tuple[Hub, Path]]:
    """Yield a hub with HTTPS, on a machine without a network, and its self-signed certificate."""
    with Machine("bookworm", packages=packages) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        files = make(directory, machine.address)
        for file, name in zip(files, ("hub.crt", "hub.key"), strict=True):
            machine.put(f"/etc/ssl/private/{name}", file.read_text(), mode=0o600)
        hub.write_fragment("20-https.py", HTTPS)
        hub.reload()
        context = ssl.create_default_context(cafile=str(files[0]))
        url = f"https://{machine.address}"

        def answers() -> bool:
            try:
                page = httpx.get(f"{url}/hub/login", verify=context, trust_env=False)
            except httpx.TransportError as error:
                raise AssertionError(str(error)) from error
            return page.status_code == 200

        eventually(answers, 30, f"a login page at {url}")
        yield dataclasses.replace(hub, url=url), files[0]


@pytest.fixture
def trusted(certificate: list[Path], hub: Hub, tmp_path: Path) -> Path:
    """A file of certificates that browsers trust; a test may add some."""
    assert hub.url
    file = tmp_path / "trusted.pem"
    file.write_text(certificate[0].read_text())
    return file


@contextmanager
def kind(hub: Hub, name: str, text: str) -> Iterator[None]:
    """Log in by a fragment for the time of the block, and until the next one replaces it."""
    hub.machine.run(["sh", "-c", f"rm -f {hub.layout.fragments}/41-*.py"])
    hub.write_fragment(name, text)
    hub.reload()
    yield


def person(hub: Hub, name: str, trusted: Path, password: str = "") -> Person:
    """Return a new browser of somebody."""
    return Person(hub.url, name, password, trusted=trusted)
