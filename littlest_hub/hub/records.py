"""Records that one process writes and another reads, perhaps one of another release.

Fields may be added, never changed: a release ignores those that it does not know. This module uses
little of the standard library, since the supervisor imports it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class ReloadOutcome(NamedTuple):
    """How a reload ended, as written to `layout.reload_outcome`."""

    began_ns: int = 0
    """CLOCK_MONOTONIC."""
    reason: str = ""
    """Why it failed; "": it succeeded."""

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> ReloadOutcome:
        return cls(**_known_fields(cls._fields, text))


class Handover(NamedTuple):
    """The state that a supervisor passes on when its process becomes the next release's."""

    pid: int
    """Process id of the serving hub."""
    channel: int
    """Descriptor of the channel to it."""
    release: str
    """Its release directory."""
    is_reload_pending: bool

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Handover:
        return cls(**_known_fields(cls._fields, text))


def _known_fields(names: Sequence[str], text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {name: found[name] for name in names if name in found}
