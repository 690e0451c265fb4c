"""A record of an archive: its files with their checksums, and the name of this state of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.published import Published

_CHECKSUM = re.compile(r"(md5|sha1|sha256|sha512):([0-9a-f]{32,128})")
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True)
class RecordFile:
    """A file of a record.

    Raises:
        ValueError, TypeError: it is none.
    """

    path: str
    size_bytes: int
    checksum: str
    """Its algorithm, a colon, and its digits."""
    url: str

    def __post_init__(self) -> None:
        if type(self.size_bytes) is not int or self.size_bytes < 0 or not self.path:
            raise ValueError(f"{self.path!r} has {self.size_bytes!r} bytes")
        found = _CHECKSUM.fullmatch(self.checksum)
        if not found or len(found[2]) != _DIGITS[found[1]]:
            raise ValueError(f"{self.checksum!r} is no checksum")

    @property
    def digest(self) -> tuple[str, str]:
        """Algorithm and digits of its checksum."""
        algorithm, _, digits = self.checksum.partition(":")
        return algorithm, digits


@dataclass(frozen=True)
class Record:
    """A record at one version."""

    about: Published
    host: str
    """The host of its archive."""
    name: str
    """The archive's own name of this version."""
    date: str
    """The day when it was published, such as 2026-05-01; "": unknown."""
    files: tuple[RecordFile, ...]
    left_out: tuple[Remark, ...] = ()
    """Files that are not to be had."""

    @property
    def commit(self) -> str:
        """The name of this state, which changes with each of its files.

        A title that is corrected changes nothing.
        """
        files = sorted((each.path, each.size_bytes, each.checksum) for each in self.files)
        state = json.dumps([self.host, self.name, files], separators=(",", ":"))
        return hashlib.sha256(state.encode()).hexdigest()


def left_out(file: str, why: str) -> Remark:
    """Return a remark on a file that is not to be had."""
    shown = file if file.isprintable() else repr(file)[1:-1]
    return Remark(shown[:200], 1, why)


def refuse_closed(host: str, doi: str, files: Sequence[object]) -> None:
    """Refuse a record of which nobody gets any file.

    Raises:
        LittlestHubError: it is one.
    """
    if not files:
        raise LittlestHubError(
            f"{doi} has no files that everybody may read at {host}: they are restricted, under an"
            " embargo, or there are none",
            "Its page at the archive says who may have them",
        )
