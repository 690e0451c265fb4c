"""restic(1): encrypted, deduplicated backups in a repository that may be on another machine.

Each call gets the repository, the password and the secrets of a storage service through variables
and files, never as arguments, which every user of the machine can read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from littlest_hub.errors import LittlestHubError

PROGRAM = "restic"
INSTALL = "apt-get install restic"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
INCOMPLETE = 3
"""Exit code of a backup without some files, which could not be read."""
_END_S = 2
"""Time in which restic has to end once nobody reads its output."""
_ROOM_BYTES = 64 << 20
"""Less than a few of the files in which restic writes data."""
_HALF_S = 86400
"""The age from which on a file that is not complete will never be."""
_NAMED = 3
"""The most lines of restic's own text in a message."""


class DamagedError(LittlestHubError):
    """The repository lacks data, or its data is not what was written."""


class LockedError(LittlestHubError):
    """Another program holds a lock in the repository, or was killed while it held one."""


class WrongPasswordError(LittlestHubError):
    """The password does not open the repository."""


class MissingError(LittlestHubError):
    """An address without a repository."""


@dataclass(frozen=True)
class Snapshot:
    """One backup."""

    id: str
    time: str
    """The time in RFC 3339, with nanoseconds, as restic writes it."""
    host: str
    paths: Sequence[str]
    tags: Sequence[str]


@dataclass(frozen=True)
class Node:
    """A file, directory, or link in a backup."""

    path: str
    kind: str
    """file, dir, symlink, or another word of restic's."""
    uid: int
    gid: int
    mode: int
    """Permissions, as chmod(2) has them."""
    size_bytes: int
    mtime: str
    ctime: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Repository:
    """A repository, and what is needed to open it."""

    address: str
    """A directory, or an address as restic has them: sftp:USER@HOST:/PATH, rest:https://…, s3:…"""
    password_file: Path
    cache: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    """Secrets of storage services, such as AWS_SECRET_ACCESS_KEY."""

    @property
    def shown(self) -> str:
        """The address for messages and logs: without the password that it may contain."""
        return re.sub(r"//([^/:@]*):[^/]*@", r"//\1:***@", self.address)

    def environment(self) -> dict[str, str]:
        """Return the variables of restic's process, without those of ours."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            "PATH": _PATH,
            "HOME": "/root" if os.geteuid() == 0 else os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "RESTIC_PROGRESS_FPS": "1",
            "RESTIC_REPOSITORY": self.address,
            "RESTIC_PASSWORD_FILE": str(self.password_file),
            "RESTIC_CACHE_DIR": str(self.cache),
            "TMPDIR": str(self.cache),
            **kept,
            **self.variables,
        }

    def run(self, *arguments: str, is_complete: bool = True) -> str:
        """Run a command of restic, and return what it prints.

        Args:
            arguments: the command and its arguments.
            is_complete: whether exit code 3, a backup that lacks files, is an error.

        Raises:
            LittlestHubError: it failed; the message says why, and what to do.
        """
        return "".join(self.lines(*arguments, is_complete=is_complete))

    def lines(
        self,
        *arguments: str,
        is_complete: bool = True,
        on_error: Callable[[str], object] | None = None,
    ) -> Generator[str, None, None]:
        """Run a command of restic, and yield the lines that it prints.

        Args:
            arguments: the command and its arguments.
            is_complete: whether exit code 3, a backup that lacks files, is an error.
            on_error: is called with each line on its standard error.

        Raises:
            LittlestHubError: it failed; the message says why, and what to do.
        """
        with self.stream(*arguments, is_complete=is_complete, on_error=on_error) as out:
            for line in out:
                yield line.decode(errors="replace")

    @contextlib.contextmanager
    def stream(
        self,
        *arguments: str,
        is_complete: bool = True,
        on_error: Callable[[str], object] | None = None,
    ) -> Iterator[IO[bytes]]:
        """Run a command of restic, and yield its standard output, which the block reads whole.

        Raises:
            LittlestHubError: it failed; the message says why, and what to do.
        """
        # A file: nobody reads standard error while a large output is read.
        with tempfile.TemporaryFile(dir=self._scratch()) as errors:
            try:
                process = subprocess.Popen(
                    [_program(), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self.environment(),
                )
            except OSError as error:
                raise LittlestHubError(f"{PROGRAM} cannot be started: {error}") from error
            assert process.stdout
            try:
                with process.stdout:
                    yield process.stdout
                code = process.wait()
            except BrokenPipeError:
                raise
            except Exception as error:
                # If its output ended early, the reason that it gave itself counts.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if code := process.wait(_END_S):
                        raise explained(self, code, _text(errors)) from error
                raise
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            text = _text(errors)
        if on_error:
            for line in text.splitlines():
                on_error(line)
        if code and (is_complete or code != INCOMPLETE):
            raise explained(self, code, text)

    def exists(self) -> bool:
        """Return whether there is a repository that the password opens.

        Raises:
            LittlestHubError: there is one that cannot be opened, or the address is not reached.
        """
        try:
            self.run("cat", "config", "--no-lock")
        except MissingError:
            return False
        return True

    def is_nearly_full(self) -> bool:
        """Return whether a repository that is a directory has no room for more data."""
        try:
            status = os.statvfs(self.address)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize < _ROOM_BYTES

    def release(self, host: str) -> None:
        """Remove locks and temporary files of programs that were killed.

        restic itself takes a lock for that of a living program if its process id is in use again.

        Args:
            host: the name of this machine, on which the caller sees to it that none runs.

        Raises:
            LittlestHubError: the repository cannot be written to.
        """
        for half in self.cache.glob("restic-temp-*"):
            half.unlink(missing_ok=True)
        self._remove_halves()
        self.run("unlock", "--quiet")
        left = self.run("list", "locks", "--no-lock", "--quiet").split()
        if left and all(self._is_dead(lock, host) for lock in left):
            self.run("unlock", "--quiet", "--remove-all")

    def _remove_halves(self) -> None:
        """Remove files that were not written to their end, which restic leaves and never reads."""
        if not self.address.startswith("/"):
            return
        for half in Path(self.address).glob("*/**/*-tmp-*"):
            # Another machine may be writing one.
            with contextlib.suppress(OSError):
                if half.stat().st_mtime < time.time() - _HALF_S:
                    half.unlink()

    def _is_dead(self, lock: str, host: str) -> bool:
        try:
            found = json.loads(self.run("cat", "lock", lock, "--no-lock", "--quiet"))
        except (LittlestHubError, ValueError):
            return False  # it was removed meanwhile, or cannot be read
        if found.get("hostname") != host:
            return False
        try:
            program = Path("/proc", str(int(found["pid"])), "comm").read_text().strip()
        except (OSError, ValueError, KeyError):
            return True
        return program != PROGRAM

    def snapshots(self, tag: str) -> list[Snapshot]:
        """Return the backups with a tag, the oldest first.

        Raises:
            LittlestHubError: the repository cannot be read.
        """
        text = self.run("snapshots", "--json", "--no-lock", "--tag", tag)
        found = [
            Snapshot(
                str(each["id"]),
                str(each["time"]),
                str(each.get("hostname", "")),
                tuple(each.get("paths") or ()),
                tuple(each.get("tags") or ()),
            )
            for each in json.loads(text) or []
        ]
        return sorted(found, key=lambda each: seconds_of(each.time))

    def nodes(self, snapshot: str, *directories: str, is_deep: bool = False) -> Iterator[Node]:
        """Yield directories of a backup, and what is in them.

        Args:
            snapshot: its id.
            directories: absolute paths; none: everything.
            is_deep: whether to yield what is in directories below them as well.

        Raises:
            LittlestHubError: the repository cannot be read.
        """
        deep = ["--recursive"] if is_deep else []
        for line in self.lines("ls", "--json", "--no-lock", *deep, "--", snapshot, *directories):
            found = json.loads(line)
            if found.get("struct_type") == "node":
                yield _node(found)

    def _scratch(self) -> str | None:
        return str(self.cache) if self.cache.is_dir() else None


def _text(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace")


def program_is_missing() -> bool:
    """Return whether this machine has no restic."""
    return shutil.which(PROGRAM, path=_PATH) is None


def _program() -> str:
    found = shutil.which(PROGRAM, path=_PATH)
    if found is None:
        raise LittlestHubError("restic, which writes and reads backups, is not installed", INSTALL)
    return found


def _node(found: Mapping[str, Any]) -> Node:
    return Node(
        str(found["path"]),
        str(found["type"]),
        int(found.get("uid", 0)),
        int(found.get("gid", 0)),
        int(found.get("mode", 0)) & 0o777,  # of Go's FileMode, whose upper bits differ
        int(found.get("size", 0)),
        str(found.get("mtime", "")),
        str(found.get("ctime", "")),
    )


def seconds_of(time: str) -> float:
    """Return a time of restic's in seconds since the epoch.

    Raises:
        ValueError: it is none.
    """
    # Python reads at most six digits of a second's fraction.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", time)).timestamp()


def explained(repository: Repository, code: int, text: str) -> LittlestHubError:
    """Return the error for what restic has printed when it failed."""
    lines = [line for line in text.splitlines() if line.strip() and not _TRACE.match(line)]
    said = "\n".join(lines[-_NAMED:]) or f"exit code {code}"
    place = repository.shown
    if "panic:" in text and repository.is_nearly_full():
        # restic 0.14 can crash instead of saying so.
        text = f"no space left on device\n{text}"
    for pattern, kind, message, hint in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            about = {"place": place, "file": repository.password_file}
            return kind(f"{message.format(**about)}\nrestic: {said}", hint.format(**about))
    return LittlestHubError(f"restic failed at {place}: {said}")


# restic shows where in its code an error came up.
_TRACE = re.compile(r"\s|[\w.]+/|runtime\.|main\.")
_NETWORK = r"connection (?:refused|reset|timed out)|no such host|no route to host|i/o timeout"
_UNREACHED = (
    LittlestHubError,
    "the server of {place} cannot be reached",
    "Is the address right, and is the server running?",
)
_DAMAGE = (
    r"ciphertext verification failed|hash does not match|pack (?:id|file).*(?:does not match|"
    r"not found|invalid)|does not match id|invalid data returned|repository contains errors|"
    r"not found in (?:index|repository)|blob .* not found|load\(.*\) returned error|"
    r"truncated|unexpected EOF|(?:index|snapshot|pack|tree).*(?:no such file|does not exist)|"
    r"lstat .*/data/.*no such file|open .*/(?:data|index)/.*no such file"
)
_CAUSES: Sequence[tuple[str, type[LittlestHubError], str, str]] = (
    (
        r"wrong password or no key found",
        WrongPasswordError,
        "the password in {file} does not open the repository at {place}",
        "Put the right one into that file; nothing was changed",
    ),
    (
        r"no space left on device|disk quota exceeded|insufficient storage",
        LittlestHubError,
        "there is no room left for the repository at {place}; earlier backups are intact",
        "Make room there, or keep fewer backups (DAILY, WEEKLY, MONTHLY)",
    ),
    (
        r"already locked",
        LockedError,
        "another program uses the repository at {place}, or was killed while it did",
        "Try again when it has ended",
    ),
    (
        r"host key verification failed",
        LittlestHubError,
        "root of this machine does not know the host of {place}",
        "Connect once as root, and compare the fingerprint: sudo ssh USER@HOST",
    ),
    (
        r"permission denied \(|access denied|403 forbidden|401 unauthorized|signaturedoesnotmatch",
        LittlestHubError,
        "the server of {place} does not let us in",
        "Give it root's public key, or put the secrets into the file `variables` beside the"
        " password",
    ),
    # Before the next one: restic asks then, too, whether there is a repository.
    (_NETWORK, *_UNREACHED),
    (
        r"is there a repository at the following location|unable to open config file",
        MissingError,
        "there is no repository at {place}",
        "If it is on a disk or share of its own: is that mounted?",
    ),
    (_DAMAGE, DamagedError, "the repository at {place} is damaged", ""),
    (
        r"permission denied|read-only file system|operation not permitted",
        LittlestHubError,
        "root may not write to {place}",
        "A directory for backups has to belong to root",
    ),
    # Last: ssh says more than errors.
    (r"ssh: |subprocess ssh|start the sftp session", *_UNREACHED),
)
"""Text that restic prints, the error, its message and its hint; the first that matches counts."""
