"""Findings, which probes report, and their severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from littlest_hub.doctor.snapshot import Snapshot

OK, WARNING, PROBLEM, UNSEEN = "ok", "warning", "problem", "unseen"


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    severity: str
    """"ok", "warning", "problem", or "unseen": it could not be examined."""
    subject: str
    text: str
    command: str = ""
    """The command that fixes it or shows more."""
    section: str = ""


Probe = Callable[[Snapshot], Iterator[Finding]]
