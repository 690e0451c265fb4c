"""The news since the administrator was last told: findings, and the text about them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from littlest_hub.doctor.findings import PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.errors import with_sudo
from littlest_hub.system.files import write

REMIND_DAYS = 7
"""Days after which something that is still wrong is told again."""
_FORMAT = 1


@dataclass(frozen=True)
class Told:
    """The knowledge of the administrator: findings by key, and when each was last told."""

    subjects: Mapping[str, str] = field(default_factory=dict)
    """Subject of each finding, by key."""
    times_s: Mapping[str, float] = field(default_factory=dict)
    """Time at which it was told, in seconds since the epoch, by key."""


@dataclass(frozen=True)
class News:
    """The news to tell now."""

    new: Sequence[Finding] = ()
    still: Sequence[Finding] = ()
    """Told before, and not mended."""
    mended: Sequence[str] = ()
    """Subjects of what was told before."""
    is_due: bool = False
    """Whether there is anything to tell: something new, a reminder, or that all is well again."""

    @property
    def title(self) -> str:
        """One line."""
        problems = sum(each.severity == PROBLEM for each in (*self.new, *self.still))
        warnings = len(self.new) + len(self.still) - problems
        counts = [
            f"{number} {word}{'s' if number > 1 else ''}"
            for number, word in ((problems, "problem"), (warnings, "warning"))
            if number
        ]
        return ", ".join(counts) or "all is well again"

    def text(self, command: str) -> str:
        """Return the text for people.

        Args:
            command: `littlest-hub` as one types it.
        """
        lines: list[str] = []
        for title, findings in (("New:", self.new), ("Still so:", self.still)):
            if findings:
                lines += [title, *(line for each in findings for line in _lines(each)), ""]
        if self.mended:
            lines += [f"No longer so: {', '.join(self.mended)}", ""]
        return "\n".join([*lines, f"To see everything: {with_sudo(f'{command} doctor')}"]) + "\n"


def news(findings: Sequence[Finding], told: Told, now_s: float) -> tuple[News, Told]:
    """Compare what was found with what the administrator knows.

    Args:
        findings: of `doctor`.
        told: what was told before.
        now_s: the time, in seconds since the epoch.

    Returns:
        What to tell, and what is known afterwards.
    """
    wrong = {key_of(each): each for each in findings if each.severity in (PROBLEM, WARNING)}
    new = [each for key, each in wrong.items() if key not in told.subjects]
    still = [each for key, each in wrong.items() if key in told.subjects]
    # A finding that cannot be examined now counts neither as mended nor as new.
    unseen = {each.subject for each in findings if each.severity == UNSEEN}
    kept = {k: each for k, each in told.subjects.items() if k not in wrong and each in unseen}
    mended = [each for k, each in told.subjects.items() if k not in wrong and k not in kept]
    overdue_s = now_s - REMIND_DAYS * 86400
    is_due = bool(
        new
        or any(told.times_s.get(key, 0) <= overdue_s for key in wrong)
        or (mended and not wrong and not kept)
    )
    subjects = {**kept, **{key: each.subject for key, each in wrong.items()}}
    if is_due:
        times_s = {key: told.times_s.get(key, 0) for key in kept} | dict.fromkeys(wrong, now_s)
    else:
        # A mended cause may be told later, together with the next news.
        subjects = {**told.subjects, **subjects}
        times_s = dict(told.times_s)
    return News(new, still, list(dict.fromkeys(mended)), is_due), Told(subjects, times_s)


def key_of(finding: Finding) -> str:
    """Return what identifies a finding from day to day: its numbers and times may change."""
    first = finding.text.partition("\n")[0]
    return re.sub(r"\d+", "0", f"{finding.section}: {finding.subject}: {first}")


def _lines(finding: Finding) -> list[str]:
    first, *rest = finding.text.splitlines() or [""]
    lines = [f"  {finding.severity}: {finding.subject}: {first}", *(f"    {each}" for each in rest)]
    return [*lines, f"    $ {finding.command}"] if finding.command else lines


def read(file: Path) -> Told:
    """Return what was told before; nothing if the record is missing or damaged."""
    try:
        record = json.loads(file.read_text())
        if record["format"] != _FORMAT:
            return Told()
        subjects = {str(key): str(value) for key, value in record["subjects"].items()}
        return Told(subjects, {str(key): float(value) for key, value in record["times"].items()})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Told()


def save(file: Path, told: Told) -> None:
    """Replace the record."""
    record = {"format": _FORMAT, "subjects": dict(told.subjects), "times": dict(told.times_s)}
    write(file, json.dumps(record, indent=1, sort_keys=True) + "\n", 0o600)
