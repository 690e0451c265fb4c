"""The proxy's routes on disk: written by the hub, read by traefik, and by whoever examines both."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.proxy.supervisor import RULES_HEADER
from littlest_hub.system.files import write
from littlest_hub.system.toml import to_toml


class _Route(NamedTuple):
    known: dict[str, Any]
    """What the hub knows of it, as jupyterhub-traefik-proxy does."""
    router: dict[str, Any]
    service: dict[str, Any]

    def text(self) -> str:
        """As it is in the file."""
        # traefik takes "{{" for the beginning of a Go template, even in a comment.
        comment = json.dumps(self).replace("{{", r"{\u007b").replace("\x7f", r"\u007f")
        name, service = self.known["router"], self.known["service"]
        tables = {"http": {"routers": {name: self.router}, "services": {service: self.service}}}
        return f"# {comment}\n{to_toml(tables)}"


class RulesFile:
    """The dynamic configuration on disk, readable by whoever gets at its directory: the proxy.

    Replaces jupyterhub_traefik_proxy.traefik_utils.TraefikConfigFileHandler, which leaves it
    readable by the hub alone. What the hub has to know of a route is a comment before it: to read
    and write a thousand as TOML takes Python 0.1 s, and traefik a quarter of what it does with each
    change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: tuple[int, ...] | None = None
        self._texts: dict[str, tuple[_Route, str]] = {}

    def load(self) -> dict[str, Any]:
        """The routes that were written last, and nothing else.

        The API's credentials are each hub's own, and c.HubProxy.extra_dynamic_config is what it is
        now, not what it was.

        Raises:
            FileNotFoundError: there are none.
        """
        try:
            text = self.path.read_text()
            if not text.startswith(RULES_HEADER):
                raise ValueError(f"{self.path} is not ours")
            lines = text.split("\n")
            known = [_Route(*json.loads(line[2:])) for line in lines if line.startswith("# [")]
            return {
                "http": {
                    "routers": {each.known["router"]: each.router for each in known},
                    "services": {each.known["service"]: each.service for each in known},
                },
                "jupyterhub": {"routes": {each.known["router"]: each.known for each in known}},
            }
        except (ValueError, KeyError, TypeError):
            # Not ours, or cut off by a full disk: the hub knows all routes and writes them again.
            raise FileNotFoundError(self.path) from None

    def atomic_dump(self, data: dict[str, Any]) -> None:
        """Replace the file, so that traefik reads either what was or what is."""
        # Should this fail, the file is not as it should be, until it is written again.
        self._written = ()
        # After a power failure the hub writes it anew; each spawn waits for this. Through another
        # directory: traefik reads all of this one for each name that comes or goes in it.
        outside = self.path.parent.parent
        write(self.path, self._text(data), is_lasting=False, through=outside)
        self._written = self._state()

    def _text(self, data: dict[str, Any]) -> str:
        hub = data.get("jupyterhub", {})
        http = data.get("http", {})
        routers, services = dict(http.get("routers", {})), dict(http.get("services", {}))
        texts = {}
        for name, known in hub.get("routes", {}).items():
            route = _Route(known, routers.pop(name), services.pop(known["service"]))
            written, text = self._texts.get(name, (None, ""))
            if written != route:
                route = copy.deepcopy(route)
                text = route.text()
            texts[name] = route, text
        self._texts = texts
        rest = {key: value for key, value in data.items() if key not in ("http", "jupyterhub")}
        left = {**http, "routers": routers, "services": services}
        # traefik does not take empty tables.
        if left := {kind: entries for kind, entries in left.items() if entries}:
            rest["http"] = left
        return "".join([RULES_HEADER, to_toml(rest), *(text for _, text in texts.values())])

    @property
    def is_as_written(self) -> bool:
        """Whether nobody has changed or removed what `atomic_dump` wrote last."""
        return self._written == self._state()

    def _state(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
