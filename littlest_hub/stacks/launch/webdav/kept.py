"""Names and passwords of people for their folders, in the hub's memory until a server starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from littlest_hub.stacks.launch.resolver.connection import Credentials

KEPT_S = 3600
"""The longest time for which they are kept: a server may wait in the queue."""
MOST = 10
"""The most that are kept of one person, the latest."""


@dataclass(frozen=True)
class _Held:
    configuration: str
    credentials: Credentials
    end: asyncio.TimerHandle


class Kept:
    """Credentials, by person and server."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}

    def keep(self, person: str, server: str, configuration: str, credentials: Credentials) -> None:
        """Keep credentials for the next start of a server.

        Args:
            person: name of its owner.
            server: its name.
            configuration: the id with which it is going to be started.
            credentials: as the owner has typed them.
        """
        self.forget(person, server)
        own = [each for each in self._held if each[0] == person]
        for each in own[: max(0, len(own) - MOST + 1)]:
            self.forget(*each)
        end = asyncio.get_running_loop().call_later(KEPT_S, self.forget, person, server)
        self._held[person, server] = _Held(configuration, credentials, end)

    def of(self, person: str, server: str, configuration: str) -> Credentials | None:
        """Return credentials; None: they are not known, or for something else."""
        held = self._held.get((person, server))
        return held.credentials if held and held.configuration == configuration else None

    def forget(self, person: str, server: str) -> None:
        """Forget the credentials for a server, if they are known."""
        if held := self._held.pop((person, server), None):
            held.end.cancel()


KEPT = Kept()
"""Those of this hub."""
