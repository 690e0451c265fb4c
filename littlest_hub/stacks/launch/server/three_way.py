"""The rules for a file that somebody may have changed, and that upstream may have changed too.

A file has a state: a text that stands for its content, or `ABSENT`. No decision replaces a state
that the person has made.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

ABSENT = ""
"""The state of a file that does not exist."""


class Decision(StrEnum):
    """The decision about a file."""

    NOTHING = "nothing"
    """It is as upstream has it, or only the person has changed it."""
    TAKE = "take"
    """The person has not changed it: it becomes as upstream has it."""
    BESIDE = "beside"
    """Both have changed it: the person's stays, upstream's is put beside it."""
    KEEP = "keep"
    """The person has changed it, and upstream has removed it: it stays."""


def decide(mine: str, theirs: str, delivered: str, begun: Collection[str] = ()) -> Decision:
    """Return what is done about a file.

    Args:
        mine: its state now.
        theirs: as upstream has it.
        delivered: as it was delivered last; `ABSENT`: it was not.
        begun: as deliveries had it that were interrupted.
    """
    if mine == theirs:
        return Decision.NOTHING
    if mine == delivered or mine in begun:
        return Decision.TAKE
    if theirs == delivered:
        return Decision.NOTHING
    return Decision.BESIDE if theirs != ABSENT else Decision.KEEP
