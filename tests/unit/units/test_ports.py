"""The ports that an installation gets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import installed_unit
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.lifecycle.unit_files import started_units
from littlest_hub.units.ports import Ports, choose_ports, is_free

pytestmark = pytest.mark.unit

PHYSICS = Path("/srv/physics")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A machine's file system in which nothing is installed."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    return tmp_path


def configure(base: Path, image: Path, ports: Ports) -> None:
    layout = Layout(base, image)
    for unit in started_units(layout, ports):
        (layout.on_disk(layout.system_units) / unit.name).write_text(unit.text())


def test_the_default_base_directory_gets_port_80(image: Path) -> None:
    assert choose_ports(Layout(DEFAULT_BASE, image), None) == Ports(80, 15001, 15002)


def test_another_base_directory_gets_the_first_port_from_8000(image: Path) -> None:
    assert choose_ports(Layout(PHYSICS, image), None).public == 8000


def test_ports_of_another_installation_are_not_taken_even_if_it_does_not_run(image: Path) -> None:
    configure(DEFAULT_BASE, image, Ports(8000, 15001, 15002))
    assert choose_ports(Layout(PHYSICS, image), None) == Ports(8001, 15003, 15004, https=8443)


def test_an_installation_keeps_its_ports(image: Path) -> None:
    configure(DEFAULT_BASE, image, Ports(8123, 15007, 15009))
    assert choose_ports(Layout(DEFAULT_BASE, image), None) == Ports(8123, 15007, 15009)


def test_a_requested_port_replaces_the_present_one(image: Path) -> None:
    configure(DEFAULT_BASE, image, Ports(8123, 15007, 15009))
    assert choose_ports(Layout(DEFAULT_BASE, image), "8200") == Ports(8200, 15007, 15009)


@pytest.mark.parametrize(
    ("requested", "host", "listen", "is_public"),
    [
        ("8000", "", "8000", True),
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000", False),
        ("[::1]:8000", "[::1]", "[::1]:8000", False),
        ("10.1.2.3:8000", "10.1.2.3", "10.1.2.3:8000", True),
        ("0.0.0.0:8000", "", "8000", True),
    ],
)
def test_the_proxy_listens_at_the_requested_address_and_keeps_it(
    image: Path, requested: str, host: str, listen: str, is_public: bool
) -> None:
    layout = Layout(DEFAULT_BASE, image)
    ports = choose_ports(layout, requested)
    assert (ports.host, ports.public, ports.is_public) == (host, 8000, is_public)
    configure(DEFAULT_BASE, image, ports)
    text = installed_unit(layout, layout.proxy_socket).read_text()
    assert text.count(f"ListenStream={listen}\n") == 2
    assert choose_ports(layout, None) == ports
    assert choose_ports(layout, "8001") == Ports(8001, https=8443)


@pytest.mark.parametrize(
    "requested", ["localhost:8000", "::1:8000", "[127.0.0.1]:80", ":8000", "[::1]", "1.2.3:80"]
)
def test_an_invalid_address_is_refused(image: Path, requested: str) -> None:
    with pytest.raises(LittlestHubError, match=r"is no IP address|an address and a port"):
        choose_ports(Layout(DEFAULT_BASE, image), requested)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(LittlestHubError, match=r"192\.0\.2\.7 is no address of this machine"):
        choose_ports(Layout(Path("/srv/nowhere")), "192.0.2.7:8000")


def test_a_requested_port_of_another_installation_is_refused(image: Path) -> None:
    configure(PHYSICS, image, Ports(8000))
    with pytest.raises(LittlestHubError, match="LITTLEST_HUB_PORT=8000: another program"):
        choose_ports(Layout(DEFAULT_BASE, image), "8000")


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80 "])
def test_an_invalid_port_is_refused(image: Path, port: str) -> None:
    with pytest.raises(LittlestHubError, match="between 1 and 65535"):
        choose_ports(Layout(DEFAULT_BASE, image), port)


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def busy(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.create_server((request.param, 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(busy: int) -> None:
    assert not is_free(busy)
    assert not is_free(busy, "127.0.0.1")
    with pytest.raises(LittlestHubError, match="ss -ltnp"):
        choose_ports(Layout(Path("/srv/nowhere")), str(busy))
