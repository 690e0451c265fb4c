"""Names and tokens of people for private repositories: in memory, each for one launch.

They are kept from the moment at which they have opened a repository until its server starts. They
are on no page, and in no file: whoever launches again types them again.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

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
    """Credentials, with their owner and the repository that they open."""

    owner: str
    repository: str
    credentials: Credentials
    end: asyncio.TimerHandle


class Access:
    """The names and tokens that people have typed, each under a handle that nobody can guess."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def keep(self, owner: str, repository: str, credentials: Credentials) -> str:
        """Keep credentials for one launch, and return their handle.

        Args:
            owner: digest of the person.
            repository: the address that they have opened.
            credentials: as somebody has typed them.
        """
        own = [handle for handle, held in self._held.items() if held.owner == owner]
        for each in own[: max(0, len(own) - MOST + 1)]:
            self.forget(each)
        handle = secrets.token_hex(16)
        self._hold(handle, owner, repository, credentials)
        return handle

    def of(self, handle: str, owner: str, repository: str) -> Credentials | None:
        """Return credentials; None: they are forgotten, or others'."""
        held = self._held.get(handle)
        if held is None or (held.owner, held.repository) != (owner, repository):
            return None
        return held.credentials

    def begin(self, handle: str, launch: str) -> None:
        """Keep credentials under the name of the launch that has begun with them."""
        if held := self._held.get(handle):
            self.forget(handle)
            self._hold(launch, held.owner, held.repository, held.credentials)

    def forget(self, handle: str) -> None:
        """Forget credentials, if they are known."""
        if held := self._held.pop(handle, None):
            held.end.cancel()

    def _hold(self, handle: str, owner: str, repository: str, credentials: Credentials) -> None:
        end = asyncio.get_running_loop().call_later(KEPT_S, self.forget, handle)
        self._held[handle] = _Held(owner, repository, credentials, end)
