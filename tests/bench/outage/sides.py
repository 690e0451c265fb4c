"""The two hubs that are compared, each on a machine of its own, and the events."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.outage.kernel import CountingKernel
from tests.bench.outage.load import Page
from tests.bench.upstream import (
    CONFIG,
    HUB_CONFIG,
    HUB_UNIT,
    PREFIX,
    TRAEFIK,
    TRAEFIK_PROXY,
    TRAEFIK_UNIT,
    hub_unit,
    set_up,
    unpack_python,
)
from tests.client import Person
from tests.hub import Hub
from tests.machine import Machine

NAME = "alice"


Events = Mapping[str, Callable[[], object]]
"""An event, and how an administrator causes it."""


@dataclass(frozen=True)
class Side:
    """A hub with a user who is working."""

    name: str
    url: str
    pages: Mapping[str, Sequence[Page]]
    kernel: CountingKernel
    events: Events


@contextmanager
def ours(installer: Path, next_installer: Path | None) -> Iterator[Side]:
    """Littlest Hub, as installed."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": NAME})
        events = our_events(hub)
        if next_installer:
            machine.copy(next_installer, f"/var/tmp/{next_installer.name}")
            rollback = [hub.path("hub/bin/littlest-hub"), "rollback"]
            events["upgrade"] = lambda: machine.install(next_installer)
            events["rollback"] = lambda: machine.run(rollback, timeout_s=300)
        with somebody(machine, hub.url) as person:
            yield at_work("ours", person, events)


def our_events(hub: Hub) -> dict[str, Callable[[], object]]:
    """All events except an upgrade and a rollback, which need another installer."""
    systemctl, layout = hub.machine.systemctl, hub.layout
    return {
        "reload": lambda: systemctl("reload", layout.hub_service),
        "hub-restart": lambda: systemctl("restart", layout.hub_service),
        "hub-kill": lambda: systemctl("kill", "--signal=KILL", layout.hub_service),
        "proxy-reload": lambda: systemctl("reload", layout.proxy_service),
        "proxy-restart": lambda: systemctl("restart", layout.proxy_service),
        "proxy-kill": lambda: systemctl("kill", "--signal=KILL", layout.proxy_service),
    }


def at_work(name: str, person: Person, events: Events) -> Side:
    """Yield a logged-in user who has started a server and a kernel and opens pages."""
    person.start_server()
    token = person.token()
    authorization = f"Authorization: token {token}"
    pages = {
        "hub": (
            Page("hub", "/hub/login"),
            Page("hub", "/hub/home", (f"Cookie: {person.cookies('/hub/')}",)),
            Page("hub", "/hub/api/user", (authorization,)),
        ),
        "user": (Page("user", f"/user/{person.name}/api/status", (authorization,)),),
    }
    kernel = CountingKernel(f"{person.url}/user/{person.name}", token, time.monotonic)
    return Side(name, person.url, pages, kernel, events)


@contextmanager
def somebody(machine: Machine, url: str) -> Iterator[Person]:
    """Yield Alice, with an account on the machine, logged in."""
    password = secrets.token_urlsafe()
    machine.add_user(NAME, password)
    with Person(url, NAME, password) as person:
        person.log_in()
        yield person


@contextmanager
def stock(installer: Path, next_installer: Path | None) -> Iterator[Side]:
    """JupyterHub and jupyterhub-traefik-proxy unchanged, from the same packages."""
    with Machine("bookworm") as machine:
        unpack_python(machine, installer, f"{PREFIX}-1")
        machine.run(["ln", "-s", f"{PREFIX}-1", PREFIX])
        url = set_up(
            machine,
            {HUB_CONFIG: CONFIG + TRAEFIK_PROXY, "/etc/traefik/traefik.toml": TRAEFIK},
            {"traefik.service": TRAEFIK_UNIT, HUB_UNIT: hub_unit("traefik.service")},
        )
        events = _stock_events(machine)
        if next_installer:
            machine.copy(next_installer, f"/var/tmp/{next_installer.name}")

            def upgrade() -> None:
                machine.run(["rm", "--recursive", "--force", f"{PREFIX}-2"])
                unpack_python(machine, next_installer, f"{PREFIX}-2")
                _switch(machine, f"{PREFIX}-2")

            events["upgrade"] = upgrade
            events["rollback"] = lambda: _switch(machine, f"{PREFIX}-1")
        with somebody(machine, url) as person:
            yield at_work("stock", person, events)


def _stock_events(machine: Machine) -> dict[str, Callable[[], object]]:
    systemctl = machine.systemctl
    return {
        # Neither has a reload: a change needs a restart.
        "reload": lambda: systemctl("restart", "jupyterhub"),
        "hub-restart": lambda: systemctl("restart", "jupyterhub"),
        "hub-kill": lambda: systemctl("kill", "--signal=KILL", "jupyterhub"),
        "proxy-reload": lambda: systemctl("restart", "traefik"),
        "proxy-restart": lambda: systemctl("restart", "traefik"),
        "proxy-kill": lambda: systemctl("kill", "--signal=KILL", "traefik"),
    }


def _switch(machine: Machine, release: str) -> None:
    """Switch to other packages, as in JupyterHub's documentation, "Upgrading JupyterHub"."""
    machine.systemctl("stop", "jupyterhub")
    machine.run(["ln", "--symbolic", "--no-dereference", "--force", release, PREFIX])
    config = ["-f", HUB_CONFIG]
    upgrade = [f"{PREFIX}/bin/jupyterhub", "upgrade-db", *config]
    machine.run(["env", "--chdir=/var/lib/jupyterhub", *upgrade])
    machine.systemctl("start", "jupyterhub")
    machine.systemctl("restart", "traefik")
