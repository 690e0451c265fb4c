"""traefik, told where everybody is.

jupyterhub-traefik-proxy writes traefik's dynamic configuration; what follows is what it takes for a
traefik that runs as somebody else, for names that are hostile, and for a thousand routes.

traefik builds all of its routes anew with every change, which takes it 6 ms with ten of them and
0.1 s with a thousand. So many changes at once are one change.
"""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import re
import secrets
from pathlib import Path
from typing import Any

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from jupyterhub_traefik_proxy.traefik_utils import deep_merge, generate_alias
from tornado.httpclient import HTTPClientError
from tornado.ioloop import PeriodicCallback
from traitlets import Enum, Int, List, TraitError, Unicode, default, observe, validate

from littlest_hub.proxy.https import CHALLENGES
from littlest_hub.proxy.routes import RulesFile

# RFC 3986 2.2: what traefik leaves percent-encoded in the path that it compares with a rule
# (routing path, https://doc.traefik.io/traefik/security/request-path/), so that an encoded slash
# never becomes a separator.
_RESERVED = frozenset(b":/?#[]@!$&'()*+,;=%")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
ASKED_FIRST_S, ASKED_LAST_S, ASKED_MORE = 0.004, 0.2, 1.3
"""How long until traefik is asked again whether it knows a route: first, at most, each time."""
_REVISION = "littlest-hub-revision"
RULES_LOOKED_AT_MS = 2000
"""How often the hub makes sure that the proxy's rules are those that it wrote."""
_SMALL = 256
"""How many addresses a network may have for tornado to be told each of them."""
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")


def rule(routespec: str) -> str:
    """The traefik rule that matches a JupyterHub routespec, whatever is in it.

    Args:
        routespec: "[host]/path/", percent-encoded as JupyterHub does.

    Raises:
        ValueError: it does not end in "/", or what should be a host name is none.
    """
    if not routespec.endswith("/"):
        raise ValueError(f"routespec {routespec!r} does not end in /")
    host, _, path = routespec.partition("/")
    path = _routing_path(f"/{path}")
    matchers = [f"PathPrefix({_quote(path)})"]
    if path != "/":
        matchers.append(f"Path({_quote(path.rstrip('/'))})")
    paths = " || ".join(matchers)
    if not host:
        return paths
    if not _HOST.fullmatch(host):
        raise ValueError(f"routespec {routespec!r}: {host!r} is not a host name")
    return f"Host({_quote(host.partition(':')[0])}) && ({paths})"


def _routing_path(path: str) -> str:
    """A percent-encoded path in the form in which traefik compares it."""

    def decode(escape: re.Match[str]) -> str:
        byte = int(escape[0][1:], 16)
        return escape[0].upper() if byte in _RESERVED else chr(byte)

    # latin-1 keeps each byte one character until the UTF-8 sequences are whole again
    decoded = _ESCAPE.sub(decode, path.encode().decode("latin-1"))
    return decoded.encode("latin-1").decode(errors="surrogateescape")


def _quote(text: str) -> str:
    """A Go string literal that consists of harmless ASCII only.

    traefik parses a rule as a Go expression: https://go.dev/ref/spec#String_literals
    """
    return '"' + "".join(
        character
        if re.fullmatch(r"[A-Za-z0-9/._~:@%+,;=&!$'()*\[\]-]", character)
        else "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
        for character in text
    ) + '"'  # fmt: skip


class HubProxy(TraefikFileProviderProxy):  # type: ignore[misc]
    """A traefik that systemd starts and that reads what we write."""

    domains = List(
        Unicode(),
        config=True,
        help="Host names of this hub to obtain a certificate for, and to renew it (ACME). The first"
        " one names the certificate.",
    )
    acme_email = Unicode(config=True, help="Where the authority writes if something is wrong.")
    acme_challenge = Enum(
        CHALLENGES,
        CHALLENGES[0],
        config=True,
        help="How the authority sees that a domain is ours: it asks port 80 (http-01) or port 443"
        " (tls-alpn-01) of this machine, or the domain's name server (dns-01).",
    )
    acme_dns_provider = Unicode(
        config=True,
        help="For dns-01: one of https://doc.traefik.io/traefik/reference/install-configuration/"
        "tls/certificate-resolvers/acme/#providers. Its credentials go into the environment of the"
        " proxy's unit.",
    )
    acme_directory = Unicode(
        "https://acme-v02.api.letsencrypt.org/directory",
        config=True,
        help="URL of the authority's directory.",
    )
    acme_ca_file = Unicode(
        config=True, help="Certificate of who signed that of the directory, if it is not public."
    )
    acme_eab_key_id = Unicode(
        config=True, help="An account that the authority has given us: its identifier."
    )
    acme_eab_key = Unicode(config=True, help="The same: its key, base64url.")
    hsts_max_age = Int(
        30 * 24 * 3600,
        config=True,
        help="For how many seconds browsers insist on HTTPS once they have seen it (HSTS).",
    )

    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""Addresses and networks of the proxies in front of this one, such as ["127.0.0.1"].

        What these say in X-Forwarded-For and X-Forwarded-Proto is believed; nobody else is.
        """,
    )

    @validate("trusted_proxies")
    def _addresses_or_networks(self, proposal: Any) -> list[str]:
        for text in proposal.value:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise TraitError(f"expected IP addresses or networks: {error}") from None
        return list(proposal.value)

    @property
    def trusted_addresses(self) -> list[str]:
        """Those of `trusted_proxies` one by one, small networks included."""
        networks = map(ipaddress.ip_network, self.trusted_proxies)
        small = (network for network in networks if network.num_addresses <= _SMALL)
        return [str(address) for network in small for address in network]

    dynamic_config: Any

    _current: asyncio.Future[None] | None = None
    """traefik is being told, and asked whether it has heard."""
    _next: asyncio.Future[None] | None = None
    """The same for whoever has come since."""
    _revision = ""

    @default("dynamic_config_handler")
    def _our_handler(self) -> RulesFile:
        return RulesFile(Path(self.dynamic_config_file))

    # Named as the stock observer, which would put the stock handler back.
    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = RulesFile(Path(change.new))

    @default("traefik_api_username")
    def _our_username(self) -> str:
        return "hub"

    @default("traefik_api_password")
    def _fresh_password(self) -> str:
        # On no disk and never the same: the proxy learns its hash through the rules file.
        return secrets.token_hex(32)

    @default("traefik_api_hashed_password")
    def _cheap_hash(self) -> str:
        # bcrypt costs half a second of CPU for each request, two for each spawn; it protects short
        # passwords, and there is nothing to guess in 256 random bits.
        digest = hashlib.sha1(self.traefik_api_password.encode(), usedforsecurity=False).digest()
        return "{SHA}" + base64.b64encode(digest).decode()

    def _dynamic_config_for_route(
        self, routespec: str, target: str, data: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # Stock rules are the unquoted name between backticks, whatever the name holds.
        traefik, hub = super()._dynamic_config_for_route(routespec, target, data)
        for router in traefik["http"]["routers"].values():
            router["rule"] = rule(routespec)
            # At every entry point that is for visitors, whichever there are (asDefault).
            router.pop("entryPoints", None)
        for service in traefik["http"]["services"].values():
            # As it is anyway; a thousand times.
            service["loadBalancer"].pop("passHostHeader", None)
        return traefik, hub

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Have traefik know a route; returns when it does.

        Raises:
            TimeoutError: it does not.
            OSError: the disk is full, say.
        """
        await self._is_started()
        routespec = self.validate_routespec(routespec)
        traefik, hub = self._dynamic_config_for_route(routespec, target, data)
        is_new = not hub["routes"].keys() & self.dynamic_config["jupyterhub"]["routes"].keys()
        self.dynamic_config = deep_merge(self.dynamic_config, {**traefik, "jupyterhub": hub})
        try:
            await self._take_effect()
        except OSError:
            self.log.error("traefik never knew the route %s", routespec)
            # JupyterHub ends the server: no route to it with a later change. The hub's own stays.
            if is_new:
                self._forget(routespec)
            raise

    async def delete_route(self, routespec: str) -> None:
        """Have traefik forget a route, if it knows it; returns when it does."""
        await self._is_started()
        if not self._forget(self.validate_routespec(routespec)):
            return
        try:
            await self._take_effect()
        except OSError as error:
            # It does not answer, or the disk is full: no reason to leave the server running.
            self.log.error("traefik may still know the route %s: %s", routespec, error)

    def _forget(self, routespec: str) -> bool:
        """Have a route in no later text; whether there was one."""
        name = generate_alias(routespec, "router")
        known = self.dynamic_config["jupyterhub"]["routes"].pop(name, None)
        if known:
            self.dynamic_config["http"]["routers"].pop(known["router"], None)
            self.dynamic_config["http"]["services"].pop(known["service"], None)
        return known is not None

    async def _is_started(self) -> None:
        if self._start_future and not self._start_future.done():
            await self._start_future

    async def _take_effect(self) -> None:
        """Return when traefik goes by what `dynamic_config` holds now.

        Whoever asks while it is being told of earlier changes waits for the next time, with all
        others who do: 990 routes at once take a second instead of 160.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._tell(after=self._current))
        await asyncio.shield(self._next)

    async def _tell(self, after: asyncio.Future[None] | None) -> None:
        if after:
            await asyncio.wait([after])
        self._current, self._next = self._next, None
        async with self.mutex:
            self._revise()
            self._persist_dynamic_config()
        loop, pause_s = asyncio.get_running_loop(), ASKED_FIRST_S
        latest = loop.time() + self.check_route_timeout
        while not await self._is_told():
            if loop.time() > latest:
                raise TimeoutError("traefik does not take up its routes")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * ASKED_MORE, ASKED_LAST_S)

    def _revise(self) -> None:
        """Have a route that tells one text from another: traefik is asked for it, not for each."""
        self._revision = f"/revision/{secrets.token_hex(8)}"
        self.dynamic_config["http"]["routers"][_REVISION] = {
            "rule": f"Path(`{self._revision}`)",
            "entryPoints": [self.traefik_api_entrypoint],
            "service": "noop@internal",
        }

    async def _is_told(self) -> bool:
        """Whether traefik goes by what was written last."""
        try:
            await self._traefik_api_request(self._revision)
        except HTTPClientError as error:
            return bool(error.code == 418)  # what noop@internal answers
        except OSError:
            pass
        return False

    async def _setup_traefik_dynamic_config(self) -> None:
        # Certificates are `Front`'s business: traefik may not read the administrator's files.
        self.ssl_cert = self.ssl_key = ""
        await super()._setup_traefik_dynamic_config()

    async def _wait_for_static_config(self) -> None:
        # Until traefik has read the rules with our password's hash it refuses us; that is no error.
        await exponential_backoff(
            self._is_known_to_traefik,
            "the proxy did not take up its dynamic configuration",
            start_wait=0.02,
            timeout=self.check_route_timeout,
        )
        await super()._wait_for_static_config()
        PeriodicCallback(self._repair_rules, RULES_LOOKED_AT_MS).start()

    async def _repair_rules(self) -> None:
        """Write the rules again if somebody else has, or a full disk: nobody has a route then."""
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

    async def _is_known_to_traefik(self) -> bool:
        try:
            await self._traefik_api_request("/api/overview")
        except HTTPClientError as error:
            if error.code in (401, 404, 599):
                return False
            raise
        except ConnectionRefusedError:
            return False
        return True
