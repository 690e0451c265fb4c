"""Files of a backup, read by root and written by their owner."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import secrets
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.restore.extraction import (
    RESTORED,
    UNFINISHED,
    explained,
    extract,
    into_restored,
)
from littlest_hub.stacks.backups.restore.people import Person
from littlest_hub.system.restic import Node, Repository, Snapshot, seconds_of

_STEP_BYTES = 4 << 20
"""Number of bytes after which progress is told."""
_PRESENT = os.fsencode("whole")


@dataclass
class Count:
    """The text that has been read so far."""

    files: int = 0
    size_bytes: int = 0
    left_out: int = 0
    """Number of entries that were left out because the person may not read them."""


Told = Callable[[Count], object]
Write = Callable[[IO[bytes], Callable[[], bool]], dict[str, object]]


@dataclass(frozen=True)
class Source:
    """Something in a backup, which somebody gets."""

    repository: Repository
    place: Place
    snapshot: Snapshot
    node: Node
    person: Person
    is_filtered: bool = True
    """Whether the person gets only what they could read when it was backed up."""

    def restored(self, told: Told) -> tuple[str, Count]:
        """Write it to ~/restored of the person; return the new directory, and what is in it.

        A whole home comes without ~/restored: otherwise each one would contain all earlier ones.

        Raises:
            LittlestHubError: it cannot be restored; nothing of it is left.
        """
        label = time.strftime("%Y-%m-%d %H.%M", time.localtime(seconds_of(self.snapshot.time)))
        home = Path(self.person.home)

        def write(stream: IO[bytes], is_whole: Callable[[], bool]) -> dict[str, object]:
            return into_restored(stream, is_whole, home, label)

        # The name of what is chosen is kept, except for the whole home.
        base, without = posixpath.dirname(self.node.path), ""
        if self.node.path == self.person.home:
            base, without = self.person.home, f"{self.person.home}/{RESTORED}"
        outcome, count = self._handed_over(write, base, told, without)
        return str(outcome["place"]), count

    def home_made(self, told: Told) -> Count:
        """Write the whole home to where there is none; root makes the directory.

        Raises:
            LittlestHubError: it cannot be restored; nothing of it is left.
        """
        home = Path(self.person.home)
        if home.exists() or home.is_symlink():
            raise LittlestHubError(f"{home} exists")
        if not home.parent.is_dir():
            raise LittlestHubError(f"{home.parent} does not exist")
        for left in home.parent.glob(f".{home.name}{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        half = home.parent / f".{home.name}{UNFINISHED}{secrets.token_hex(4)}"
        half.mkdir(mode=0o700)
        try:
            os.chown(half, self.person.uid, self.person.gid)

            def write(stream: IO[bytes], is_whole: Callable[[], bool]) -> dict[str, object]:
                try:
                    extract(stream, half)
                except OSError as error:
                    raise explained(error) from error
                return {"is_whole": is_whole()}

            outcome, count = self._handed_over(write, self.node.path, told)
            if not outcome["is_whole"]:
                raise LittlestHubError("the backup could not be read to its end")
            half.chmod(self.node.mode)
            half.rename(home)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return count

    def _handed_over(
        self, write: Write, base: str, told: Told, without: str = ""
    ) -> tuple[dict[str, object], Count]:
        """Read the files, and let a child that has become the person write them.

        Args:
            write: writes them.
            base: the directory to which their names are relative.
            told: is told how much has been read.
            without: a directory that is left out; "": none.

        Raises:
            LittlestHubError: reading or writing failed.
        """
        count = Count()
        child = Writer(self.person, write)
        try:
            try:
                with child.stream, tarfile.open(fileobj=child.stream, mode="w|") as out:
                    self._read(_Sift(self, out, base, count, told, without))
            except BrokenPipeError:
                pass  # its reply has the reason
            except (OSError, tarfile.TarError) as error:
                raise LittlestHubError(f"the backup cannot be read: {error}") from error
            else:
                child.confirm()
            return child.reply(), count
        finally:
            child.end()

    def _read(self, sift: _Sift) -> None:
        # A file of which there is a consistent copy is in the backup twice; the copy comes last.
        staging = self.place.staging_in(self.snapshot)
        prefix = f"{staging}/{self.place.databases.name}"
        has_copies = bool(staging) and self._has(f"{prefix}{self.node.path}")
        read = sift.file if self.node.kind == "file" else sift.tree
        read(self.node.path, "")
        if has_copies:
            read(f"{prefix}{self.node.path}", prefix)

    def _has(self, path: str) -> bool:
        nodes = self.repository.nodes(self.snapshot.id, posixpath.dirname(path))
        return any(node.path == path for node in nodes)


class _Sift:
    """Passes on what the person may read, under names relative to what they have chosen."""

    def __init__(
        self,
        source: Source,
        out: tarfile.TarFile,
        base: str,
        count: Count,
        told: Told,
        without: str,
    ) -> None:
        self._source, self._out, self._base, self._without = source, out, base, without
        self._count, self._told = count, told
        self._closed: set[str] = set()
        """Directories that the person may not enter."""
        self._owners: dict[str, tuple[int, int, int]] = {}
        """Owner, group and permissions of files, for their consistent copies, which are root's."""
        self._next_bytes = _STEP_BYTES

    def file(self, path: str, prefix: str) -> None:
        node = self._source.node
        info = tarfile.TarInfo(self._name(path.removeprefix(prefix)))
        info.mode, info.mtime = node.mode, int(seconds_of(node.mtime))
        command = ("dump", "--no-lock", "--quiet", self._source.snapshot.id, path)
        with self._source.repository.stream(*command) as content:
            if not prefix:
                info.size = node.size_bytes
                self._add(info, content)
                return
            # A consistent copy has another size than the file.
            with tempfile.TemporaryFile(dir=self._source.place.cache) as copied:
                shutil.copyfileobj(content, copied)
                info.size = copied.tell()
                copied.seek(0)
                self._add(info, copied)

    def tree(self, path: str, prefix: str) -> None:
        if not prefix and self._source.node.path != self._base:
            node = self._source.node
            info = tarfile.TarInfo(self._name(path))
            info.type, info.mode = tarfile.DIRTYPE, node.mode
            info.mtime = int(seconds_of(node.mtime))
            self._add(info, None)
        command = ("dump", "--no-lock", "--quiet", "--archive", "tar")
        source = self._source
        with (
            source.repository.stream(*command, source.snapshot.id, path) as content,
            tarfile.open(fileobj=content, mode="r|") as tar,
        ):
            for member in tar:
                where = f"/{member.name.strip('/')}"
                original = where.removeprefix(prefix)
                if self._is_left_out(original, member):
                    continue
                if prefix and (member.isdir() or original not in self._owners):
                    continue
                if prefix:
                    member.mode = self._owners[original][2]
                elif not self._is_readable(original, member):
                    self._count.left_out += 1
                    continue
                member.name = self._name(original)
                member.pax_headers = {}
                self._add(member, tar.extractfile(member) if member.isfile() else None)

    def _is_left_out(self, path: str, member: tarfile.TarInfo) -> bool:
        """Return whether a member is the directory to leave out, or is in it."""
        path = f"{path}/" if member.isdir() else path
        return bool(self._without) and path.startswith(f"{self._without}/")

    def _is_readable(self, path: str, member: tarfile.TarInfo) -> bool:
        """Return whether the person may have a member; parents come before what is in them."""
        if not (member.isdir() or member.isfile() or member.issym()):
            return False
        if self._source.is_filtered:
            person, owner = self._source.person, (member.uid, member.gid, member.mode)
            if posixpath.dirname(path) in self._closed or not person.may_read(*owner):
                self._closed.add(path)
                return False
            if member.isdir() and not person.may_enter(*owner):
                self._closed.add(path)
                return False
        if member.isfile():
            self._owners[path] = (member.uid, member.gid, member.mode)
        return True

    def _name(self, path: str) -> str:
        return posixpath.relpath(path, self._base)

    def _add(self, info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        self._out.addfile(info, content)
        self._count.files += info.isfile()
        self._count.size_bytes += info.size if info.isfile() else 0
        if self._count.size_bytes >= self._next_bytes:
            self._next_bytes = self._count.size_bytes + _STEP_BYTES
            self._told(self._count)


class Writer:
    """A child that has become a person, and writes a stream of files.

    Args:
        person: who.
        write: what it does with the stream.
    """

    def __init__(self, person: Person, write: Write) -> None:
        reading, writing = os.pipe()
        confirmed, self._confirmation = os.pipe()
        self._answer, answering = os.pipe()
        groups = person.groups
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for each in (writing, self._confirmation, self._answer):
                    os.close(each)
                outcome = _as(person, groups, reading, confirmed, write)
                os.write(answering, json.dumps(outcome).encode())
            finally:
                os._exit(0)
        for each in (reading, confirmed, answering):
            os.close(each)
        self.stream = open(writing, "wb")  # noqa: SIM115
        """Directory to which the files go."""

    def confirm(self) -> None:
        """Tell the child that the stream was whole."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._confirmation, _PRESENT)

    def reply(self) -> dict[str, object]:
        """Return what the child has done.

        Raises:
            LittlestHubError: it failed.
        """
        self._close_confirmation()
        with open(self._answer, "rb", closefd=False) as answer:
            text = answer.read()
        outcome: dict[str, object] = json.loads(text or '{"error": "a child process ended early"}')
        if "error" in outcome:
            hint = outcome.get("hint")
            raise LittlestHubError(str(outcome["error"]), str(hint) if hint else None)
        return outcome

    def end(self) -> None:
        """End the child, if it has not ended."""
        self._close_confirmation()
        with contextlib.suppress(OSError):
            self.stream.close()
        # Without a confirmation it removes what it has written.
        with open(self._answer, "rb") as answer:
            answer.read()
        os.waitpid(self._pid, 0)

    def _close_confirmation(self) -> None:
        if self._confirmation >= 0:
            os.close(self._confirmation)
            self._confirmation = -1


def _as(
    person: Person, groups: object, reading: int, confirmed: int, write: Write
) -> dict[str, object]:
    """Become a person, write, and return the outcome."""
    try:
        os.setsid()
        os.setgroups(list(groups))  # type: ignore[call-overload]
        os.setresgid(person.gid, person.gid, person.gid)
        os.setresuid(person.uid, person.uid, person.uid)
        os.umask(0o077)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(reading, "rb") as stream:

            def is_whole() -> bool:
                return os.read(confirmed, len(_PRESENT)) == _PRESENT

            return write(_WholeStream(stream), is_whole)  # type: ignore[arg-type]
    except LittlestHubError as error:
        return {"error": error.message, "hint": error.hint}
    except OSError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


class _WholeStream:
    """A pipe of which tarfile reads the blocks that it expects."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return self._stream.read(size)
