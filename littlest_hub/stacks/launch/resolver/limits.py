"""Limits of fetching a repository."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from littlest_hub.errors import LittlestHubError

AT_ONCE = 4
"""Repositories that are resolved at the same time; further people wait for their turn."""


class TooMuchError(LittlestHubError):
    """A repository that exceeds a limit."""


@dataclass(frozen=True)
class Limits:
    """The most that one repository may cost."""

    pack_bytes: int = 256 << 20
    """Size of the files as the server sends them, compressed."""
    history_bytes: int = 64 << 20
    """Size of the commits as the server sends them, if they are needed to find one."""
    refs_bytes: int = 16 << 20
    """Size of the list of branches and tags."""
    files_bytes: int = 1 << 30
    """Its files at one commit."""
    files: int = 20_000
    objects: int = 100_000
    """Number of objects in a pack of files; each directory is one too."""
    longest_path: int = 500
    sources_bytes: int = 20 << 30
    """Size of the files of all repositories together, which stay for the next launch."""
    seconds: float = 150.0
    silence_s: float = 20.0
    """Time for which the server may send nothing."""


class Deadline:
    """The moment at which everything has to have ended.

    Args:
        seconds: from now.
        silence_s: how long a single step may take.
    """

    def __init__(self, seconds: float, silence_s: float) -> None:
        self._seconds, self._silence_s = seconds, silence_s
        self.at = time.monotonic() + seconds
        """The moment, by `time.monotonic`."""

    def step_s(self) -> float:
        """Return how long the next step may take.

        Raises:
            TooMuchError: the time is over.
        """
        left_s = self.at - time.monotonic()
        if left_s <= 0:
            raise TooMuchError(f"the repository took more than {self._seconds:g} s")
        return min(left_s, self._silence_s)


def counted(parts: Iterable[bytes], limit_bytes: int, what: str) -> Iterator[bytes]:
    """Yield parts until there are too many bytes.

    Raises:
        TooMuchError: there are.
    """
    total_bytes = 0
    for part in parts:
        total_bytes += len(part)
        if total_bytes > limit_bytes:
            raise TooMuchError(
                f"{what} has more than {in_megabytes(limit_bytes)}, the most at this hub"
            )
        yield part


def in_megabytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / (1 << 20):.3g} MB"
