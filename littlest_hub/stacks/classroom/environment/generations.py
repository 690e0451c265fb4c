"""The generations of an environment, on disk.

A generation is a directory whose name is a number. It gets that name, by a rename, when it is
complete, and never changes afterwards. A link leads to the present generation. So an interrupted
change leaves the old state or the new one, and files that the next change removes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment.place import Place
from littlest_hub.system import files

KEPT = 10
"""Number of generations that stay. A new one replaces the oldest in which no program runs."""
_RECORD = ".generation.json"
_NEXT = "next"
_OLD = "old"


@dataclass(frozen=True)
class Record:
    """The record of a generation: its origin, and the change that made it."""

    command: str
    """The command that made it, as it was typed."""
    author: str = ""
    """The person who typed it."""
    time: str = ""
    origin: int = 0
    """Number of the generation that was changed, often the one before; 0: there is none."""

    @classmethod
    def now(cls, command: str, author: str, origin: int = 0) -> Record:
        return cls(command, author, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), origin)


class Generations:
    """All generations of one environment."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def numbers(self) -> list[int]:
        """Return the numbers of all generations, oldest first."""
        try:
            entries = list(os.scandir(self.place.home))
        except FileNotFoundError:
            return []
        # A link has the name of a removed generation.
        found = [each for each in entries if each.name.isdecimal() and not each.is_symlink()]
        return sorted(int(each.name) for each in found)

    def current(self) -> int:
        """Return the number of the present generation.

        Raises:
            LittlestHubError: there is no present generation.
        """
        number = self.named()
        if number not in self.numbers():
            lost = f": generation {number} is gone" if number else ""
            raise LittlestHubError(
                f"{self.place.link} leads to no environment{lost}",
                f"As root: littlest-hub environment {self.way_back()}",
            )
        return number

    def named(self) -> int:
        """Return the number to which the link leads, even if there is nothing; 0: to none."""
        try:
            name = self.place.link.readlink().name
        except OSError:
            return 0
        return int(name) if name.isdecimal() else 0

    def way_back(self) -> str:
        """Return the arguments of `environment` that help if the present generation is gone."""
        found = self._best_without(self.named())
        return f"rollback {found}" if found else "make"

    def record(self, number: int) -> Record:
        """Return the record of a generation."""
        try:
            found: dict[str, Any] = json.loads(
                (self.place.generation(number) / _RECORD).read_text()
            )
            return Record(**found)
        except (OSError, ValueError, TypeError):
            return Record("unknown")

    def switch(self, number: int) -> None:
        """Make another generation the present one.

        Raises:
            LittlestHubError: no generation has that number.
        """
        if number not in self.numbers():
            known = ", ".join(map(str, self.numbers()))
            raise LittlestHubError(f"there is no generation {number}", f"There are: {known}")
        files.link(
            self.place.link, self.place.generation(number).relative_to(self.place.link.parent)
        )

    def before(self, number: int) -> int:
        """Return the generation from which another one was made; if it is gone, the one before.

        Raises:
            LittlestHubError: there is no generation before it.
        """
        if number not in self.numbers() and (found := self._best_without(number)):
            return found
        origin = self.record(number).origin
        if origin in self.numbers():
            return origin
        earlier = [each for each in self.numbers() if each < number]
        if not earlier:
            raise LittlestHubError(f"generation {number} is the oldest: there is none before it")
        return earlier[-1]

    def _best_without(self, gone: int) -> int:
        """Return the generation that replaces one that is gone; 0: there is none.

        An earlier one, if there is any: later ones were left by a rollback, for a reason.
        """
        numbers = self.numbers()
        return max([each for each in numbers if each < gone] or numbers, default=0)

    @property
    def next(self) -> Path:
        """The directory in which the next generation is made."""
        return self.place.change / _NEXT

    def add(self, record: Record) -> int:
        """Make the directory `next` the present generation; return its number."""
        files.write(self.next / _RECORD, json.dumps(asdict(record)) + "\n")
        number = max([0, *self._used()]) + 1
        self.next.rename(self.place.generation(number))
        self.switch(number)
        return number

    def prune(self, in_use: Iterable[int] = ()) -> list[int]:
        """Remove the oldest generations beyond `KEPT`, but none that `rollback` needs; return them.

        The name of a removed generation becomes a link to the environment, because scripts that
        users have installed in their homes begin with the path of its interpreter.

        Args:
            in_use: more generations that stay.
        """
        current = self.current()
        kept = {current, self.record(current).origin, *in_use}
        removed = [each for each in self.numbers()[:-KEPT] if each not in kept]
        for number in removed:
            generation, old = self.place.generation(number), self.place.change / _OLD
            self.place.change.mkdir(exist_ok=True)
            generation.rename(old)
            generation.symlink_to(Path("..", self.place.link.name))
            shutil.rmtree(old)
        return removed

    def clean(self) -> None:
        """Remove what an interrupted change has left."""
        if self.place.change.exists():
            shutil.rmtree(self.place.change)
        files.remove_half(self.place.link)
        # `prune` may have been interrupted between its rename and its link.
        for number in range(1, max([0, *self._used()])):
            name = self.place.generation(number)
            if not os.path.lexists(name):
                name.symlink_to(Path("..", self.place.link.name))

    def _used(self) -> list[int]:
        """Return all numbers of present and former generations."""
        return [int(each.name) for each in os.scandir(self.place.home) if each.name.isdecimal()]
