"""Requests of the page to root's helper."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from littlest_hub.stacks.backups.page.helper import Verb

ANSWER_S = 120
"""Time limit of looking into a backup."""
RESTORE_S = 6 * 3600
_LINE_BYTES = 1 << 22
_LOOKS, _RESTORES = asyncio.Semaphore(4), asyncio.Semaphore(4)
"""Each helper reads the index of the repository. Restores may take hours, looks must not wait for
them."""
_turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
"""One look of a visitor at a time, so that nobody waits for a hundred of somebody else."""


class RefusedError(Exception):
    """The helper has refused a request; the message is for the visitor."""


async def ask(
    address: str,
    visitor: str,
    base: str,
    token: str,
    verb: Verb,
    *words: str,
    told: Callable[[dict[str, Any]], object] = lambda _: None,
) -> dict[str, Any]:
    """Send a request, and return the result; `told` gets what the helper says before.

    Args:
        address: the helper's socket.
        visitor: who asks.
        base: the base URL of the hub.
        token: that of the visitor, from the hub.
        verb: the kind of request.
        words: what is asked for.
        told: is called with each line before the last.

    Raises:
        RefusedError: it is refused, or the helper does not answer.
    """
    is_restore = verb == Verb.RESTORE
    timeout_s = RESTORE_S if is_restore else ANSWER_S
    turn = contextlib.nullcontext() if is_restore else _turns[visitor]
    async with turn, _RESTORES if is_restore else _LOOKS:
        try:
            last = await asyncio.wait_for(
                _exchange(address, [verb, base, token, *words], told), timeout_s
            )
        except (OSError, ValueError) as error:
            raise RefusedError(f"The backups cannot be read at the moment ({error}).") from error
        except TimeoutError:
            raise RefusedError("The backups take too long to answer. Try again later.") from None
    if "refusal" in last:
        raise RefusedError(str(last["refusal"]))
    return last


async def _exchange(
    address: str, words: list[str], told: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(address, limit=_LINE_BYTES)
    try:
        writer.write("\0".join(words).encode())
        writer.write_eof()
        last: dict[str, Any] | None = None
        while line := await reader.readline():
            if last is not None:
                told(last)
            last = json.loads(line)
        if last is None:
            raise ValueError("no answer")
        # A helper that is killed has told only of its progress.
        if "files" in last and "place" not in last:
            raise ValueError("it has ended early")
        return last
    finally:
        writer.close()
