"""Messages in the journal, and how their time is shown."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[\d;]*m")
# Users write some of the messages, and terminals obey such characters.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class JournalEntry:
    """A message in the journal."""

    time_us: int
    unit: str
    program: str
    message: str
    priority: int


def parse_journal(lines: Iterable[str]) -> Iterator[JournalEntry]:
    """Parse `journalctl --output=json`; skip entries without text."""
    for line in lines:
        try:
            fields: dict[str, Any] = json.loads(line)
            message = fields["MESSAGE"]
            if isinstance(message, list):  # bytes that are not UTF-8
                message = bytes(message).decode(errors="replace")
            yield JournalEntry(
                int(fields["__REALTIME_TIMESTAMP"]),
                str(fields.get("UNIT") or fields.get("_SYSTEMD_UNIT") or ""),
                str(fields.get("_COMM", "")),
                _CONTROL.sub("?", _ANSI.sub("", str(message))),
                int(fields.get("PRIORITY", 6)),
            )
        except (ValueError, KeyError, TypeError):
            continue


def local_time(time_us: int) -> str:
    """Return a time of the journal as people read it on this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_us / 1e6))
