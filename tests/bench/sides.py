"""The sides of the comparison, each on a machine of its own, all of the same image.

`ours`; `stock`: JupyterHub with configurable-http-proxy, as upstream documents it; `tljh`: the same
with traefik and the settings of The Littlest JupyterHub; `limit`: no hub at all, but JupyterLab as
installed by pip.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.bench import upstream
from tests.bench.disk import Disk, installing, pip_installing, untarring
from tests.bench.disk import disk as on_disk
from tests.bench.outage.sides import NAME, at_work, our_events, somebody
from tests.bench.outage.sides import Side as AtWork
from tests.bench.upstream import HUB_CONFIG, HUB_UNIT, PORT, PREFIX
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

IMAGE = ("wrk",)
"""Debian packages of each machine beyond those of a plain server."""
BACKEND_PORT = 18000
BACKEND = f"""\
const small = Buffer.alloc(1024, "x"), large = Buffer.alloc(1 << 20, "x");
require("http").createServer((request, response) => {{
  const body = request.url.endsWith("large") ? large : small;
  response.writeHead(200, {{"Content-Length": body.length}});
  response.end(body);
}}).listen({BACKEND_PORT}, "127.0.0.1");
"""
SERVICE = "/services/bench"
"""Path of the backend at the hubs."""
BARE_PORT = 20000
"""Port of the first server without a hub."""
READY_S = 180
"""Time limit for servers to be ready, or for the hub to report that they failed."""

# Additional configuration of each hub: the backend is a service whose token may start servers, and
# the hub adds routes on request and measures how long that takes.
BENCH_CONFIG = """
c.JupyterHub.services.append(
    {{"name": "bench", "url": "http://127.0.0.1:{port}", "api_token": "{token}"}}
)
c.JupyterHub.load_roles.append(
    {{
        "name": "bench",
        "scopes": ["admin:users", "admin:servers", "admin:groups", "list:users", "read:hub"],
        "services": ["bench"],
    }}
)
# Routes of nobody are taken away at these intervals.
c.JupyterHub.proxy_check_interval = 24 * 3600


def _routes():
    import asyncio
    import json
    import time

    from jupyterhub.handlers.base import BaseHandler
    from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
    from jupyterhub_traefik_proxy.traefik_utils import deep_merge

    def route(number):
        data = {{"user": f"route{{number}}", "server_name": ""}}
        return f"/user/route{{number}}/", "http://127.0.0.1:{port}", data

    class Routes(BaseHandler):
        async def get(self):
            numbers = range(*(int(self.get_argument(name)) for name in ("first", "last")))
            begun_s = time.monotonic()
            # A thousand one by one take that class many minutes; they are to be there, no more.
            if len(numbers) > 1 and type(self.proxy) is TraefikFileProviderProxy:
                await self.fill(numbers)
            else:
                await asyncio.gather(*(self.proxy.add_route(*route(n)) for n in numbers))
            self.finish(json.dumps(time.monotonic() - begun_s))

        async def fill(self, numbers):
            proxy = self.proxy
            async with proxy.mutex:
                for number in numbers:
                    traefik, hub = proxy._dynamic_config_for_route(*route(number))
                    found = {{**traefik, "jupyterhub": hub}}
                    proxy.dynamic_config = deep_merge(proxy.dynamic_config, found)
                proxy._persist_dynamic_config()

    return [(r"/bench/routes", Routes)]


c.JupyterHub.extra_handlers = _routes()
"""


@dataclass(frozen=True)
class Started:
    """The outcome of one of several servers that were requested at once."""

    seconds: float
    failure: str = ""
    """The reason why it is not ready; "": it is."""


@dataclass(frozen=True)
class Side:
    """The interface of all sides."""

    name: str
    machine: Machine
    servers: str
    """Pattern of the units of the servers that `start_servers` starts."""
    backend: str
    """URL of the backend for programs on the machine, through the proxy if there is one."""
    disk: Disk | None
    """The way to put its files on a disk, if that is compared."""

    def start_servers(self, people: Sequence[str]) -> list[Started]:
        """Start servers at once, and return when the last is ready or has failed."""
        raise NotImplementedError

    def stop_servers(self, people: Sequence[str]) -> None:
        """Stop all servers, and return when none is left."""
        raise NotImplementedError


@dataclass(frozen=True)
class HubSide(Side):
    """A side with a hub and a proxy, and with Alice, who is working."""

    url: str
    hub_unit: str
    proxy_unit: str
    at_work: AtWork
    token: str

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request to the hub's API.

        Raises:
            httpx.HTTPStatusError: it is refused.
        """
        with httpx.Client(**self._client) as client:
            return client.request(method, path, **arguments).raise_for_status()

    def add_routes(self, first: int, last: int) -> float:
        """Make the hub add numbered routes at once, and return the seconds until all work."""
        with httpx.Client(timeout=READY_S, trust_env=False) as client:
            range_ = {"first": first, "last": last}
            answer = client.get(f"{self.url}/hub/bench/routes", params=range_)
        return float(answer.raise_for_status().json())

    @property
    def _client(self) -> dict[str, Any]:
        return {
            "base_url": f"{self.url}/hub/api/",
            "headers": {"Authorization": f"token {self.token}"},
            "timeout": READY_S,
            "limits": httpx.Limits(max_connections=None),
            "trust_env": False,
        }

    def start_servers(self, people: Sequence[str]) -> list[Started]:
        return asyncio.run(self._for_each(people, _start))

    def start_in_waves(
        self, people: Sequence[str], at_a_time: int, has_room: Callable[[], bool]
    ) -> dict[str, Started]:
        """Start servers, so many at a time, and return when the last is ready or has failed.

        Args:
            people: their users.
            at_a_time: how many.
            has_room: returns whether another one may be requested.

        Returns:
            The outcomes of those that were requested.
        """
        found = asyncio.run(self._start_in_waves(people, at_a_time, has_room))
        return {name: each for name, each in zip(people, found, strict=True) if each}

    async def _start_in_waves(
        self, people: Sequence[str], at_a_time: int, has_room: Callable[[], bool]
    ) -> list[Started | None]:
        turns = asyncio.Semaphore(at_a_time)

        async def in_turn(client: httpx.AsyncClient, name: str) -> Started | None:
            async with turns:
                return await _start(client, name) if has_room() else None

        return await self._for_each(people, in_turn)

    def stop_servers(self, people: Sequence[str]) -> None:
        asyncio.run(self._for_each(people, _stop))
        eventually(lambda: not self._busy(people), READY_S, f"{self.name}: no server to be left")

    async def _for_each(
        self, people: Sequence[str], action: Callable[[httpx.AsyncClient, str], Awaitable[Any]]
    ) -> list[Any]:
        async with httpx.AsyncClient(**self._client) as client:
            return await asyncio.gather(*(action(client, name) for name in people))

    def _busy(self, people: Sequence[str]) -> set[str]:
        users = self.api("GET", "users", params={"limit": 200}).json()
        return {user["name"] for user in users if user["server"] or user["pending"]} & set(people)


async def _start(client: httpx.AsyncClient, name: str) -> Started:
    """Request a server as a browser does: if that takes long, follow the hub's progress events."""
    begun_s = time.monotonic()
    try:
        answer = await client.post(f"users/{name}/server")
        failure = "" if answer.status_code == 201 else f"{answer.status_code} {answer.text[:200]}"
        if answer.status_code == 202:
            failure = await _failure_of(client, name)
    except httpx.HTTPError as error:
        failure = f"{type(error).__name__} {error}"
    return Started(time.monotonic() - begun_s, failure)


async def _failure_of(client: httpx.AsyncClient, name: str) -> str:
    """Wait until the server is ready, and return ""; or return why it failed."""
    async with client.stream("GET", f"users/{name}/server/progress") as events:
        async for line in events.aiter_lines():
            if (ready := verdict(line)) is not None:
                return ready
    return "the hub said no more"


def verdict(line: str) -> str | None:
    """Return the outcome in one line of the hub's progress events.

    Returns:
        None: no outcome yet; "": ready; otherwise why not.
    """
    if not line.startswith("data:"):
        return None
    event = json.loads(line.removeprefix("data:"))
    if event.get("failed"):
        return str(event.get("message", "failed"))
    return "" if event.get("ready") else None


async def _stop(client: httpx.AsyncClient, name: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        await client.delete(f"users/{name}/server")


@dataclass(frozen=True)
class BareSide(Side):
    """JupyterLab without a hub, login and proxy."""

    _START: ClassVar[str] = f"""
    port={BARE_PORT}
    for name; do
        systemd-run --quiet --no-block --collect --unit="bare-$name" --uid="$name" \
            --working-directory="/home/$name" --setenv=HOME="/home/$name" \
            {PREFIX}/bin/jupyter-lab --no-browser --ip=0.0.0.0 --port="$port" \
            --IdentityProvider.token= --ServerApp.allow_remote_access=True
        port=$((port + 1))
    done
    """

    def start_servers(self, people: Sequence[str]) -> list[Started]:
        begun_s = time.monotonic()
        self.machine.run(["sh", "-c", self._START, "sh", *people])
        ports = range(BARE_PORT, BARE_PORT + len(people))
        return asyncio.run(self._until_ready(ports, begun_s))

    async def _until_ready(self, ports: Sequence[int], begun_s: float) -> list[Started]:
        return await asyncio.gather(*(self._ready(port, begun_s) for port in ports))

    async def _ready(self, port: int, begun_s: float) -> Started:
        while time.monotonic() < begun_s + READY_S:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(self.machine.address, port)
                writer.write(b"GET /api HTTP/1.0\r\n\r\n")
                line = await reader.readline()
                writer.close()
                if b" 200 " in line:
                    return Started(time.monotonic() - begun_s)
            await asyncio.sleep(0.05)
        return Started(READY_S, "never answered")

    def stop_servers(self, people: Sequence[str]) -> None:
        self.machine.systemctl("stop", *(f"bare-{name}.service" for name in people), check=False)


@contextmanager
def ours(installer: Path, people: Sequence[str]) -> Iterator[Side]:
    """Littlest Hub, as installed."""
    token = secrets.token_hex()
    with _machine(people) as machine, on_disk(partial(installing, installer)) as disk:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": NAME})
        hub.write_fragment("90-bench.py", BENCH_CONFIG.format(port=BACKEND_PORT, token=token))
        hub.reload()
        with somebody(machine, hub.url) as alice:
            backend = f"http://127.0.0.1:80{SERVICE}"
            side = of_hub(hub, machine, alice, token, backend=backend, disk=disk)
            add_people(side, people)
            yield side


def of_hub(
    hub: Hub,
    machine: Machine,
    alice: Person,
    token: str,
    *,
    backend: str = "",
    disk: Disk | None = None,
) -> HubSide:
    """Yield a hub of ours as a side; `BENCH_CONFIG` is one of its fragments."""
    return HubSide(
        name="ours",
        machine=machine,
        servers=hub.layout.user_unit("bench") + "*.service",
        backend=backend,
        disk=disk,
        url=hub.url,
        hub_unit=hub.layout.hub_service,
        proxy_unit=hub.layout.proxy_service,
        at_work=at_work("ours", alice, our_events(hub)),
        token=token,
    )


@contextmanager
def stock(installer: Path, people: Sequence[str]) -> Iterator[Side]:
    """JupyterHub, SystemdSpawner and configurable-http-proxy, in plain units."""
    files = {HUB_CONFIG: upstream.CONFIG + upstream.CHP_CONFIG}
    units = {"chp.service": upstream.CHP_UNIT, HUB_UNIT: upstream.hub_unit("chp.service")}
    with _upstream("stock", installer, people, files, units, "jupyter-bench*-singleuser") as side:
        yield side


@contextmanager
def tljh(installer: Path, people: Sequence[str]) -> Iterator[Side]:
    """The same versions with the settings of The Littlest JupyterHub."""
    files = {
        HUB_CONFIG: upstream.CONFIG + upstream.TRAEFIK_PROXY + upstream.TLJH_CONFIG,
        "/etc/traefik/traefik.toml": upstream.TLJH_TRAEFIK,
    }
    units = {
        "traefik.service": upstream.TLJH_TRAEFIK_UNIT,
        HUB_UNIT: upstream.hub_unit("traefik.service", upstream.TLJH_SANDBOX),
    }
    with _upstream("tljh", installer, people, files, units, "jupyter-bench*") as side:
        yield side


@contextmanager
def limit(installer: Path, people: Sequence[str]) -> Iterator[Side]:
    """JupyterLab alone, the backend itself, and plain tar."""
    with _machine(people) as machine, on_disk(partial(untarring, installer)) as disk:
        upstream.unpack(machine, upstream.environment(installer))
        yield BareSide(
            name="limit",
            machine=machine,
            servers="bare-bench*.service",
            backend=f"http://127.0.0.1:{BACKEND_PORT}{SERVICE}",
            disk=disk,
        )


SIDES = {"ours": ours, "stock": stock, "tljh": tljh, "limit": limit}


@contextmanager
def _upstream(
    name: str,
    installer: Path,
    people: Sequence[str],
    files: dict[str, str],
    units: dict[str, str],
    servers: str,
) -> Iterator[Side]:
    token = secrets.token_hex()
    files[HUB_CONFIG] += BENCH_CONFIG.format(port=BACKEND_PORT, token=token)
    proxy_unit = next(iter(units))
    with _machine(people) as machine, on_disk(partial(pip_installing, installer)) as disk:
        upstream.unpack(machine, upstream.environment(installer))
        url = upstream.set_up(machine, files, units)
        events = {"reload": lambda: machine.systemctl("restart", HUB_UNIT)}
        with somebody(machine, url) as alice:
            side = HubSide(
                name=name,
                machine=machine,
                servers=f"{servers}.service",
                backend=f"http://127.0.0.1:{PORT}{SERVICE}",
                disk=disk if name == "stock" else None,
                url=url,
                hub_unit=HUB_UNIT,
                proxy_unit=proxy_unit,
                at_work=at_work(name, alice, events),
                token=token,
            )
            add_people(side, people)
            yield side


@contextmanager
def _machine(people: Sequence[str]) -> Iterator[Machine]:
    """Yield a machine with the backend and with accounts that have no password."""
    with Machine("bookworm", packages=IMAGE) as machine:
        upstream.send(machine, upstream.node(), "/opt/node")
        machine.put("/opt/backend.js", BACKEND)
        backend = ["/opt/node/bin/node", "/opt/backend.js"]
        machine.run(["systemd-run", "--quiet", "--unit=backend", *backend])
        add_accounts(machine, people)
        yield machine


def add_accounts(machine: Machine, people: Sequence[str], first_uid: int = 5000) -> None:
    """Create system accounts in one step; useradd(8) would take minutes for a thousand."""
    lines = [
        f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash"
        for uid, name in enumerate(people, first_uid)
    ]
    groups = [f"{name}:x:{uid}:" for uid, name in enumerate(people, first_uid)]
    machine.run(["sh", "-c", "cat >>/etc/passwd"], input="\n".join(lines) + "\n")
    machine.run(["sh", "-c", "cat >>/etc/group"], input="\n".join(groups) + "\n")
    homes = 'for name; do install -d -m 0700 -o "$name" -g "$name" "/home/$name"; done'
    machine.run(["sh", "-c", homes, "sh", *people])


def add_people(side: HubSide, people: Sequence[str]) -> None:
    """Add the users to the hub."""
    side.api("POST", "users", json={"usernames": list(people)})
