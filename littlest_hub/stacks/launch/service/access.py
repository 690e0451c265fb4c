"""Names and tokens of people for private repositories: in memory, each for one launch.

They are kept from the moment at which they have opened a repository until its server starts. They
are on no page, and in no file: whoever launches again types them again.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.resolver.connection import Credentials

KEPT_S = 3600
"""The longest time for which they are kept; the longest build is shorter."""
MOST = 5
"""The most that are kept of one person, the latest."""


class ForgottenError(LittlestHubError):
    """A launch of a private repository whose name and token are not known any more."""


@dataclass(frozen=True)
class _Held:
    """Credentials, whose they are, and for which repository."""

    owner: str
    repository: str
    credentials: Credentials
    end: asyncio.TimerHandle


class Access:
    """The names and tokens that people have typed, by names that nobody can guess."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def keep(self, owner: str, repository: str, credentials: Credentials) -> str:
        """Keep credentials for one launch, and return their name.

        Args:
            owner: digest of the person.
            repository: the address that they have opened.
            credentials: as somebody has typed them.
        """
        own = [name for name, held in self._held.items() if held.owner == owner]
        for each in own[: max(0, len(own) - MOST + 1)]:
            self.forget(each)
        name = secrets.token_hex(16)
        end = asyncio.get_running_loop().call_later(KEPT_S, self.forget, name)
        self._held[name] = _Held(owner, repository, credentials, end)
        return name

    def of(self, name: str, owner: str, repository: str) -> Credentials | None:
        """Return credentials; None: they are forgotten, or others'."""
        held = self._held.get(name)
        if held is None or (held.owner, held.repository) != (owner, repository):
            return None
        return held.credentials

    def begin(self, name: str, launch: str) -> None:
        """Know credentials under the name of the launch that has begun with them."""
        if name in self._held:
            held = self._held[name]
            self.forget(name)
            end = asyncio.get_running_loop().call_later(KEPT_S, self.forget, launch)
            self._held[launch] = replace(held, end=end)

    def forget(self, name: str) -> None:
        """Forget credentials, if they are known."""
        if held := self._held.pop(name, None):
            held.end.cancel()
