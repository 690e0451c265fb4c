"""Requests of the page to root's helper, as bytes; no input or output.

A request is a line of JSON, and after it the roster as somebody has sent it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from littlest_hub.stacks.courses.roster.table import MAX_BYTES

_HEAD_BYTES = 1 << 16
LIMIT_BYTES = _HEAD_BYTES + MAX_BYTES
"""Longest request."""


class Verb(StrEnum):
    """Kinds of requests."""

    CREATE = "create"
    ROSTER = "roster"
    INSTRUCTORS = "instructors"
    ARCHIVE = "archive"
    REOPEN = "reopen"
    DELETE = "delete"
    PLATFORM = "platform"
    GRADES = "grades"


@dataclass(frozen=True)
class Request:
    """A wish of a visitor of the page; nothing of it is checked."""

    verb: Verb
    token: str
    """A token of the visitor, which says to the helper who it is."""
    course: str
    title: str = ""
    instructors: str = ""
    repo: str = ""
    """Address of a repository with sources."""
    branch: str = ""
    confirmation: str = ""
    """The name of the course, typed by somebody who wants to delete it."""
    assignment: str = ""
    """The assignment whose grades are sent to the learning platform."""
    login_column: str = ""
    strips_domain: bool = False
    may_drop: bool = False
    """Whether students may lose the course."""
    roster: bytes = b""

    def to_bytes(self) -> bytes:
        head = {name: getattr(self, name) for name in _TYPES}
        return json.dumps(head).encode() + b"\n" + self.roster

    @classmethod
    def from_bytes(cls, data: bytes) -> Request:
        """Return the request in a message.

        Raises:
            ValueError: it contains none.
        """
        head, _, roster = data.partition(b"\n")
        if len(data) > LIMIT_BYTES or len(head) > _HEAD_BYTES:
            raise ValueError("too long")
        try:
            found = json.loads(head)
        except RecursionError as error:
            raise ValueError("too deep") from error
        if not isinstance(found, dict) or found.keys() != _TYPES.keys():
            raise ValueError("other fields")
        if any(not isinstance(found[name], kind) for name, kind in _TYPES.items()):
            raise ValueError("other types")
        return cls(**{**found, "verb": Verb(found["verb"]), "roster": roster})


_TYPES: dict[str, type] = {
    **dict.fromkeys(("verb", "token", "course", "title", "instructors", "repo", "branch"), str),
    **dict.fromkeys(("confirmation", "assignment", "login_column"), str),
    **dict.fromkeys(("strips_domain", "may_drop"), bool),
}
"""The fields in the line of JSON."""
