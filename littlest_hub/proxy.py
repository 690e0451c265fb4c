"""traefik, told where everybody is.

jupyterhub-traefik-proxy writes traefik's dynamic configuration; what follows is what it takes for a
traefik that runs as somebody else, for names that are hostile, and for an API that is asked often.
"""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from tornado.httpclient import HTTPClientError
from traitlets import default, observe

from littlest_hub.files import write
from littlest_hub.services.proxy import to_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import toml as tomllib

# RFC 3986 2.2: what traefik leaves percent-encoded in the path that it compares with a rule
# (routing path, https://doc.traefik.io/traefik/security/request-path/), so that an encoded slash
# never becomes a separator.
_RESERVED = frozenset(b":/?#[]@!$&'()*+,;=%")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")
# Router and middleware that jupyterhub-traefik-proxy makes for the API.
_API_ROUTER, _API_MIDDLEWARE = "route_api", "auth_api"


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


class RulesFile:
    """The dynamic configuration on disk, readable by the proxy, which alone gets there.

    Replaces jupyterhub_traefik_proxy.traefik_utils.TraefikConfigFileHandler, which leaves it
    readable by the hub alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any]:
        """What was written last, without the API's credentials: each hub brings its own.

        Raises:
            FileNotFoundError: nothing was.
        """
        try:
            data: dict[str, Any] = tomllib.loads(self.path.read_text())
        except ValueError:
            # Not ours, or cut off by a full disk: the hub knows all routes and writes them again.
            raise FileNotFoundError(self.path) from None
        http = data.get("http", {})
        http.get("routers", {}).pop(_API_ROUTER, None)
        http.get("middlewares", {}).pop(_API_MIDDLEWARE, None)
        return data

    def atomic_dump(self, data: dict[str, Any]) -> None:
        """Replace the file, so that traefik reads either what was or what is."""
        write(self.path, to_toml(data))


class HubProxy(TraefikFileProviderProxy):  # type: ignore[misc]
    """A traefik that systemd starts and that reads what we write."""

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
        return traefik, hub

    async def _wait_for_static_config(self) -> None:
        # Until traefik has read the rules with our password's hash it refuses us; that is no error.
        await exponential_backoff(
            self._is_known_to_traefik,
            "the proxy did not take up its dynamic configuration",
            start_wait=0.02,
            timeout=self.check_route_timeout,
        )
        await super()._wait_for_static_config()

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
