"""Directories as a stream: what a build of the code tier gets, and what it gives back.

A stream has no owners, modes, devices or hard links, so nobody can hand over one. Each entry is a
line of JSON, which a file's bytes follow. `receive` writes to a new directory, and makes links when
everything else is written: whatever a stranger sends, nothing is written through a link.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from littlest_hub.errors import LittlestHubError

_LINE_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 20
_LONGEST_NAME, _LONGEST_PATH = 255, 2048
_END: dict[str, Any] = {}


@dataclass(frozen=True)
class Limits:
    """The most that is accepted."""

    files: int = 200_000
    """Files, directories and links."""
    size_bytes: int = 3 << 30


class HandoverError(LittlestHubError):
    """A stream that is not accepted."""


def send(directory: Path, writer: IO[bytes]) -> None:
    """Send what is in a directory: files, directories, and links as they are.

    It leaves out files that cannot be read, and other kinds. Code that still runs may change files
    meanwhile; each has as many bytes as its line says.
    """
    for path, status in _walk(directory):
        name = str(path.relative_to(directory))
        if stat.S_ISDIR(status.st_mode):
            _write(writer, {"directory": name})
        elif stat.S_ISLNK(status.st_mode):
            _write(writer, {"link": name, "to": str(path.readlink())})
        elif stat.S_ISREG(status.st_mode):
            send_file(path, name, writer)
    end(writer)


def end(writer: IO[bytes]) -> None:
    """Say that nothing follows."""
    _write(writer, _END)
    writer.flush()


def _walk(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for place, directories, names in os.walk(directory):
        for name in sorted((*directories, *names)):
            path = Path(place, name)
            try:
                yield path, path.lstat()
            except OSError:
                continue


def send_file(file: Path, name: str, writer: IO[bytes]) -> None:
    """Send one file under a name, unless it cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    with open(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        left = status.st_size
        is_program = bool(status.st_mode & stat.S_IXUSR)
        _write(writer, {"file": name, "bytes": left, "program": is_program})
        while left:
            part = opened.read(min(left, _CHUNK_BYTES)) or bytes(min(left, _CHUNK_BYTES))
            writer.write(part)
            left -= len(part)


def _write(writer: IO[bytes], record: dict[str, Any]) -> None:
    writer.write(json.dumps(record).encode() + b"\n")


def receive(
    reader: IO[bytes], directory: Path, limits: Limits, targets: Collection[str] = ()
) -> None:
    """Write what a stream contains into a new directory.

    Args:
        reader: the stream, of which nobody knows who has written it.
        directory: does not exist yet.
        limits: the most that is accepted.
        targets: what links may have as absolute target. Others stay inside, or are left out.

    Raises:
        HandoverError: there is too much, or something that is no directory, file or link.
    """
    directory.mkdir()
    links: list[tuple[Path, str]] = []
    try:
        for record in records(reader, limits):
            if "file" in record:
                _receive_file(reader, directory / record["file"], record)
            elif "directory" in record:
                path = directory / record["directory"]
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o755)
            elif record["to"] in targets or _stays_inside(record["link"], record["to"]):
                links.append((directory / record["link"], record["to"]))
        for path, target in links:
            # Its directory is a real one: no link has been made above it yet, or it is refused.
            above = path.parent.relative_to(directory)
            if path.parent.resolve() != directory.resolve() / above:
                raise HandoverError("a link is inside of a link")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
    except OSError as error:
        raise HandoverError(f"it cannot be unpacked: {error.strerror}") from None


def records(reader: IO[bytes], limits: Limits) -> Iterator[dict[str, Any]]:
    """Yield the entries of a stream; whoever gets that of a file reads its bytes.

    Raises:
        HandoverError: as `receive`.
    """
    left = limits.size_bytes
    for _ in range(limits.files + 1):
        line = reader.readline(_LINE_BYTES)
        try:
            record = json.loads(line)
            if record == _END:
                return
            found = _checked(record)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise HandoverError("it has ended before it was done, or is damaged") from None
        left -= found.get("bytes", 0)
        if left < 0:
            break
        yield found
    raise HandoverError(
        f"it has more than {limits.files} files or {limits.size_bytes >> 20} MB, which is the most"
        " that this hub accepts"
    )


def _checked(record: Any) -> dict[str, Any]:
    """Return an entry whose values are valid.

    Raises:
        ValueError, TypeError, KeyError: they are not.
    """
    record = dict(record)
    [kind] = {"file", "directory", "link"} & record.keys()
    found = {kind: _path(record[kind])}
    if kind == "link":
        return {**found, "to": _path(record["to"], is_target=True)}
    if kind == "directory":
        return found
    size = record["bytes"]
    if type(size) is not int or size < 0:
        raise ValueError(size)
    return {**found, "bytes": size, "program": record["program"] is True}


def _path(text: Any, *, is_target: bool = False) -> str:
    if not isinstance(text, str) or not text or len(os.fsencode(text)) > _LONGEST_PATH:
        raise ValueError(text)
    parts = text.split("/")
    if "\0" in text or any(len(os.fsencode(each)) > _LONGEST_NAME for each in parts):
        raise ValueError(text)
    if not is_target and not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(text)
    return text


def _stays_inside(link: str, target: str) -> bool:
    """Return whether a link stays inside, whatever other links there are.

    It may go up only at its beginning: the directories above it are real ones.
    """
    parts = target.split("/")
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return up <= link.count("/") and ".." not in parts[up:] and not target.startswith("/")


def _receive_file(reader: IO[bytes], path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as opened:
        for part in contents(reader, record):
            opened.write(part)
        os.fchmod(opened.fileno(), 0o755 if record["program"] else 0o644)


def contents(reader: IO[bytes], record: dict[str, Any]) -> Iterator[bytes]:
    """Yield the bytes of a file.

    Raises:
        HandoverError: the stream has ended before.
    """
    left = record["bytes"]
    while left:
        part = reader.read(min(left, _CHUNK_BYTES))
        if not part:
            raise HandoverError("it has ended before it was done")
        left -= len(part)
        yield part
