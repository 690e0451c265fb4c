"""The files of a course as a tar archive, which its grader writes, and reads for a new course.

Only regular files and directories are in it: links may lead to what the reader must not see. With
`dereference`, tarfile does not make a link of the second name of a file.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import io
import os
import sqlite3
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.grading import gradebook

SOURCE = "source"
_WHOLE = (SOURCE, "release", "submitted", "autograded", "feedback", ".grading", ".answers")
"""Directories of a course; the last ones say which submissions are graded, with which answers."""
HANDED_OUT = ("outbound", "feedback")
"""Directories of the exchange that the grader writes: what students see."""
_SETTINGS = ("*.py", "extensions.csv")
"""Files in the course's directory: nbgrader_config.py, and what it imports."""
_GRADEBOOK = "gradebook.db"
_LEFT_OUT = (".ipynb_checkpoints", "__pycache__")
_EXCHANGE = "exchange"
_RECORD = "course.json"
_GRADES = "grades.csv"
_RECORD_BYTES = 16 << 20
MAX_BYTES = 4 << 30
MAX_FILES = 50_000


def pack_sources(stream: IO[bytes]) -> None:
    """Write the sources of this course.

    Raises:
        LittlestHubError: there are none.
        OSError: a file cannot be read.
    """
    with tarfile.open(fileobj=stream, mode="w|", dereference=True) as tar:
        number = _add(tar, Path(SOURCE), SOURCE)
    if not number:
        raise LittlestHubError("the course has no sources")


def unpack_sources(stream: IO[bytes]) -> None:
    """Read the files that `pack_sources` of another course writes; print their number.

    Raises:
        LittlestHubError: there is too much, or something else than a file.
        OSError, tarfile.TarError: it cannot be written, or ends in the middle.
    """
    left_bytes, number = MAX_BYTES, 0
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            path = member.name.removeprefix(f"{SOURCE}/")
            if member.name == SOURCE and member.isdir():
                continue
            is_plain = member.isreg() or member.isdir()
            if not is_plain or path == member.name or ".." in path.split("/"):
                raise LittlestHubError(f"{member.name[:80]!r} cannot be part of a course")
            left_bytes -= member.size
            number += member.isreg()
            if left_bytes < 0 or number > MAX_FILES:
                raise LittlestHubError(
                    f"the sources have more than {MAX_FILES} files or {MAX_BYTES >> 30} GB"
                )
            tar.extract(member, ".", filter="data")
    if not number:
        raise LittlestHubError("there are no sources to copy")
    print(f"{number} files copied", file=sys.stderr)


def export(stream: IO[bytes], name: str, record: bytes, exchange: Path) -> None:
    """Write everything of this course that is worth keeping.

    Args:
        stream: the archive.
        name: the course, and its directory in the archive.
        record: the course and its people, as JSON.
        exchange: the course's directory in the exchange.

    Raises:
        OSError, sqlite3.Error: something cannot be read.
    """
    with tarfile.open(fileobj=stream, mode="w|gz", dereference=True) as tar:
        _add_text(tar, f"{name}/{_RECORD}", record)
        if Path(_GRADEBOOK).exists():
            with consistent_copy(Path(_GRADEBOOK)) as copy:
                # Before the files: no grade is in it whose submission is missing.
                _add_file(tar, copy, f"{name}/{_GRADEBOOK}")
                _add_text(tar, f"{name}/{_GRADES}", gradebook.grades(copy).encode())
        for path in sorted(each for pattern in _SETTINGS for each in Path().glob(pattern)):
            if stat.S_ISREG(path.lstat().st_mode):
                _add_file(tar, path, f"{name}/{path}")
        own = {each: Path(each) for each in _WHOLE}
        seen = {f"{_EXCHANGE}/{each}": exchange / each for each in HANDED_OUT}
        for title, directory in (own | seen).items():
            if directory.is_dir():
                number = _add(tar, directory, f"{name}/{title}")
                print(f"{title}: {number} files", file=sys.stderr, flush=True)


def record_in(stream: IO[bytes]) -> bytes:
    """Return the record in an export, which is its first file.

    Raises:
        OSError, EOFError, zlib.error, tarfile.TarError: it is no archive.
        ValueError: there is no such file.
    """
    with gzip.open(stream) as unzipped:
        # Sizes in an archive may be any, so tarfile gets no more than this.
        begin = io.BytesIO(unzipped.read(_RECORD_BYTES))
    with tarfile.open(fileobj=begin, mode="r:") as tar:
        member = tar.next()
        found = tar.extractfile(member) if member and member.isreg() else None
        if member is None or found is None or member.name.partition("/")[2] != _RECORD:
            raise ValueError(f"it does not begin with {_RECORD}")
        return found.read()


def restore(stream: IO[bytes], name: str, exchange: Path) -> None:
    """Read what `export` has written into the directory of a new course; say how many files.

    Args:
        stream: the archive.
        name: of the course, which is the directory in the archive.
        exchange: the course's directory in the exchange, where students see what was handed out.

    Raises:
        LittlestHubError: something in it does not belong to a course.
        OSError, EOFError, zlib.error, tarfile.TarError: it is damaged, or cannot be written.
    """
    number = 0
    with gzip.open(stream) as unzipped:
        with tarfile.open(fileobj=unzipped, mode="r|") as tar:
            for member in tar:
                inside = member.name.removeprefix(f"{name}/")
                if inside in (_RECORD, _GRADES):
                    continue
                is_plain = member.isreg() or member.isdir()
                if not is_plain or inside == member.name or not _is_worth_keeping(inside):
                    raise LittlestHubError(f"{member.name[:80]!r} cannot be part of a course")
                top, _, member.name = inside.partition("/")
                if top == _EXCHANGE:
                    _hand_out(tar, member, exchange)
                else:
                    member.name = inside
                    tar.extract(member, ".", filter="data")
                number += member.isreg()
        # To the end, where the sum of all is: a copy may have been cut off.
        while unzipped.read(1 << 20):
            pass
    print(f"{number} files restored", file=sys.stderr)


def _is_worth_keeping(path: str) -> bool:
    """Return whether a path in a course's directory is one that `export` takes."""
    top, _, rest = path.partition("/")
    if top == _EXCHANGE and rest.partition("/")[0] not in HANDED_OUT:
        return False
    if top in (*_WHOLE, _EXCHANGE):
        return not {"", ".", ".."} & {*rest.split("/")} or not rest
    is_setting = any(fnmatch.fnmatchcase(path, pattern) for pattern in _SETTINGS)
    return not rest and (path == _GRADEBOOK or is_setting)


def _hand_out(tar: tarfile.TarFile, member: tarfile.TarInfo, exchange: Path) -> None:
    """Put a file or directory into the exchange, where students may read it."""
    path = exchange / member.name
    if member.isreg():
        tar.extract(member, exchange, filter="data")
        path.chmod(0o644)
    elif member.name not in HANDED_OUT:
        path.mkdir()
        path.chmod(0o755)


@contextlib.contextmanager
def consistent_copy(file: Path) -> Iterator[Path]:
    """Yield a copy of a database that others may write to meanwhile."""
    with tempfile.TemporaryDirectory(prefix="export-") as directory:
        target = Path(directory) / file.name
        source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        with contextlib.closing(source), contextlib.closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        yield target


def _add(tar: tarfile.TarFile, directory: Path, name: str) -> int:
    """Add a directory under a name; return the number of files."""
    number = 0
    for parent, directories, files in os.walk(directory, onerror=_raise):
        directories[:] = sorted(each for each in directories if each not in _LEFT_OUT)
        place = name / Path(parent).relative_to(directory)
        tar.addfile(_anonymous(tar.gettarinfo(parent, str(place))))
        for each in sorted(files):
            path = Path(parent, each)
            if stat.S_ISREG(path.lstat().st_mode):
                _add_file(tar, path, str(place / each))
                number += 1
            else:
                print(f"{str(path)!r} is left out: it is no plain file", file=sys.stderr)
    return number


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
        tar.addfile(_anonymous(tar.gettarinfo(arcname=name, fileobj=opened)), opened)


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o600
    tar.addfile(info, io.BytesIO(text))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o700 if info.isdir() else 0o600
    return info


def _raise(error: OSError) -> None:
    raise error
