"""Locks: exactly which wheels an overlay is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PackageSet

FILE = "lock.json"
_FORMAT = 1


@dataclass(frozen=True, order=True)
class Wheel:
    """One wheel of a lock."""

    name: str
    version: str
    file: str
    """Its file name, in the directory of wheels."""
    sha256: str


@dataclass(frozen=True)
class Lock:
    """The wheels of each set, and what was asked for when they were chosen."""

    release: str
    """Version of the release that they were chosen for."""
    requested: Mapping[PackageSet, tuple[str, ...]]
    wheels: Mapping[PackageSet, tuple[Wheel, ...]]

    @property
    def digest(self) -> str:
        """Name of the overlay: 12 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for; the release itself may have what was."""
        return not any(self.requested.values())

    def all_wheels(self) -> Iterator[Wheel]:
        """Yield the wheels of all sets, each once."""
        yield from sorted({each for wheels in self.wheels.values() for each in wheels})

    def to_json(self) -> str:
        record = {
            "format": _FORMAT,
            "release": self.release,
            "requested": {each: list(self.requested.get(each, ())) for each in PackageSet},
            "wheels": {
                each: [asdict(wheel) for wheel in self.wheels.get(each, ())] for each in PackageSet
            },
        }
        return json.dumps(record, indent=1, sort_keys=True) + "\n"


def read(directory: Path, name: str = FILE) -> Lock:
    """Return the lock in a directory: that of an overlay or of a bundle.

    Raises:
        LittlestHubError: there is none, or it is damaged.
    """
    file = directory / name
    try:
        record: dict[str, Any] = json.loads(file.read_text())
        if record["format"] != _FORMAT:
            raise LittlestHubError(
                f"{file} has format {record['format']!r}, expected {_FORMAT}",
                "It was made by another release: use that one's, or make it again",
            )
        return Lock(
            release=str(record["release"]),
            requested={
                PackageSet(each): tuple(map(str, texts))
                for each, texts in record["requested"].items()
            },
            wheels={
                PackageSet(each): tuple(_wheel(wheel) for wheel in wheels)
                for each, wheels in record["wheels"].items()
            },
        )
    except FileNotFoundError:
        raise LittlestHubError(f"{file} does not exist") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LittlestHubError(f"{file} is damaged: {error}") from error


def _wheel(record: Mapping[str, str]) -> Wheel:
    wheel = Wheel(**record)
    # It becomes part of paths.
    if Path(wheel.file).name != wheel.file or not wheel.file.endswith(".whl"):
        raise ValueError(f"{wheel.file!r} is no file name of a wheel")
    return wheel
