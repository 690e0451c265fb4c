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
import contextlib
import datetime
import hashlib
import ipaddress
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from jupyterhub_traefik_proxy.traefik_utils import deep_merge, generate_alias
from tornado.httpclient import HTTPClientError
from tornado.ioloop import PeriodicCallback
from traitlets import Enum, Int, List, TraitError, Unicode, default, observe, validate
from traitlets.config import Config
from traitlets.log import get_logger

from littlest_hub.errors import LittlestHubError
from littlest_hub.files import write
from littlest_hub.https import CHALLENGES, Https, Pair, state_of, wanted
from littlest_hub.layout import Layout
from littlest_hub.routes import RulesFile
from littlest_hub.services.listener import listeners, who_listens
from littlest_hub.services.proxy import (
    API_ENTRY_POINT,
    HTTPS_ENTRY_POINT,
    PUBLIC_ENTRY_POINT,
    READY_ENTRY_POINT,
    static_config,
    to_toml,
)
from littlest_hub.traefik import CANDIDATE, MAKESHIFT

if TYPE_CHECKING:
    from littlest_hub.config import Surroundings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import toml as tomllib

# RFC 3986 2.2: what traefik leaves percent-encoded in the path that it compares with a rule
# (routing path, https://doc.traefik.io/traefik/security/request-path/), so that an encoded slash
# never becomes a separator.
_RESERVED = frozenset(b":/?#[]@!$&'()*+,;=%")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
ASKED_FIRST_S, ASKED_LAST_S, ASKED_MORE = 0.004, 0.2, 1.3
"""How long until traefik is asked again whether it knows a route: first, at most, each time."""
_REVISION = "littlest-hub-revision"
_MAKESHIFT_YEARS = 20
RULES_LOOKED_AT_MS = 2000
"""How often the hub makes sure that the proxy's rules are those that it wrote."""
FRONT_LOOKED_AT_MS = 2000
"""How often the hub looks whether a certificate was replaced, or is there at last."""
_SMALL = 256
"""How many addresses a network may have for tornado to be told each of them."""
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")
# What hub and supervisor rely on: not for c.HubProxy.extra_static_config to change.
_OURS = (
    ("api", "basePath"),
    ("entryPoints", PUBLIC_ENTRY_POINT, "address"),
    ("entryPoints", HTTPS_ENTRY_POINT, "address"),
    ("entryPoints", API_ENTRY_POINT),
    ("entryPoints", READY_ENTRY_POINT),
    ("providers", "file"),
)


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
        # The certificate is `apply`'s business: traefik may not read the administrator's file.
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


# --- static configuration and HTTPS


class Front:
    """What visitors meet before any route: entry points, certificate, the way from http to https.

    Args:
        layout: whose proxy.
        https: what fragments ask for; None: no HTTPS.
        static: text of the static configuration.
    """

    def __init__(self, layout: Layout, https: Https | None, static: str) -> None:
        self.layout = layout
        self.https = https
        self.is_changed = False
        """Whether the proxy ran with another static configuration before."""
        self._static = static
        self._is_applied = False
        self._pair: Pair | None = None
        """What visitors get, or, with ACME, what they get until there is something better."""
        self._is_waiting = https is not None
        """Whether visitors do not get yet what they should."""
        self._seen = self._state()
        self._used: tuple[object, ...] | None = None
        """The state of files that were read and fit."""
        self._complaint = ""

    # --- when the configuration changes

    def apply(self) -> None:
        """Have the proxy run with this, or go on as it is.

        Raises:
            LittlestHubError: why it goes on as it is.
        """
        layout, https = self.layout, self.https
        files = (layout.https_config, layout.redirect_config)
        was_on = layout.https_marker.exists()
        was_at = _https_address(layout)
        before: dict[Path, str | None] = {}
        try:
            before = {file: file.read_text() if file.exists() else None for file in files}
            seen = self._state()
            dynamic = self._dynamic()
            self._used = seen
            if self._pair:
                layout.makeshift_config.unlink(missing_ok=True)
            if https:
                # Whoever wants all certificates anew removes it; the proxy's when it starts.
                layout.acme.mkdir(mode=0o700, parents=True, exist_ok=True)
                write(layout.https_config, dynamic)
                if not (was_on and self._is_heard(https)):
                    self._listen(https)
            else:
                self._redirect(False)
            self.is_changed = _apply_static_config(layout, self._static)
            # Once people are led there, they are; a name that is new does not change this.
            is_led = was_on and before[layout.redirect_config] is not None
            self._redirect(bool(https) and is_led and was_at == _https_address(layout))
        except (LittlestHubError, OSError) as error:
            with contextlib.suppress(OSError):
                if not was_on:
                    self._close()
                for file, text in before.items():
                    file.unlink(missing_ok=True) if text is None else write(file, text)
            self._complaint = _said_of(error)
            if isinstance(error, LittlestHubError):
                raise
            raise LittlestHubError(self._complaint) from error
        self._is_applied = True
        if https:
            with contextlib.suppress(OSError):  # `look_after` tries again and says why
                self._lead()
        else:
            if was_on:
                self._close()
            layout.https_config.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk; traefik then makes its own
            self._provide_makeshift()

    def _provide_makeshift(self) -> None:
        """Have a certificate for whoever gets no other, unless there is another for them.

        traefik would make one (RSA, 2048 bits) with every change of routes: nine tenths of its work
        with ten of them, 50 ms.
        """
        makeshift = self.layout.makeshift_config
        others = [file for file in makeshift.parent.glob("*.toml") if file != makeshift]
        # The first of two counts, and traefik warns of the second at every change.
        if any(_has_default_certificate(file) for file in others):
            makeshift.unlink(missing_ok=True)
        elif not makeshift.exists():
            write(makeshift, to_toml(makeshift_certificate()))

    def _dynamic(self) -> str:
        https = self.https
        if not https:
            return ""
        try:
            if https.files:
                self._pair = Pair.read(*https.files)
            else:
                self._pair = Pair.configured(self.layout.https_config)
            if https.acme and https.acme.ca_file:
                write(self.layout.acme_ca, Path(https.acme.ca_file).read_text())
        except ValueError as error:
            raise LittlestHubError(f"HTTPS: {error}") from error
        return to_toml(https.dynamic(self._pair))

    def _is_heard(self, https: Https) -> bool:
        """Whether systemd listens where it should: a drop-in may have moved the port."""
        is_taken = any(listener.port == https.port for listener in listeners())
        return is_taken and _is_active(self.layout.proxy_https_socket)

    def _listen(self, https: Https) -> None:
        """Have systemd listen at the port, and the proxy's supervisor get the sockets."""
        layout = self.layout
        if _is_active(layout.proxy_https_socket):
            _systemctl("stop", layout.proxy_https_socket)
        if who := who_listens(https.port):
            raise LittlestHubError(
                f"HTTPS: port {https.port} is taken by {who}",
                f"See: ss -ltnp 'sport = :{https.port}'",
            )
        write(layout.https_marker, "")
        if not _is_active(layout.proxy_service):
            return
        # systemd starts no socket under a service that runs. traefik runs on meanwhile.
        _systemctl("restart", layout.proxy_service)
        if not self._is_heard(https):
            raise LittlestHubError(
                f"HTTPS: {layout.proxy_https_socket} does not listen at port {https.port}",
                f"See: systemctl status {layout.proxy_https_socket}",
            )

    def _close(self) -> None:
        layout = self.layout
        layout.https_marker.unlink(missing_ok=True)
        if _is_active(layout.proxy_https_socket):
            _systemctl("stop", layout.proxy_https_socket)
            if _is_active(layout.proxy_service):
                _systemctl("restart", layout.proxy_service)

    def _redirect(self, is_wanted: bool) -> None:
        file = self.layout.redirect_config
        if self.https and is_wanted:
            write(file, to_toml(self.https.redirection()))
        else:
            file.unlink(missing_ok=True)

    def _lead(self) -> bool:
        """Lead to HTTPS, if visitors get there what they should; returns whether."""
        https = self.https
        self._is_waiting = True
        if not https or not https.is_served(self._pair):
            return False
        if https.acme:
            write(self.layout.https_config, to_toml(https.dynamic(None)))
            self._pair = None
            self._provide_makeshift()
        self._redirect(True)
        self._is_waiting = False
        return True

    # --- from now on

    def _state(self) -> tuple[object, ...]:
        return state_of(self.https.files) if self.https and self.https.files else ()

    async def look_after(self) -> None:
        """Take up files that were replaced, and lead to HTTPS as soon as there is a certificate."""
        try:
            await self._look()
        except (LittlestHubError, OSError) as error:
            said = _said_of(error)
            if said != self._complaint:
                get_logger().error("%s; what was there before goes on", said)
            self._complaint = said

    async def _look(self) -> None:
        if not self.https:
            return
        log, loop = get_logger(), asyncio.get_running_loop()
        if self._is_waiting and self._is_applied and await loop.run_in_executor(None, self._lead):
            log.info("HTTPS: visitors get the certificate; http leads to https from now on")
        state = self._state()
        # As last time: whoever replaces them has written both.
        is_settled, self._seen = state == self._seen, state
        if not is_settled or state == self._used:
            return
        if self._is_applied:
            if write(self.layout.https_config, self._dynamic()):
                log.info("HTTPS: a certificate was replaced")
        else:
            await loop.run_in_executor(None, self.apply)
            log.info("HTTPS: the certificate can be used by now")
        self._used, self._complaint = state, ""


def makeshift_certificate() -> dict[str, Any]:
    """The dynamic configuration with a certificate like the one that traefik makes itself."""
    # Not when the hub starts: it takes 50 ms to import.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    # By its name the supervisor knows it, and traefik too.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, MAKESHIFT)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _MAKESHIFT_YEARS))
        .sign(key, hashes.SHA256())
    )
    pair = {
        "certFile": certificate.public_bytes(Encoding.PEM).decode(),
        "keyFile": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    return {"tls": {"stores": {"default": {"defaultCertificate": pair}}}}


def _has_default_certificate(file: Path) -> bool:
    try:
        text = file.read_text()
        if "defaultCertificate" not in text:
            return False
        stores = tomllib.loads(text)["tls"]["stores"]
        return "defaultCertificate" in stores.get("default", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def front_of(layout: Layout, c: Config, surroundings: Surroundings) -> Front | None:
    """What the configuration says of the proxy: ours, and what the fragments add to it.

    Args:
        layout: whose proxy.
        c: the configuration, fragments included.
        surroundings: where the proxy listens.

    Returns:
        What is to be applied, and looked after from then on; None: the proxy is not ours.

    Raises:
        LittlestHubError: the fragments change what is ours, or contradict themselves.
    """
    if not _is_ours(c.JupyterHub.get("proxy_class")):
        return None
    # As if it were to start traefik: otherwise it would look for one at once.
    proxy = HubProxy(config=c, should_start=True)
    https = wanted(c.JupyterHub, proxy, surroundings.https_port, host=surroundings.public_host)
    ours = static_config(
        public=f"{surroundings.public_host}:{surroundings.public_port}",
        api=surroundings.proxy_api,
        dynamic_config=layout.dynamic_config,
        https=https.entry_point() if https else None,
        trusted_proxies=proxy.trusted_proxies,
    )
    if https and https.acme:
        ours["certificatesResolvers"] = https.acme.static(layout)
    return Front(layout, https, to_toml(merged(ours, proxy.extra_static_config)))


def _said_of(error: LittlestHubError | OSError) -> str:
    if isinstance(error, LittlestHubError):
        return error.message
    return f"HTTPS: {error.filename or 'the configuration of the proxy'}: {error.strerror}"


def _https_address(layout: Layout) -> object:
    """Where the static configuration on disk has HTTPS; None: nowhere."""
    try:
        configuration = tomllib.loads(layout.static_config.read_text())
    except (OSError, ValueError):
        return None
    return _at(configuration, ("entryPoints", HTTPS_ENTRY_POINT, "address"))


def _apply_static_config(layout: Layout, text: str) -> bool:
    """Returns whether the proxy ran with another one before."""
    file = layout.static_config
    candidate = file.with_name(CANDIDATE)
    # Of a hub that was killed while it tried one.
    candidate.unlink(missing_ok=True)
    if file.is_file() and file.read_text() == text:
        return False
    try:
        if _is_active(layout.proxy_service):
            write(candidate, text)
            _reload_proxy(layout)
        # Otherwise it starts with it when it starts.
        write(file, text)
    finally:
        candidate.unlink(missing_ok=True)
    return True


def merged(ours: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Our static configuration with what a fragment adds, in our spelling: traefik has no case.

    Raises:
        LittlestHubError: it changes what hub and supervisor rely on.
    """
    result: dict[str, Any] = _merged(ours, extra, ())
    # Not in `extra` alone: a table may be replaced by something that is none.
    for path in _OURS:
        # Without HTTPS of ours, an entry point of that name is anybody's.
        is_free = path[:2] == ("entryPoints", HTTPS_ENTRY_POINT) and not _at(ours, path)
        if _at(result, path) != _at(ours, path) and not is_free:
            raise LittlestHubError(
                f"c.HubProxy.extra_static_config: {'.'.join(path)} is not for fragments to change",
                "Addresses: change ListenStream= of the socket unit",
            )
    return result


def _merged(ours: Any, extra: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(ours, dict):
        return extra
    if not isinstance(extra, dict):
        where = ".".join(path) or "the whole"
        raise LittlestHubError(
            f"c.HubProxy.extra_static_config: {where}: expected a dict, not {extra!r}"
        )
    result = dict(ours)
    spelled = {name.casefold(): name for name in ours}
    for name, value in extra.items():
        ours_too = spelled.get(str(name).casefold(), str(name))
        result[ours_too] = _merged(ours.get(ours_too), value, (*path, ours_too))
    return result


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _is_ours(proxy_class: Any) -> bool:
    return isinstance(proxy_class, type) and issubclass(proxy_class, HubProxy)


def _reload_proxy(layout: Layout) -> None:
    reload = _systemctl("reload", layout.proxy_service)
    if reload.returncode:
        status = _systemctl("show", "--property=StatusText", "--value", layout.proxy_service)
        _, _, reason = status.stdout.strip().partition("not reloaded: ")
        raise LittlestHubError(
            f"The proxy goes on as it was: {reason or reload.stderr.strip()}",
            f"See c.HubProxy.extra_static_config, and: journalctl -u {layout.proxy_service}",
        )


def _is_active(unit: str) -> bool:
    return _systemctl("is-active", "--quiet", unit).returncode == 0


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True)
