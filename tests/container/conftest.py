"""One machine with one hub for all tests that leave it unchanged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Person
from tests.hub import Hub
from tests.machine import Machine

# Of the machine for tests that need any of these: one image for all of them.
MORE_PACKAGES = ("fish", "needrestart", "zsh")
# Debians besides the oldest, for a promise that concerns systemd: `make test-container` tests all.
FURTHER = [pytest.param(suite, marks=pytest.mark.long) for suite in ("bookworm", "trixie")]
# PAM alone decides: every account of the machine may log in.
EVERYBODY = "c.Authenticator.allow_all = True\n"


@pytest.fixture(scope="session")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub on Debian 12 that allows every system user; its administrator is `boss`."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        yield hub


@pytest.fixture
def boss(hub: Hub) -> Iterator[Person]:
    """The administrator, logged in."""
    hub.machine.run(["sh", "-c", "id boss || useradd --create-home boss"])
    hub.machine.run(["chpasswd"], input="boss:a password\n")
    with Person(hub.url, "boss", "a password") as boss:
        boss.log_in()
        yield boss
