"""The files of a repository at a commit, read within bounds, and what is remarked on them.

Their text was written by strangers, perhaps to make a parser run for hours: a file has at most so
many bytes, and a line at most so many characters.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

Read = Callable[[str, int], bytes]
"""Returns the beginning of a file: at most so many bytes."""
LIMIT_BYTES = 64 << 10
"""Size of the largest file that people write by hand."""
LOCK_LIMIT_BYTES = 4 << 20
"""The same of one that a program writes."""
LONGEST_LINE = 4096
MOST_REMARKS = 100
"""The most that are kept of a kind: nobody reads more."""
# The marks that pip looks for: PowerShell's `pip freeze > requirements.txt` writes UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Line(NamedTuple):
    """A line of a file."""

    file: str
    number: int = 1


@dataclass(frozen=True)
class Remark:
    """A sentence about a line of a file, for people."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Contents:
    """The files of a repository, and remarks on those that have been read.

    Args:
        files: paths of regular files; what a link leads to is not among them.
        read: reads one of them.
    """

    def __init__(self, files: Iterable[str], read: Read) -> None:
        self.files = frozenset(files)
        self._read = read
        self.used: list[str] = []
        """The files that have been read, in this order."""
        self.code: list[Remark] = []
        """Reasons why the build, or a start, runs code of the repository or of a package."""
        self.refused: list[Remark] = []
        """Reasons why the environment cannot be built."""
        self.left_out: list[Remark] = []
        """Parts that the environment will not have."""
        self.hosts: set[str] = set()
        """Hosts from which the repository wants to download, beside the usual ones."""

    def text(self, file: str, limit_bytes: int = LIMIT_BYTES) -> str:
        """Return the text of a file; "" if it is refused."""
        self.used.append(file)
        data = self._read(file, limit_bytes + 1)
        if len(data) > limit_bytes:
            self.refuse(Line(file), f"it has more than {limit_bytes >> 10} KiB")
            return ""
        mark, encoding = next((each for each in _MARKS if data.startswith(each[0])), (b"", "utf-8"))
        try:
            text = data.removeprefix(mark).decode(encoding)
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start + len(mark)) + 1
            self.refuse(Line(file, number), "it is no text in UTF-8")
            return ""
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LONGEST_LINE or "\0" in line:
                expected = f"expected text with lines of at most {LONGEST_LINE} characters"
                self.refuse(Line(file, number), expected)
                return ""
        return text

    def runs(self, at: Line, text: str) -> None:
        """Remark that something runs code."""
        _remark(self.code, Remark(at.file, at.number, text))

    def refuse(self, at: Line, text: str) -> None:
        """Remark that there can be no environment."""
        _remark(self.refused, Remark(at.file, at.number, text))

    def leave_out(self, at: Line, text: str) -> None:
        """Remark that the environment lacks something."""
        _remark(self.left_out, Remark(at.file, at.number, text))


def _remark(remarks: list[Remark], remark: Remark) -> None:
    if len(remarks) < MOST_REMARKS:
        remarks.append(remark)


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that contains a text; 1: none does."""
    before, found, _ = text.partition(part)
    return before.count("\n") + 1 if found else 1


def shown(text: object) -> str:
    """Return a text of a repository as remarks show it: short, escaped, without passwords."""
    before, at, after = str(text).rpartition("@")
    return repr(f"…@{after}"[:80] if at and ":" in before else str(text)[:80])
