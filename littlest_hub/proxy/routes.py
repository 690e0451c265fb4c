"""The proxy's routes on disk: written by the hub, read by traefik and by `littlest-hub doctor`."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.proxy.certificates import ROUTES_HEADER
from littlest_hub.system.files import fingerprint, write
from littlest_hub.system.toml import to_toml

HUB_LIMIT, HUB_MARK = "littlest-hub-limit", "littlest-hub-mark"
"""The middlewares of the hub's route, if the file has them."""
HUB_TRANSPORT = "littlest-hub-transport"
"""The `serversTransport` with which traefik connects to the hub, if the file has it."""
HUB_IDLE_MS = 250
"""Time for which traefik keeps an idle connection to the hub: long enough for the requests of one
page. A hub that ends waits until traefik has closed them, because only the client of a connection
can close it without losing a request that is on its way (RFC 9112, 9.5)."""
MARK_HEADER = "X-Littlest-Hub-Mark"
"""A header that only the proxy knows: requests with it came through the proxy, which has set their
X-Forwarded-For. Everyone on this machine can send requests to the hub's own port."""
REQUESTS_PER_SOURCE = 4096
"""The most requests of one address that are at the hub: half of the connections that it accepts,
and far more than a class behind one address has. Also more than the unfinished ones that the hub
keeps (`system.http_server.BoundedServer`), so that these alone do not shut out others at that
address."""


def hub_tables(mark: str, trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """Return what the hub's route refers to: middlewares, and how traefik connects to the hub.

    Args:
        mark: the secret that marks requests to the hub.
        trusted_proxies: addresses and networks of the proxies in front of traefik.
    """
    # Behind other proxies: the address before the last of them. One IPv6 network is one source.
    strategy: dict[str, Any] = {"ipv6Subnet": 64}
    if trusted_proxies:
        strategy["excludedIPs"] = list(trusted_proxies)
    limit = {"amount": REQUESTS_PER_SOURCE, "sourceCriterion": {"ipStrategy": strategy}}
    # The first is traefik's default.
    timeouts = {"dialTimeout": "30s", "idleConnTimeout": f"{HUB_IDLE_MS}ms"}
    return {
        "middlewares": {
            HUB_LIMIT: {"inFlightReq": limit},
            HUB_MARK: {"headers": {"customRequestHeaders": {MARK_HEADER: mark}}},
        },
        "serversTransports": {HUB_TRANSPORT: {"forwardingTimeouts": timeouts}},
    }


class _Route(NamedTuple):
    """A route, in the order of the list in its comment."""

    record: dict[str, Any]
    """The hub's own record of it, as jupyterhub-traefik-proxy makes it."""
    router: dict[str, Any]
    service: dict[str, Any]

    def text(self, extras: Sequence[str]) -> str:
        """Return the route as it is in the file.

        Args:
            extras: those of `HUB_LIMIT`, `HUB_MARK`, and `HUB_TRANSPORT` that the file has. They
                are not in the comment: an earlier release has none of these names.
        """
        # json dumps a named tuple as a list.
        # traefik takes "{{" for the beginning of a Go template, even in a comment.
        comment = json.dumps(self).replace("{{", r"{\u007b").replace("\x7f", r"\u007f")
        name, service = self.record["router"], self.record["service"]
        router, target = self.router, self.service
        if extras and self.record["data"].get("hub"):
            middlewares = [each for each in extras if each != HUB_TRANSPORT]
            router = {**router, "middlewares": middlewares}
            if HUB_TRANSPORT in extras:
                balancer = {**target["loadBalancer"], "serversTransport": HUB_TRANSPORT}
                target = {**target, "loadBalancer": balancer}
        tables = {"http": {"routers": {name: router}, "services": {service: target}}}
        return f"# {comment}\n{to_toml(tables)}"


class RoutesFile:
    """The hub's part of the dynamic configuration on disk, readable by the proxy.

    It replaces jupyterhub_traefik_proxy.traefik_utils.TraefikConfigFileHandler, whose file only the
    hub can read. Before each route is a comment, "# [...]", with the route as JSON, a list of the
    fields of `_Route`. `load` reads only these comments: parsing a thousand routes as TOML would
    take Python 0.1 s. And the hub's own record is in no table, since that would cost traefik a
    quarter of its work at each change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: object = None
        """Fingerprint of the file as written last; None: not written yet, or writing failed."""
        self._texts: dict[tuple[str, tuple[str, ...]], tuple[_Route, str]] = {}
        """Each route's text, by the name of its router and the extras of the file: most routes are
        as in the last file."""

    def load(self) -> dict[str, Any]:
        """Return the routes that were written last, and nothing else.

        Each hub writes the rest of the file anew: its own credentials for the API, and
        c.HubProxy.extra_dynamic_config, which may have changed.

        Raises:
            FileNotFoundError: there are none, or the file is damaged: upstream takes this error for
                "no routes yet".
        """
        try:
            text = self.path.read_text()
            if not text.startswith(ROUTES_HEADER):
                raise ValueError(f"{self.path} has no header")
            lines = text.split("\n")
            routes = [_Route(*json.loads(line[2:])) for line in lines if line.startswith("# [")]
            return {
                "http": {
                    "routers": {each.record["router"]: each.router for each in routes},
                    "services": {each.record["service"]: each.service for each in routes},
                },
                "jupyterhub": {"routes": {each.record["router"]: each.record for each in routes}},
            }
        except (ValueError, KeyError, TypeError):
            # Changed, or cut off by a full disk: the hub knows all routes and writes them again.
            raise FileNotFoundError(self.path) from None

    def atomic_dump(self, data: dict[str, Any]) -> None:
        """Replace the file in one step, so that traefik reads the old or the new one."""
        # If this fails, the file counts as changed until it is written again.
        self._written = None
        # Not flushed: each spawn waits for this, and after a power failure the hub writes it again.
        # Through another directory: traefik reads all of this one for each name that comes or goes.
        outside = self.path.parent.parent
        write(self.path, self._text(data), is_durable=False, scratch=outside)
        self._written = fingerprint(self.path)

    def _text(self, data: dict[str, Any]) -> str:
        hub = data.get("jupyterhub", {})
        http = data.get("http", {})
        routers, services = dict(http.get("routers", {})), dict(http.get("services", {}))
        found = {**http.get("middlewares", {}), **http.get("serversTransports", {})}
        extras = tuple(name for name in (HUB_LIMIT, HUB_MARK, HUB_TRANSPORT) if name in found)
        texts = {}
        for name, record in hub.get("routes", {}).items():
            route = _Route(record, routers.pop(name), services.pop(record["service"]))
            written, text = self._texts.get((name, extras), (None, ""))
            if written != route:
                # A copy, since the caller changes these dictionaries in place.
                route = copy.deepcopy(route)
                text = route.text(extras)
            texts[name, extras] = route, text
        self._texts = texts
        rest = {key: value for key, value in data.items() if key not in ("http", "jupyterhub")}
        left = {**http, "routers": routers, "services": services}
        # traefik does not take empty tables.
        if left := {kind: entries for kind, entries in left.items() if entries}:
            rest["http"] = left
        return "".join([ROUTES_HEADER, to_toml(rest), *(text for _, text in texts.values())])

    @property
    def is_as_written(self) -> bool:
        """True while the file is as `atomic_dump` wrote it last."""
        return self._written == fingerprint(self.path)
