"""The columns of rosters, as nbgrader, Canvas, Moodle and Blackboard name them; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Student, plain_text
from littlest_hub.stacks.courses.roster.entries import Entries
from littlest_hub.stacks.courses.roster.table import Row, rows_of, text_of

# Names in lower case without punctuation. The first one that a header has counts.
_LOGIN = ("login", "username", "user name", "sis login id", "login id", "student login", "id")
_FIRST = ("first name", "firstname", "given name", "vorname")
_LAST = ("last name", "lastname", "surname", "family name", "nachname")
_WHOLE = ("student", "name", "full name", "student name")
_EMAIL = ("email", "email address", "e mail", "mail")
_LMS = ("lms user id", "sis user id", "id number", "student id", "id")
# Canvas: the row below the header, and the student that Canvas makes for tests.
_CANVAS_NO_STUDENT = ("points possible", "student, test")


def students_of(
    data: bytes, login_column: str = "", *, strips_domain: bool = False
) -> list[Student]:
    """Return the students in a roster.

    Args:
        data: the file.
        login_column: the column with logins; "": the one that is known to have them.
        strips_domain: logins are addresses, of which the part before @ counts.

    Raises:
        LittlestHubError: all lines that are wrong; or there is no column with logins.
    """
    header, *rows = rows_of(text_of(data)) or [Row(1, ())]
    names = [_plain(cell) for cell in header.cells]
    login = _login_column(header, names, login_column)
    column = f"column {plain_text(header.cells[login])!r}"
    entries = Entries("the roster")
    for row in rows:
        if _cell(row, names, _WHOLE).lower().startswith(_CANVAS_NO_STUDENT):
            continue
        text = row.cells[login] if login < len(row.cells) else ""
        student = _student(row, names, _part(text, strips_domain))
        entries.add(student, f"line {row.line}", column=column)
    return entries.students()


def _login_column(header: Row, names: Sequence[str], wanted: str) -> int:
    candidates = [_plain(wanted)] if wanted else _LOGIN
    for each in candidates:
        if each in names:
            return names.index(each)
    have = ", ".join(repr(plain_text(cell)) for cell in header.cells[:30]) or "nothing"
    what = f"no column {wanted!r}" if wanted else "no column with logins, such as 'username'"
    raise LittlestHubError(
        f"the roster has {what}; it has {have}",
        "Name the column: --login-column 'Email address', with --strip-domain if the login is the"
        " part before @",
    )


def _student(row: Row, names: Sequence[str], login: str) -> Student:
    first, last = _cell(row, names, _FIRST), _cell(row, names, _LAST)
    if not (first or last):
        whole = _cell(row, names, _WHOLE)
        # Canvas and Blackboard write "Doe, Jane".
        last, comma, first = whole.partition(",")
        if not comma:
            first, _, last = whole.rpartition(" ")
    return Student(login, first, last, _cell(row, names, _EMAIL), _cell(row, names, _LMS))


def _cell(row: Row, names: Sequence[str], wanted: Sequence[str]) -> str:
    for index in _indices(names, wanted):
        if index < len(row.cells) and row.cells[index]:
            return row.cells[index]
    return ""


def _indices(names: Sequence[str], wanted: Sequence[str]) -> Iterator[int]:
    for each in wanted:
        if each in names:
            yield names.index(each)


def _plain(cell: str) -> str:
    return " ".join(re.sub(r"[^\w]+|_", " ", cell.lower()).split())


def _part(text: str, strips_domain: bool) -> str:
    return text.partition("@")[0] if strips_domain else text
