"""The files in an archive file, zip or tar, in the form in which `tree` takes those of git.

Readers of archives take lists and headers into memory as large as the archive says, so they get
only so many bytes of them. What a member is called, and how much it contains, is judged by `tree`;
nothing is written here.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.resolver.limits import Limits, TooMuchError
from littlest_hub.stacks.launch.resolver.record import left_out
from littlest_hub.system.git import LINK, Entry

_LIST_BYTES = 8 << 20
"""Size of the largest list of files of a zip archive."""
_HEADER_BYTES = 1 << 20
"""Size of the largest header of a member of a tar archive, with its extensions."""
_READ_BYTES = 1 << 16
_FILE, _PROGRAM = 0o100644, 0o100755
_ZIP, _TAR, _TAR_GZ = (".zip",), (".tar",), (".tar.gz", ".tgz")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that need little memory to unpack, whatever the archive says."""
_ENCRYPTED = 0x1
_JUNK = b"__MACOSX"
"""A directory beside the files, which the Finder of macOS adds to archives."""
_Parts = Iterator[bytes]


class Unpacked(Protocol):
    """The files of an archive, as `tree.write` takes them."""

    left_out: list[Remark]

    def entries(self) -> Iterator[Entry]:
        """Yield files and links; the archive is read for the first time."""

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, _Parts]]:
        """Yield some of them in their order, and the parts of their contents."""


def is_archive(name: str) -> bool:
    """Return whether a file of this name is unpacked if a record has no other."""
    return name.lower().endswith((*_ZIP, *_TAR, *_TAR_GZ))


def opened(file: Path, name: str, limits: Limits, check_time: Callable[[], object]) -> Unpacked:
    """Return what is in an archive file.

    Args:
        file: where it is.
        name: what the record calls it.
        limits: what it may contain.
        check_time: raises an error if it has taken too long.

    Raises:
        LittlestHubError: it is no such archive, or damaged.
    """
    shown, lower = repr(name[:80]), name.lower()
    if lower.endswith(_ZIP):
        return _Zip(file, shown, limits, check_time)
    return _Tar(file, shown, limits, check_time, is_compressed=lower.endswith(_TAR_GZ))


class _Limited(io.BufferedIOBase):
    """A file of which a reader gets only so many bytes until it is allowed more."""

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self.left_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.left_bytes + 1
        data = self._file.read(most if size is None or size < 0 else min(size, most))
        self.left_bytes -= len(data)
        if self.left_bytes < 0:
            raise TooMuchError(f"{self._name} has lists of files that are too long to be read")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if offset < 0 and whence == io.SEEK_SET:
            raise _damaged(self._name, "something in it is said to be before its beginning")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@dataclass(frozen=True)
class _Member:
    """A file or link of an archive, where it is in the list of all members."""

    number: int
    path: bytes
    mode: int
    size_bytes: int

    @property
    def entry(self) -> Entry:
        return Entry(self.mode, str(self.number), self.size_bytes, self.path)


class _Zip:
    def __init__(
        self, file: Path, name: str, limits: Limits, check_time: Callable[[], object]
    ) -> None:
        self._file, self._name, self._limits = file, name, limits
        self._check_time = check_time
        self.left_out: list[Remark] = []

    def entries(self) -> Iterator[Entry]:
        with self._opened() as archive:
            members = [*self._members(archive.infolist())]
        yield from _selected(members, self.left_out)

    def _members(self, listed: list[zipfile.ZipInfo]) -> Iterator[_Member]:
        for number, info in enumerate(listed):
            if number >= self._limits.objects:
                raise _too_many(self._name, self._limits)
            if info.is_dir():
                continue
            path = _bytes_of(info.filename)
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
                why = "it is encrypted, or compressed in an unusual way"
                self.left_out.append(left_out(info.filename, why))
                continue
            mode = info.external_attr >> 16
            kind = LINK if stat.S_ISLNK(mode) else _PROGRAM if mode & 0o100 else _FILE
            yield _Member(number, path, kind, info.file_size)

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, _Parts]]:
        with self._opened() as archive:
            listed = archive.infolist()
            for entry in entries:
                with _explained(self._name), archive.open(listed[int(entry.id)]) as stream:
                    parts = _exactly(stream, entry.size_bytes, self._name, self._check_time)
                    yield entry, parts

    @contextlib.contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        with _explained(self._name), open(self._file, "rb") as file:
            limited = _Limited(file, self._name)
            limited.left_bytes = _LIST_BYTES
            with zipfile.ZipFile(limited) as archive:
                # Contents are counted where they come out.
                limited.left_bytes = 1 << 62
                yield archive


class _Tar:
    def __init__(
        self,
        file: Path,
        name: str,
        limits: Limits,
        check_time: Callable[[], object],
        *,
        is_compressed: bool,
    ) -> None:
        self._file, self._name, self._limits = file, name, limits
        self._is_compressed = is_compressed
        self._check_time = check_time
        self._targets: dict[str, bytes] = {}
        self.left_out: list[Remark] = []

    def entries(self) -> Iterator[Entry]:
        members = []
        with self._opened() as found:
            for number, (info, _) in enumerate(found):
                if number >= self._limits.objects:
                    raise _too_many(self._name, self._limits)
                if member := self._member(number, info):
                    members.append(member)
        yield from _selected(members, self.left_out)

    def _member(self, number: int, info: tarfile.TarInfo) -> _Member | None:
        path = _bytes_of(info.name)
        if info.isdir():
            return None
        if info.issym():
            target = _bytes_of(info.linkname)
            self._targets[str(number)] = target
            return _Member(number, path, LINK, len(target))
        if not info.isreg() or info.issparse():
            what = "a hard link" if info.islnk() else "no regular file"
            self.left_out.append(left_out(info.name, f"it is {what}"))
            return None
        return _Member(number, path, _PROGRAM if info.mode & 0o100 else _FILE, info.size)

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, _Parts]]:
        wanted = {each.id: each for each in entries}
        for each in [*wanted.values()]:
            if each.mode == LINK:
                yield each, iter([self._targets[each.id]])
                del wanted[each.id]
        if not wanted:
            return
        with self._opened() as found:
            for number, (info, stream) in enumerate(found):
                entry = wanted.pop(str(number), None)
                if entry and info.size != entry.size_bytes:
                    raise _damaged(self._name, "it changes while it is read")
                if entry:
                    parts = _exactly(stream(), entry.size_bytes, self._name, self._check_time)
                    yield entry, parts
                if not wanted:
                    return

    @contextlib.contextmanager
    def _opened(
        self,
    ) -> Iterator[Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes]]]]]:
        """Yield the members in their order, and what opens the one that is the present one."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_explained(self._name))
            file: io.BufferedIOBase = stack.enter_context(open(self._file, "rb"))
            if self._is_compressed:
                file = stack.enter_context(gzip.GzipFile(fileobj=file))
            limited = _Limited(file, self._name)
            limited.left_bytes = _HEADER_BYTES
            archive = stack.enter_context(tarfile.TarFile(fileobj=limited))
            yield self._walked(archive, limited)

    def _walked(
        self, archive: tarfile.TarFile, limited: _Limited
    ) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes]]]]:
        while True:
            self._check_time()
            limited.left_bytes = _HEADER_BYTES
            info = archive.next()
            if info is None:
                # It ends in silence at a header that is none, and has not moved.
                limited.seek(archive.offset)
                if any(limited.read(tarfile.BLOCKSIZE)):
                    raise _damaged(self._name, "it ends in the middle")
                return
            # It would keep them all.
            archive.members = []  # type: ignore[attr-defined]
            member = info

            def opened(member: tarfile.TarInfo = member) -> IO[bytes]:
                limited.left_bytes = member.size + tarfile.BLOCKSIZE
                stream = archive.extractfile(member)
                assert stream
                return stream

            yield info, opened


def _selected(members: list[_Member], remarks: list[Remark]) -> Iterator[Entry]:
    """Yield members without what does not belong to the files, below their one directory."""
    kept = []
    repositories = set()
    for each in members:
        names = each.path.split(b"/")
        while len(names) > 1 and names[0] == b".":
            names = names[1:]
        if names[0] == _JUNK:
            continue
        lower = [name.lower() for name in names]
        if b".git" in lower:
            # Git, if somebody runs it there, would run what its configuration names.
            repositories.add(b"/".join(names[: lower.index(b".git") + 1]))
            continue
        kept.append(replace(each, path=b"/".join(names)))
    for repository in sorted(repositories):
        remarks.append(left_out(repository.decode(errors="replace"), "it is a repository of git"))
    tops = {each.path.partition(b"/")[0] for each in kept}
    is_one = len(tops) == 1 and all(b"/" in each.path for each in kept)
    if is_one and not tops & {b"", b"..", b"."}:
        kept = [replace(each, path=each.path.partition(b"/")[2]) for each in kept]
    yield from (each.entry for each in kept)


def _exactly(
    stream: IO[bytes], size_bytes: int, name: str, check_time: Callable[[], object]
) -> _Parts:
    """Yield the contents of a member, which has as many bytes as the archive has said."""
    with _explained(name):
        left_bytes = size_bytes
        while left_bytes:
            check_time()
            part = stream.read(min(left_bytes, _READ_BYTES))
            if not part:
                raise _damaged(name, "a file in it ends too early")
            left_bytes -= len(part)
            yield part
        # This also compares the checksum of the member, if it has one.
        if stream.read(1):
            raise _damaged(name, "a file in it is larger than it says")


def _bytes_of(name: str) -> bytes:
    """Return a name as the archive has it."""
    return name.encode(errors="surrogateescape")


def _too_many(name: str, limits: Limits) -> TooMuchError:
    return TooMuchError(f"{name} has more than {limits.objects} files and directories")


def _damaged(name: str, why: str) -> LittlestHubError:
    return LittlestHubError(f"{name} cannot be unpacked: {why}")


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Raise what readers of archives raise as a sentence."""
    try:
        yield
    except LittlestHubError:
        raise
    except (
        *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error),
        *(EOFError, ValueError, NotImplementedError, OverflowError, IndexError, RecursionError),
    ) as error:
        raise _damaged(name, f"{type(error).__name__} {str(error)[:100]!r}") from None
