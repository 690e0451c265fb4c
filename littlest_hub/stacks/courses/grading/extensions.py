"""More time for single students, in a file of the course that commands and instructors write.

nbgrader keeps an extension with a submission, and has neither a page nor a command for it. This
file has extensions before anything is handed in.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import locks
from littlest_hub.system.files import write

FILE = Path("extensions.csv")
"""A file in the directory of the course, which is where its grader's programs run."""
_LOCK = Path(".extensions.lock")
_COLUMNS = ("assignment", "login", "extension")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(r"([0-9]{1,4})([mhdw])")

Extensions = Mapping[tuple[str, str], str]
"""Extensions as they are written, such as 2d, by assignment and login."""


def length(text: str) -> timedelta:
    """Return how long an extension is.

    Raises:
        LittlestHubError: it is none.
    """
    if text == "0":
        return timedelta(0)
    found = _LENGTH.fullmatch(text)
    if not found:
        raise LittlestHubError(
            f"{text[:40]!r} is no extension: expected a number of minutes, hours, days or weeks,"
            " such as 90m, 36h, 2d or 1w, or 0 for none"
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def read(file: Path = FILE) -> dict[tuple[str, str], str]:
    """Return the extensions of a course.

    Raises:
        LittlestHubError: a line is wrong; its number.
    """
    try:
        # Spreadsheets write a byte order mark, which this encoding accepts.
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise LittlestHubError(f"{file}: expected UTF-8: {error.reason}") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    found = {}
    for row in rows:
        cells = tuple(each.strip() for each in row)
        if not any(cells) or cells == _COLUMNS:
            continue
        try:
            assignment, login, extension = cells
            length(extension)
        except (ValueError, LittlestHubError):
            raise LittlestHubError(
                f"{file}, line {rows.line_num}: expected an assignment, a login and an extension,"
                " such as ps1,bob,2d"
            ) from None
        found[assignment, login.lower()] = extension
    return found


def grant(assignment: str, login: str, text: str, file: Path = FILE) -> None:
    """Record an extension, instead of a former one; "0" takes it back.

    Raises:
        LittlestHubError: it is none, or the file has a wrong line.
    """
    length(text)
    held = locks.hold(file.with_name(_LOCK.name), is_patient=True)
    assert held is not None
    with held:
        # 0 stays in the file: it also takes back what nbgrader itself has recorded.
        _write({**read(file), (assignment, login): text}, file)


def _write(extensions: Extensions, file: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([*key, extension] for key, extension in sorted(extensions.items()))
    write(file, text.getvalue(), 0o600)
