"""HubProxy: JupyterHub's routes, written for a traefik that runs as another user.

jupyterhub-traefik-proxy writes traefik's dynamic configuration. This subclass makes that work with
hostile names, with a thousand routes, and with a traefik that runs as another user.

traefik rebuilds all of its routes with every change, which takes it 6 ms with ten of them and
0.1 s with a thousand. So changes that come together are written as one.
"""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import secrets
from collections.abc import Iterable, Iterator
from hmac import compare_digest
from pathlib import Path
from typing import Any

from jupyterhub.utils import url_path_join
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from jupyterhub_traefik_proxy.traefik_utils import deep_merge, generate_alias
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from traitlets import Enum, Int, List, Set, TraitError, Unicode, default, observe, validate

from littlest_hub.hub.guard import GUARD
from littlest_hub.proxy.https import CHALLENGES
from littlest_hub.proxy.matcher import rule
from littlest_hub.proxy.routes import MARK_HEADER, RoutesFile, hub_tables

FIRST_POLL_S, MAX_POLL_S, POLL_FACTOR = 0.004, 0.2, 1.3
"""The pause between two polls whether traefik has loaded its routes: first, longest, growth."""
API_TIMEOUT_S = 4
"""Time limit of an answer of traefik's API, which is on this machine."""
PROXY_START_S = 120
"""Time that a start of the hub waits for the proxy: two attempts of its unit (TimeoutStartSec=)."""
_REVISION = "littlest-hub-revision"
ROUTES_CHECK_INTERVAL_MS = 2000
"""Interval at which the hub checks that the routes on disk are those that it wrote."""
PORTS_CHECK_INTERVAL_MS = 5000
"""Interval at which the hub tells the guard about all ports."""
_MAX_ADDRESSES = 256
"""The size of a network up to which tornado gets its addresses one by one."""


class HubProxy(TraefikFileProviderProxy):  # type: ignore[misc]
    """A traefik that systemd starts and that reads its routes from a file."""

    domains = List(
        Unicode(),
        config=True,
        help="Host names of this hub to obtain and renew a certificate for (ACME). The certificate"
        " is named after the first one.",
    )
    acme_email = Unicode(config=True, help="Address to which the authority sends warnings.")
    acme_challenge = Enum(
        CHALLENGES,
        CHALLENGES[0],
        config=True,
        help="How the authority verifies that a domain is ours: at port 80 (http-01) or port 443"
        " (tls-alpn-01) of this machine, or at the domain's name server (dns-01).",
    )
    acme_dns_provider = Unicode(
        config=True,
        help="For dns-01: one of https://doc.traefik.io/traefik/reference/install-configuration/"
        "tls/certificate-resolvers/acme/#providers. Put its credentials into the environment of the"
        " proxy's unit.",
    )
    acme_directory = Unicode(
        "https://acme-v02.api.letsencrypt.org/directory",
        config=True,
        help="URL of the authority's directory.",
    )
    acme_ca_file = Unicode(
        config=True,
        help="Certificate of the private authority that signed the directory's certificate.",
    )
    acme_eab_key_id = Unicode(
        config=True,
        help="Key identifier of an account at the authority (external account binding).",
    )
    acme_eab_key = Unicode(config=True, help="Key of the same account, base64url.")
    hsts_max_age = Int(
        30 * 24 * 3600,
        config=True,
        help="For how many seconds browsers insist on HTTPS once they have seen it (HSTS).",
    )

    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""Addresses and networks of the proxies in front of this one, such as ["127.0.0.1"].

        X-Forwarded-For and X-Forwarded-Proto count if they come from these, and only then.
        """,
    )

    @validate("trusted_proxies")
    def _validate_trusted_proxies(self, proposal: Any) -> list[str]:
        for text in proposal.value:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise TraitError(f"expected IP addresses or networks: {error}") from None
        return list(proposal.value)

    @property
    def trusted_addresses(self) -> list[str]:
        """The addresses in `trusted_proxies`, and those of its small networks one by one."""
        networks = map(ipaddress.ip_network, self.trusted_proxies)
        small = (network for network in networks if network.num_addresses <= _MAX_ADDRESSES)
        return [str(address) for network in small for address in network]

    dynamic_config: Any

    _mark = Unicode()

    @default("_mark")
    def _default_mark(self) -> str:
        # Each hub has its own, like the password below.
        return secrets.token_hex(32)

    def has_sent(self, request: HTTPServerRequest) -> bool:
        """Return whether a request came through the proxy, so that its address can be relied on."""
        mark = request.headers.get(MARK_HEADER, "")
        return compare_digest(mark.encode(), self._mark.encode())

    _current: asyncio.Future[None] | None = None
    """The write that traefik is loading."""
    _next: asyncio.Future[None] | None = None
    """The write after it, for changes that have come since."""
    _revision = ""
    _undropped = Set(help="Removed routes that traefik may still have: their ports are held.")

    @default("dynamic_config_handler")
    def _default_handler(self) -> RoutesFile:
        return RoutesFile(Path(self.dynamic_config_file))

    # It has the name of the stock observer, which would set the stock handler.
    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = RoutesFile(Path(change.new))

    @default("traefik_api_username")
    def _default_username(self) -> str:
        return "hub"

    @default("traefik_api_password")
    def _default_password(self) -> str:
        # New in each process, stored nowhere: traefik gets its hash with the routes.
        return secrets.token_hex(32)

    @default("traefik_api_hashed_password")
    def _default_hash(self) -> str:
        # bcrypt, the stock hash, costs half a second of CPU for each request, of which each spawn
        # makes two. It protects short passwords; no one can guess 256 random bits.
        digest = hashlib.sha1(self.traefik_api_password.encode(), usedforsecurity=False).digest()
        return "{SHA}" + base64.b64encode(digest).decode()

    def _dynamic_config_for_route(
        self, routespec: str, target: str, data: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # Stock rules hold the name unquoted between backticks, whatever characters it has.
        traefik, hub = super()._dynamic_config_for_route(routespec, target, data)
        for router in traefik["http"]["routers"].values():
            router["rule"] = rule(routespec)
            # Without: at all entry points for visitors (asDefault).
            router.pop("entryPoints", None)
        for service in traefik["http"]["services"].values():
            # The default; it would be there a thousand times.
            service["loadBalancer"].pop("passHostHeader", None)
        return traefik, hub

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Add a route, and return when traefik has loaded it.

        Raises:
            TimeoutError: traefik does not load it.
            OSError: it cannot be written; the disk is full, for example.
        """
        await self._wait_until_started()
        routespec = self.validate_routespec(routespec)
        self._undropped.discard(routespec)
        if "user" in data and (refused := await GUARD.hold_route(routespec, target)):
            self.log.error("No route %s to %s: %s", routespec, target, refused.detail)
            return
        traefik, hub = self._dynamic_config_for_route(routespec, target, data)
        is_new = hub["routes"].keys().isdisjoint(self.dynamic_config["jupyterhub"]["routes"])
        self.dynamic_config = deep_merge(self.dynamic_config, {**traefik, "jupyterhub": hub})
        try:
            await self._write_and_wait()
        except OSError:  # TimeoutError is one
            self.log.error("traefik did not load the route %s", routespec)
            # JupyterHub stops the server, so no later write may hold its route. An earlier route,
            # such as the hub's own, stays.
            if is_new:
                self._remove(routespec)
                self._undropped.add(routespec)
            raise

    async def delete_route(self, routespec: str) -> None:
        """Delete a route if there is one, and return when traefik has dropped it."""
        await self._wait_until_started()
        routespec = self.validate_routespec(routespec)
        if not self._remove(routespec):
            return
        try:
            await self._write_and_wait()
        except OSError as error:
            # It does not answer (TimeoutError is an OSError), or the disk is full: no reason to
            # leave the server running.
            self.log.error("traefik may still have the route %s: %s", routespec, error)
            self._undropped.add(routespec)
        else:
            await GUARD.release_route(routespec)

    async def hold_ports(self) -> None:
        """Request holds on the ports of all routes to user servers, now and from time to time."""
        routes = (await self.get_all_routes()).values()
        users = [(r["routespec"], r["target"]) for r in routes if "user" in r["data"]]
        await self._keep_ports(users)
        PeriodicCallback(self._keep_ports, PORTS_CHECK_INTERVAL_MS).start()

    async def _keep_ports(self, routes: Iterable[tuple[str, str]] = ()) -> None:
        await self._drop()
        for routespec, refused in await GUARD.keep(routes):
            self.log.error("The route %s is lost: %s", routespec, refused.detail)
            await self.delete_route(routespec)

    async def _drop(self) -> None:
        """Give up the ports of removed routes, once traefik has dropped these."""
        removed = self._undropped.copy()
        with contextlib.suppress(OSError):  # it will be tried again
            if removed:
                await self._write_and_wait()
            # Meanwhile it may have been added again, with another port.
            for routespec in removed & self._undropped:
                self._undropped.discard(routespec)
                await GUARD.release_route(routespec)

    def _remove(self, routespec: str) -> bool:
        """Remove a route from `dynamic_config`; return whether there was one."""
        name = generate_alias(routespec, "router")
        known = self.dynamic_config["jupyterhub"]["routes"].pop(name, None)
        if known:
            self.dynamic_config["http"]["routers"].pop(known["router"], None)
            self.dynamic_config["http"]["services"].pop(known["service"], None)
        return known is not None

    async def _wait_until_started(self) -> None:
        if self._start_future and not self._start_future.done():
            await self._start_future

    async def _write_and_wait(self) -> None:
        """Write `dynamic_config`, and return when traefik has loaded it.

        Changes that come while traefik loads earlier ones share the next write: 990 routes at once
        take a second instead of 160.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._write_after(self._current))
        await asyncio.shield(self._next)

    async def _write_after(self, earlier: asyncio.Future[None] | None) -> None:
        if earlier:
            await asyncio.wait([earlier])
        # This task was `_next`. From here on, changes come too late for it and start another.
        self._current, self._next = self._next, None
        async with self.mutex:
            self._set_revision()
            self._persist_dynamic_config()
        loop, pauses_s = asyncio.get_running_loop(), _pauses_s()
        deadline = loop.time() + self.check_route_timeout
        while not await self._is_loaded():
            if loop.time() > deadline:
                raise TimeoutError("traefik does not load its routes")
            await asyncio.sleep(next(pauses_s))

    def _set_revision(self) -> None:
        """Add a route that only this write has: to poll it is to poll all routes."""
        self._revision = f"/revision/{secrets.token_hex(8)}"
        self.dynamic_config["http"]["routers"][_REVISION] = {
            "rule": f"Path(`{self._revision}`)",
            "entryPoints": [self.traefik_api_entrypoint],
            "service": "noop@internal",
        }

    async def _is_loaded(self) -> bool:
        """Return whether traefik has loaded what was written last."""
        try:
            await self._traefik_api_request(self._revision)
        except HTTPClientError as error:
            return bool(error.code == 418)  # what noop@internal answers
        except OSError:
            pass
        return False

    async def _setup_traefik_dynamic_config(self) -> None:
        # `ProxyConfiguration` writes certificates: traefik may not read the administrator's files.
        self.ssl_cert = self.ssl_key = ""
        http = hub_tables(self._mark, self.trusted_proxies)
        self.dynamic_config = deep_merge(self.dynamic_config, {"http": http})
        await super()._setup_traefik_dynamic_config()

    async def _wait_for_static_config(self) -> None:
        # Until traefik has loaded the hash of our password, it refuses us; that is no error.
        loop, pauses_s = asyncio.get_running_loop(), _pauses_s()
        deadline = loop.time() + max(PROXY_START_S, self.check_route_timeout)
        while refusal := await self._api_refusal():
            if loop.time() > deadline:
                raise TimeoutError(f"the proxy does not let the hub in: {refusal}")
            await asyncio.sleep(next(pauses_s))
        # Without upstream's look for `traefik_entrypoint`: our routes name none, and HTTPS has its
        # own only once the certificate can be used.
        PeriodicCallback(self._repair_routes, ROUTES_CHECK_INTERVAL_MS).start()

    async def _repair_routes(self) -> None:
        """Write the routes again if they were changed, or cut off by a full disk."""
        async with self.mutex:
            if self.dynamic_config_handler.is_as_written:
                return
            self.log.warning(
                "%s is not as the hub wrote it: writing it again", self.dynamic_config_file
            )
            try:
                self._persist_dynamic_config()
            except OSError as error:
                self.log.error("%s: %s", self.dynamic_config_file, error.strerror)

    async def _api_refusal(self) -> str:
        """Return why traefik's API does not answer the hub; "": it does."""
        try:
            await self._traefik_api_request("/api/overview")
        except HTTPClientError as error:
            if error.code not in (401, 404, 599):
                raise
            return str(error)
        except OSError as error:
            return str(error)
        return ""

    async def _traefik_api_request(self, path: str) -> HTTPResponse:
        credentials = (self.traefik_api_username, self.traefik_api_password)
        request = _api_request(url_path_join(self.traefik_api_url, path), *credentials)
        return await AsyncHTTPClient().fetch(request)


def _api_request(url: str, username: str, password: str) -> HTTPRequest:
    # Upstream's waits 20 s. A connection may wait at a socket from which traefik accepts no more,
    # until the supervisor passes it on: the caller shall have time for another one.
    return HTTPRequest(
        url,
        auth_username=username,
        auth_password=password,
        connect_timeout=API_TIMEOUT_S,
        request_timeout=API_TIMEOUT_S,
    )


def _pauses_s() -> Iterator[float]:
    """Yield the pauses between polls."""
    pause_s = FIRST_POLL_S
    while True:
        yield pause_s
        pause_s = min(pause_s * POLL_FACTOR, MAX_POLL_S)
