"""Requests to the stack's other programs, which the service reaches through their sockets.

A request is one line of JSON, after which nothing is sent. The answer is lines of JSON: as many
{"progress": TEXT} as needed, then the result under its name, or {"refused": TEXT, "hint": TEXT}.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError

Tell = Callable[[str], Awaitable[None]]
"""Takes a line of progress, which is text of strangers."""
_LINE_BYTES = 1 << 20
_MOST_LINES = 20_000
_LONGEST_TEXT = 2000


async def ask(socket: Path, request: Mapping[str, Any], name: str, tell: Tell) -> dict[str, Any]:
    """Return the result of a request.

    Args:
        socket: of the program.
        request: what to ask for.
        name: of the result in the answer.
        tell: takes progress.

    Raises:
        LittlestHubError: the program has refused, or does not answer as it should.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=_LINE_BYTES)
    except OSError as error:
        raise LittlestHubError(
            f"this hub cannot launch now: {socket.name} does not answer", "Ask the administrator"
        ) from error
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        writer.write_eof()
        await writer.drain()
        for _ in range(_MOST_LINES):
            answer = _parsed(await reader.readline())
            if name in answer and isinstance(answer[name], dict):
                return dict(answer[name])
            if "refused" in answer:
                raise LittlestHubError(shown(answer["refused"]), shown(answer.get("hint", "")))
            if "progress" in answer:
                await tell(shown(answer["progress"]))
    except (OSError, ValueError) as error:
        raise LittlestHubError(f"{socket.name} has ended too early", "Try again") from error
    finally:
        writer.close()
    raise LittlestHubError(f"{socket.name} has sent more than {_MOST_LINES} lines")


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line of an answer.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(line)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("no answer")
    return found


def shown(text: object) -> str:
    """Return a text of another program without what could change the text around it."""
    return "".join(each if each.isprintable() else " " for each in str(text)[:_LONGEST_TEXT])
