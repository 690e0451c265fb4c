"""The hub's side of the guard: which ports it has to hold, and for which routes.

The hub sends each port to the guard (`littlest_hub.helpers.guard`) before a route leads there, and
again after the route is gone. From time to time it sends the whole list, so that hub and guard may
each be killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from tornado.log import app_log

from littlest_hub.helpers.held_ports import FOREIGN, FREE, IMPOSSIBLE, Place, Refusal, Target
from littlest_hub.system.addresses import is_address, is_local

_ANSWER_TIMEOUT_S = 10
_ANSWER_BYTES = 1 << 22
_LOOKUP_TIMEOUT_S = 2
"""Time for which a name server may delay a route; names of this machine are in /etc/hosts."""


class Guard:
    """The guard, as the hub knows it."""

    def __init__(self) -> None:
        self.address: Path | None = None
        """Its control socket; None: there is none, as for a hub in the foreground."""
        self._wanted: dict[Place, Target] = {}
        self._cgroups: dict[Place, str | None] = {}
        """Cgroups of servers that an earlier hub has started; None: not to be held."""
        self._routed: dict[str, Place] = {}
        self._given_up: set[Place] = set()
        """Places of ended servers to which a route still led."""
        self._lock = asyncio.Lock()
        self._log = app_log
        self._warned: set[str] = set()

    async def hold(self, target: Target) -> Refusal | None:
        """Request that a port be held; return the reason if it is not."""
        if self.address is None:
            return Refusal(*target.place, IMPOSSIBLE)
        self._cgroups.pop(target.place, None)
        self._given_up.discard(target.place)
        self._wanted[target.place] = target
        refused = await self._request([target])
        if refused and refused[0].reason != IMPOSSIBLE:
            self._wanted.pop(target.place, None)
        return refused[0] if refused else None

    async def release(self, place: Place) -> None:
        """Give up a port, unless a route leads there."""
        if self.address is None:
            return
        if place in self._routed.values():
            self._given_up.add(place)
            return
        self._given_up.discard(place)
        self._cgroups.pop(place, None)
        if self._wanted.pop(place, None):
            await self._request(release=[place])

    def expect(self, place: Place, cgroup: str | None) -> None:
        """Remember the cgroup of a server that is running.

        Args:
            place: its address and port.
            cgroup: as ControlGroup= (systemctl(1)); None: do not hold its port.
        """
        if place not in self._wanted:
            self._cgroups[place] = cgroup

    # --- routes

    async def hold_route(self, spec: str, url: str) -> Refusal | None:
        """Request a hold on the port of a new route; return a reason against the route, if any."""
        place = await local_place(url) if self.address else None
        if place is None:
            return None
        self._routed[spec] = place
        cgroup = self._cgroups.get(place, "")
        if place in self._wanted or cgroup is None:
            return None
        refused = await self.hold(Target(*place, cgroup))
        if refused is None or not _is_lost(refused, is_ours=bool(cgroup)):
            return None
        self._routed.pop(spec, None)
        return refused

    async def release_route(self, spec: str) -> None:
        """Give up the port of a route that is gone."""
        place = self._routed.pop(spec, None)
        if place:
            await self.release(place)

    async def keep(self, routes: Iterable[tuple[str, str]] = ()) -> list[tuple[str, Refusal]]:
        """Tell the guard about all ports, and return the routes that have to go.

        Args:
            routes: names and targets of routes that an earlier hub has made.
        """
        if self.address is None:
            return []
        found = list(routes)
        places = await asyncio.gather(*(local_place(url) for _, url in found))
        for (spec, _), place in zip(found, places, strict=True):
            if place:
                self._routed[spec] = place
                if (cgroup := self._cgroups.get(place, "")) is not None:
                    self._wanted.setdefault(place, Target(*place, cgroup))
        # Another route may have replaced the one that led there.
        for place in self._given_up - set(self._routed.values()):
            self._given_up.discard(place)
            self._wanted.pop(place, None)
        lost = {}
        for each in await self._request(is_all=True):
            place = (each.address, each.port)
            target = self._wanted.get(place)
            if target and _is_lost(each, is_ours=bool(target.cgroup)):
                lost[place] = each
            if each.reason != IMPOSSIBLE:
                # Otherwise the guard would later hold the port of any program that listens there.
                self._wanted.pop(place, None)
        return [(spec, lost[place]) for spec, place in self._routed.items() if place in lost]

    # --- requests

    async def _request(
        self,
        targets: Iterable[Target] = (),
        *,
        release: Iterable[Place] = (),
        is_all: bool = False,
    ) -> list[Refusal]:
        hold = list(targets)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                # The guard answers in this order.
                async with self._lock:
                    hold = list(self._wanted.values()) if is_all else hold
                    request = {"hold": hold, "release": list(release), "is_all": is_all}
                    reading, writing = await self._send(request)
                with contextlib.closing(writing):
                    refused = [Refusal(*each) for each in json.loads(await reading.readline())]
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            reason = f"{self.address}: {error or type(error).__name__}"
            refused = [Refusal(*each.place, IMPOSSIBLE, reason) for each in hold]
        for detail in {each.detail for each in refused if each.reason == IMPOSSIBLE}:
            if detail not in self._warned:
                self._warned.add(detail)
                self._log.warning(
                    "Ports of user servers are not held (%s): if a server ends unnoticed, another"
                    " user's program can take its port",
                    detail,
                )
        return refused

    async def _send(self, request: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reading, writing = await asyncio.open_unix_connection(self.address, limit=_ANSWER_BYTES)
        writing.write(json.dumps(request).encode() + b"\n")
        return reading, writing


def _is_lost(refused: Refusal, *, is_ours: bool) -> bool:
    """Return whether no route may lead to a port.

    A port that no program has may be that of a container, to which the kernel passes packets on.
    """
    return refused.reason == FOREIGN or (refused.reason == FREE and is_ours)


async def local_place(url: str) -> Place | None:
    """Return address and port of a URL, if the address is one of this machine; None otherwise."""
    try:
        split = urlsplit(url)
        address = await address_of(split.hostname or "")
        return (address, split.port) if split.port and is_local(address) else None
    # OSError: a name that cannot be resolved now, or a version of IP that this machine does not
    # have, so no address of this machine. ValueError: an invalid URL or name.
    except (OSError, ValueError):
        return None


async def address_of(host: str, family: int = socket.AF_UNSPEC) -> str:
    """Return the address of a host: itself, or one that its name stands for.

    Raises:
        OSError: the name has no address of the family, or no name server answers.
    """
    return host if is_address(host) else await _resolved(host, family)


async def _resolved(host: str, family: int) -> str:
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM
    async with asyncio.timeout(_LOOKUP_TIMEOUT_S):
        (*_, (address, *_)), *_ = await loop.getaddrinfo(host, None, family=family, type=kind)
    return str(address)


GUARD = Guard()
"""The guard of this installation."""
