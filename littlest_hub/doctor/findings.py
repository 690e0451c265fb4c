"""Findings, which probes report, and their severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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

    def shown_in(self, section: str) -> Finding:
        """Return the finding for people, in a section.

        Names of files, units and programs may be those of users, and a terminal obeys what it gets.
        """
        return replace(
            self,
            subject=one_line(self.subject),
            text="\n".join(map(one_line, self.text.split("\n"))),
            command=one_line(self.command),
            section=section,
        )


def one_line(text: str) -> str:
    """Return a text with "?" in the place of what is not printable, such as an escape sequence."""
    return "".join(each if each.isprintable() else "?" for each in text)


Probe = Callable[[Snapshot], Iterator[Finding]]
