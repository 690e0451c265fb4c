"""The two hubs that are compared, each on a machine of its own, and what is done to them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.outage.kernel import CountingKernel
from tests.bench.outage.load import Page
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

NAME = "alice"


Events = Mapping[str, Callable[[], object]]
"""What can happen to a hub, and how its administrator makes it happen."""


@dataclass(frozen=True)
class Side:
    """A hub with somebody who works on it."""

    name: str
    url: str
    pages: Mapping[str, Sequence[Page]]
    kernel: CountingKernel
    events: Events


@contextmanager
def ours(installer: Path, next_installer: Path | None) -> Iterator[Side]:
    """Littlest Hub, as it is installed."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": NAME})
        events = our_events(hub)
        if next_installer:
            machine.copy(next_installer, f"/var/tmp/{next_installer.name}")
            rollback = [hub.path("hub/bin/littlest-hub"), "rollback"]
            events["upgrade"] = lambda: machine.install(next_installer)
            events["rollback"] = lambda: machine.run(rollback, timeout_s=300)
        with _somebody(machine, hub.url) as person:
            yield at_work("ours", person, events)


def our_events(hub: Hub) -> dict[str, Callable[[], object]]:
    """All but an upgrade and a rollback, for which it takes another installer."""
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
    """Somebody who has logged in starts their server and a kernel, and looks at their pages."""
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
def _somebody(machine: Machine, url: str) -> Iterator[Person]:
    password = secrets.token_urlsafe()
    machine.add_user(NAME, password)
    with Person(url, NAME, password) as person:
        person.log_in()
        yield person


STOCK = "/opt/jupyterhub"
STOCK_PORT = 8000

# jupyterhub-traefik-proxy, "Using TraefikFileProviderProxy", "Example setup", in files that
# survive; cleanup_servers=False as JupyterHub's documentation has it for a proxy of its own.
STOCK_CONFIG = f"""\
c.JupyterHub.bind_url = "http://:{STOCK_PORT}"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikFileProviderProxy.should_start = False
c.TraefikFileProviderProxy.traefik_api_username = "api_admin"
c.TraefikFileProviderProxy.traefik_api_password = "admin"
c.TraefikFileProviderProxy.dynamic_config_file = "/var/lib/traefik/rules.toml"
c.JupyterHub.spawner_class = "systemd"
c.Spawner.cmd = ["{STOCK}/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
c.Authenticator.allow_all = True
"""

STOCK_TRAEFIK = f"""\
[api]

[entryPoints.http]
address = ":{STOCK_PORT}"

[entryPoints.auth_api]
address = "localhost:8099"

[providers.file]
directory = "/var/lib/traefik"
watch = true
"""

# Restart=always is more than JupyterHub's documentation says, and what traefik's own unit has.
STOCK_UNITS = {
    "traefik": f"""\
[Unit]
Description=traefik
After=network.target

[Service]
Type=notify
ExecStart={STOCK}/bin/traefik --configFile=/etc/traefik/traefik.toml
Restart=always

[Install]
WantedBy=multi-user.target
""",
    "jupyterhub": f"""\
[Unit]
Description=JupyterHub
After=network.target traefik.service

[Service]
User=root
Type=simple
Environment=PATH={STOCK}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WorkingDirectory=/var/lib/jupyterhub
ExecStart={STOCK}/bin/jupyterhub -f /etc/jupyterhub/jupyterhub_config.py
Restart=always

[Install]
WantedBy=multi-user.target
""",
}


@contextmanager
def stock(installer: Path, next_installer: Path | None) -> Iterator[Side]:
    """JupyterHub and jupyterhub-traefik-proxy as they come, of the same packages."""
    with Machine("bookworm") as machine:
        _unpack(machine, installer, f"{STOCK}-1")
        machine.run(["ln", "-s", f"{STOCK}-1", STOCK])
        machine.run(["mkdir", "-p", "/var/lib/jupyterhub", "/var/lib/traefik"])
        machine.put("/etc/jupyterhub/jupyterhub_config.py", STOCK_CONFIG)
        machine.put("/etc/traefik/traefik.toml", STOCK_TRAEFIK)
        for name, text in STOCK_UNITS.items():
            machine.put(f"/etc/systemd/system/{name}.service", text)
        machine.systemctl("daemon-reload")
        machine.systemctl("enable", "--now", *STOCK_UNITS)
        events = _stock_events(machine)
        if next_installer:
            machine.copy(next_installer, f"/var/tmp/{next_installer.name}")

            def upgrade() -> None:
                machine.run(["rm", "--recursive", "--force", f"{STOCK}-2"])
                _unpack(machine, next_installer, f"{STOCK}-2")
                _switch(machine, f"{STOCK}-2")

            events["upgrade"] = upgrade
            events["rollback"] = lambda: _switch(machine, f"{STOCK}-1")
        url = f"http://{machine.address}:{STOCK_PORT}"
        eventually(lambda: _answers(url), 60, f"a login page at {url}")
        with _somebody(machine, url) as person:
            yield at_work("stock", person, events)


def _stock_events(machine: Machine) -> dict[str, Callable[[], object]]:
    systemctl = machine.systemctl
    return {
        # There is no reload of either: what has changed takes a restart.
        "reload": lambda: systemctl("restart", "jupyterhub"),
        "hub-restart": lambda: systemctl("restart", "jupyterhub"),
        "hub-kill": lambda: systemctl("kill", "--signal=KILL", "jupyterhub"),
        "proxy-reload": lambda: systemctl("restart", "traefik"),
        "proxy-restart": lambda: systemctl("restart", "traefik"),
        "proxy-kill": lambda: systemctl("kill", "--signal=KILL", "traefik"),
    }


def _unpack(machine: Machine, installer: Path, prefix: str) -> None:
    """The packages of the installer without its scripts, so that nothing of ours is set up."""
    machine.install(installer, ["-b", "-s", "-p", prefix])


def _switch(machine: Machine, release: str) -> None:
    """To other packages, as JupyterHub's documentation has it: "Upgrading JupyterHub"."""
    machine.systemctl("stop", "jupyterhub")
    machine.run(["ln", "--symbolic", "--no-dereference", "--force", release, STOCK])
    config = ["-f", "/etc/jupyterhub/jupyterhub_config.py"]
    upgrade = [f"{STOCK}/bin/jupyterhub", "upgrade-db", *config]
    machine.run(["env", "--chdir=/var/lib/jupyterhub", *upgrade])
    machine.systemctl("start", "jupyterhub")
    machine.systemctl("restart", "traefik")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hub/login", timeout=30, trust_env=False).status_code == 200
    except httpx.TransportError as error:
        raise AssertionError(str(error)) from error
