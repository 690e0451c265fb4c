"""The resolver's program: one request, for which systemd has started it.

    python -m littlest_hub.stacks.launch.resolver.program SETTINGS SOURCES WORK [NAMES]

The request on standard input is `resolver.request`; its end is the end of the input. The answer
consists of lines of JSON: any number with "progress", then one with "resolved" or "refused".
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.resolver import request, settings
from littlest_hub.stacks.launch.resolver.remote import NoAccessError
from littlest_hub.stacks.launch.resolver.resolution import Resolved, Resolver
from littlest_hub.stacks.launch.resolver.sources import Sources
from littlest_hub.system.memory import hide_memory

Say = Callable[[dict[str, Any]], None]
_PRIVATE_HINT = "If you may read it, say on the form that it is private"


def main() -> None:
    """Answer the request on standard input."""
    # systemd ends it with SIGTERM; an exception removes files that are half written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Another instance has the same user, and may read a password here.
    hide_memory()
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more
        answer(sys.argv[1:], sys.stdin.buffer.read(request.LIMIT_BYTES + 1), _print)


def answer(arguments: Sequence[str], data: bytes, say: Say) -> None:
    """Answer a request.

    Args:
        arguments: of the program.
        data: the request.
        say: takes each line of the answer.
    """
    try:
        say({"resolved": _resolved(arguments, data, say)})
    except LittlestHubError as error:
        say({"refused": error.message, "hint": error.hint or ""})
    except BrokenPipeError:
        raise
    except Exception as error:
        # It names functions and lines, and no values: none of them is a password.
        traceback.print_exc()
        why = f": {error.strerror}" if isinstance(error, OSError) else ""
        say({"refused": f"the resolver has failed{why}", "hint": "Its journal says more"})


def _resolved(arguments: Sequence[str], data: bytes, say: Say) -> dict[str, Any]:
    configured = settings.read(Path(arguments[0]))
    sources = Sources(Path(arguments[1]))
    names = Path(arguments[3]) if len(arguments) > 3 else None
    wanted = request.parse(data, configured.policy)
    if wanted.owner and not configured.private:
        raise LittlestHubError("this hub launches no private repositories")
    with tempfile.TemporaryDirectory(dir=arguments[2]) as work:
        resolver = Resolver(
            configured, sources, Path(work), names, lambda text: say({"progress": text})
        )
        try:
            return _as_json(wanted, resolver.resolve(wanted))
        except NoAccessError as error:
            if wanted.credentials or not configured.private:
                raise
            raise NoAccessError(error.message, _PRIVATE_HINT) from None


def _as_json(wanted: request.Request, found: Resolved) -> dict[str, Any]:
    """Return what the service gets to know."""
    moved = found.repository.place != wanted.repository.place
    return {
        "repository": found.repository.url if moved else wanted.repository.url,
        "moved": moved,
        "ref": found.choice.ref,
        "commit": found.choice.commit,
        "is_reachable": found.choice.is_reachable,
        "date": _date(found.source.date) if found.source.date else "",
        "directory": found.directory.name,
        "files": len(found.source.files),
        "size_bytes": found.source.size_bytes,
        "left_out": [asdict(each) for each in found.source.left_out],
        "published": asdict(found.source.published) if found.source.published else None,
        "environment": asdict(found.environment),
    }


def _date(seconds: int) -> str:
    """Return a date; "" for one that no calendar has, since commits may contain any number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return ""


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
