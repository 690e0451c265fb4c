"""The directory of the environments that are built, and of what builds share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Place:
    """Paths below one directory: hard links need one file system, and one mount of it."""

    home: Path

    @classmethod
    def of(cls, layout: Layout) -> Place:
        """Return the place of an installation."""
        return cls(layout.environments / STACK)

    @property
    def cache(self) -> Path:
        """The packages that environments share."""
        return self.home / "cache"

    @property
    def packages(self) -> Path:
        """Unpacked packages of conda that environments share, by the digest of their file."""
        return self.home / "packages"

    @property
    def pythons(self) -> Path:
        """Copies of releases' Pythons, which environments use."""
        return self.home / "pythons"

    @property
    def bytecode(self) -> Path:
        """Bytecode that environments share, by Python and by the digest of its source."""
        return self.home / "bytecode"

    @property
    def wheels(self) -> Path:
        """Wheels that builds of the code tier have made, each in a directory named by its SHA-256.

        The builder alone writes there.
        """
        return self.home / "wheels"

    @property
    def built(self) -> Path:
        """The environments, by key; those without a record are not complete."""
        return self.home / "built"

    @property
    def records(self) -> Path:
        """The records of complete environments, where no package can put a file."""
        return self.home / "records"

    @property
    def results(self) -> Path:
        """Results of orders, by the order's id."""
        return self.home / "results"

    @property
    def logs(self) -> Path:
        """The log of each order's last build, by the order's id."""
        return self.home / "logs"

    @property
    def locks(self) -> Path:
        """Lock files of builds, by key."""
        return self.home / "locks"

    def environment(self, key: str) -> Path:
        """Return the directory of an environment."""
        return self.built / key

    def record(self, key: str) -> Path:
        """Return the file whose presence says that an environment is complete."""
        return self.records / f"{key}.json"

    def is_complete(self, key: str) -> bool:
        """Return whether an environment is there, whole."""
        return self.record(key).is_file() and self.environment(key).is_dir()

    def result(self, order: str) -> Path:
        """Return the file that says what an order has become (JSON)."""
        return self.results / f"{order}.json"

    def log(self, order: str) -> Path:
        """Return the log of an order (JSON lines)."""
        return self.logs / f"{order}.jsonl"

    def make(self) -> None:
        """Make the directories; what is built may be read by everybody who knows its key.

        Names are not to be listed: logs and locks are those of private repositories too.
        """
        for each in (self.home, self.pythons):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        for each in (self.built, self.records, self.results, self.logs):
            each.mkdir(exist_ok=True)
            each.chmod(0o711)
        for each in (self.cache, self.packages, self.locks, self.bytecode, self.wheels):
            each.mkdir(mode=0o700, exist_ok=True)


def checked_key(text: object) -> str:
    """Return the key of an environment or the id of an order.

    Raises:
        LittlestHubError: it is none.
    """
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise LittlestHubError(f"{str(text)[:80]!r} is no key; expected 64 hexadecimal digits")
    return text
