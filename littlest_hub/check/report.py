"""The result of a check: problems with file and line, and what the fragments printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake in a fragment, or a setting that is probably not what was meant."""

    file: str
    line: int
    """First line of the statement; 0: the problem concerns no single line."""
    message: str
    is_warning: bool = False
    """The hub accepts the fragment in spite of a warning."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {'warning: ' if self.is_warning else ''}{self.message}"


@dataclass(frozen=True)
class Report:
    """The result of one check of all fragments."""

    problems: list[Problem]
    """Errors and warnings, in order of files and lines."""
    printed: str
    """Text that the fragments wrote to standard output and standard error."""
    note: str
    """Restrictions that the check could not apply; usually empty."""
    pending: tuple[str, ...] = ()
    """Changes of the hub's unit that need more than a reload; usually empty."""

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.is_warning]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.is_warning]
