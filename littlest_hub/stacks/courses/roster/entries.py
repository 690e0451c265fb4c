"""The entries of a roster as they are read, wherever it comes from; no input or output."""

from __future__ import annotations

from dataclasses import replace

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Student, checked_login, plain_text

_SHOWN = 10


class Entries:
    """Students, each with a login of their own, and what is wrong with others.

    Args:
        what: the roster, for people.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: dict[str, Student] = {}
        self._places: dict[str, str] = {}
        self._problems: list[str] = []

    def add(self, student: Student, place: str, before: str = "on", column: str = "") -> None:
        """Add a student whose values are not checked.

        Args:
            student: as the roster has them.
            place: where the entry is, for people.
            before: words that lead to the place of an entry with the same login.
            column: where the login is, for people.
        """
        where = f"{place}, {column}" if column else place
        try:
            login = checked_login(student.login)
        except LittlestHubError as error:
            self.blame(f"{where}: {error.message}")
            return
        if login in self._found:
            self.blame(f"{where}: {login} is {before} {self._places[login]} already")
        self._found[login] = replace(
            student,
            login=login,
            first_name=plain_text(student.first_name),
            last_name=plain_text(student.last_name),
            email=plain_text(student.email),
            lms_id=plain_text(student.lms_id),
        )
        self._places[login] = place

    def blame(self, problem: str) -> None:
        """Add what is wrong with an entry."""
        self._problems.append(problem)

    def students(self, hint: str = "") -> list[Student]:
        """Return the students.

        Raises:
            LittlestHubError: all entries that are wrong.
        """
        if self._problems:
            rest = len(self._problems) - _SHOWN
            more = [f"and {rest} more"] if rest > 0 else []
            lines = [f"{self._what} cannot be used:", *self._problems[:_SHOWN], *more]
            text = ". ".join(filter(None, ("Nothing was changed", hint)))
            raise LittlestHubError("\n".join(lines), text)
        return [*self._found.values()]
