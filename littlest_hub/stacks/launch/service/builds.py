"""Builds as the service asks for them: an order, its name to the starter, and the builder's log.

The service gives the starter nothing but the order's id. The builder opens the order itself, and
judges it again. Whoever asks for an order that is being built waits for the same build.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.order import LIMIT_BYTES, Order, of_json
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.service import dialogue
from littlest_hub.stacks.launch.service.dialogue import Tell, shown
from littlest_hub.system.files import write

MOST_ORDERS, MOST_LOCKS = 100, 2000
"""The most that are kept, the latest, besides those of servers that people have. Whoever launches
again orders again; an environment that was lost is built again from its lock."""
MOST_WAITING = 48
"""Connections to the starter at the same time; it accepts more (`builder.units`)."""
_POLL_S = 0.2
_MOST_ASKED = 4
"""How often the starter is asked until a build begins; each time, another one has to end first."""
_LOG_BYTES = 4 << 20
"""More than the largest log of the builder."""


class BuildError(LittlestHubError):
    """A build that has failed.

    Args:
        text: why.
        hint: what a person can do.
        offer: a date as of which it would succeed; "": none is known.
        sources: names of packages that would have to be built from their source, in one text.
    """

    def __init__(self, text: str, hint: str, offer: str, sources: str = "") -> None:
        super().__init__(text, hint)
        self.offer, self.sources = offer, sources


class Builds:
    """The way to the builder.

    Args:
        orders: the directory in which the service writes orders.
        starter: the socket of the program that starts the builder.
        logs: the directory in which the builder writes logs.
        results: the directory in which it writes what orders have become.
        kept: the ids of orders that have to stay.
    """

    def __init__(
        self,
        orders: Path,
        starter: Path,
        logs: Path,
        results: Path,
        kept: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._orders, self._starter, self._logs, self._results = orders, starter, logs, results
        self._kept = kept

    def ordered(self, id: str) -> Order:
        """Return an order from before.

        Raises:
            LittlestHubError: it is not there any more.
        """
        return of_json(_read(self._orders / f"{checked_id(id)}.json"), id)

    async def build(self, order: Order, tell: Tell) -> str:
        """Return the key of an order's environment, once it is there.

        Args:
            order: what to build, without a lock.
            tell: takes the lines of the log.

        Raises:
            LittlestHubError: it cannot be built; a `BuildError` says why.
        """
        lock = self._orders / f"{order.id}.pins"
        known = _read(lock)
        self._write(order)
        if known and not self._result(order).get("lock"):
            order = replace(order, lock=known)
            self._write(order)
        before_ns = self._done_ns(order)
        log = _Log(self._logs / f"{order.id}.jsonl", tell)
        try:
            for _ in range(_MOST_ASKED):
                await self._ended(order, log, tell)
                is_new = self._done_ns(order) != before_ns
                # A build that adds bytecode has ended its log already. While it runs, systemd
                # starts no other: none has begun since this was asked for.
                if is_new or log.has_begun:
                    break
            # The log may be that of a further build: somebody else has ordered since.
            key = (self._key(order) if is_new else "") or log.key()
        finally:
            log.close()
        if locked := self._result(order).get("lock"):
            write(lock, str(locked))
        return key

    async def _ended(self, order: Order, log: _Log, tell: Tell) -> None:
        """Ask the starter for a build, and follow its log until no build runs any more.

        Raises:
            LittlestHubError: the starter refuses, or does not answer.
        """
        request = {"order": order.id}
        build = asyncio.create_task(dialogue.ask(self._starter, request, "ended", tell))
        try:
            while not build.done():
                await log.follow()
                await asyncio.wait([build], timeout=_POLL_S)
            build.result()
            await log.follow()
        finally:
            build.cancel()

    def _key(self, order: Order) -> str:
        """Return the key of an order's environment, as the builder has noted it; "": unknown."""
        with contextlib.suppress(ValueError):
            return checked_id(self._result(order).get("key"))
        return ""

    def _done_ns(self, order: Order) -> int:
        """Return the time at which the last build of an order has succeeded; 0: none has."""
        try:
            return (self._results / f"{order.id}.json").stat().st_mtime_ns
        except OSError:
            return 0

    def _result(self, order: Order) -> Mapping[str, Any]:
        return _record(_read(self._results / f"{order.id}.json").encode())

    def _write(self, order: Order) -> None:
        file = self._orders / f"{order.id}.json"
        write(file, order.canonical)
        os.utime(file)
        for pattern, most in (("*.json", MOST_ORDERS), ("*.pins", MOST_LOCKS)):
            by_age = sorted(self._orders.glob(pattern), key=lambda each: each.stat().st_mtime)
            old = by_age[:-most]
            kept = self._kept() if old else ()
            for each in old:
                if each.stem not in kept:
                    each.unlink(missing_ok=True)


class _Log:
    """A log that grows; one that is finished already is that of an earlier build.

    It stays open: the number of a file that is removed is used for the next one.
    """

    def __init__(self, file: Path, tell: Tell) -> None:
        self._file, self._tell = file, tell
        self._earlier = _opened(file)
        if self._earlier and not _is_finished(self._earlier.read(_LOG_BYTES)):
            self._earlier.close()
            self._earlier = None
        self._current: IO[bytes] | None = None
        self._rest = b""
        self._end: Mapping[str, Any] = {}

    @property
    def has_begun(self) -> bool:
        """Whether a log was seen that is not that of an earlier build."""
        return self._current is not None

    def close(self) -> None:
        for each in (self._earlier, self._current):
            if each:
                each.close()

    async def follow(self) -> None:
        """Tell the lines that are new."""
        # First: whoever came later may have begun the next log, which is another build's.
        await self._read_on()
        if self._end:
            return
        found = _opened(self._file)
        if not found or _is_same(found, self._current) or _is_same(found, self._earlier):
            if found:
                found.close()
            return
        # Its end may have been written while its lines were told.
        await self._read_on()
        if self._end:
            found.close()
            return
        if self._current:
            self._current.close()
        self._current, self._rest = found, b""
        await self._read_on()

    async def _read_on(self) -> None:
        if self._current:
            *lines, self._rest = (self._rest + self._current.read(_LOG_BYTES)).split(b"\n")
            for line in lines:
                record = _record(line)
                if "outcome" in record:
                    self._end = record
                elif "text" in record:
                    await self._tell(shown(record["text"]))

    def key(self) -> str:
        """Return the key of what has been built.

        Raises:
            LittlestHubError: nothing has been.
        """
        if self._end.get("outcome") == "failed":
            names = ("text", "hint", "offer", "sources")
            raise BuildError(*(shown(self._end.get(name, "")) for name in names))
        try:
            return checked_id(self._end.get("key"))
        except ValueError:
            raise LittlestHubError(
                "the build has been ended: it took too long, or too much memory",
                "Try again; if that does not help, ask the administrator",
            ) from None


def _opened(file: Path) -> IO[bytes] | None:
    """Return a log; None: there is none."""
    try:
        return open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError:
        return None


def _is_same(one: IO[bytes], other: IO[bytes] | None) -> bool:
    return other is not None and os.path.sameopenfile(one.fileno(), other.fileno())


def _read(file: Path) -> str:
    """Return the text of a file; "": it cannot be read."""
    opened = _opened(file)
    if not opened:
        return ""
    with opened:
        return opened.read(LIMIT_BYTES).decode(errors="replace")


def _is_finished(data: bytes) -> bool:
    lines = data.splitlines()
    return bool(lines) and "outcome" in _record(lines[-1])


def _record(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
