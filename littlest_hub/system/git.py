"""git as a reader of objects that a stranger has sent. Only `Objects.fetch` uses the network.

Objects are checked while they arrive (git-fsck(1)), and are read one by one, so that neither a
configuration, a hook, a filter nor an attribute of the repository is obeyed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError

LINK, MODULE = 0o120000, 0o160000
"""Modes of symlinks and submodules; those of files are 0o100644 and 0o100755."""
_MEMORY_BYTES = 512 << 20
_BUFFER_BYTES = 1 << 16
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null"),
    # Larger files are not kept in memory.
    *("-c", "core.bigFileThreshold=1m", "-c", "pack.threads=1", "-c", "core.packedGitLimit=64m"),
)
# Old programs wrote these, which harm nobody.
_TOLERATED = (
    *("zeroPaddedFilemode", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "badTimezone"),
    *("missingEmail", "missingNameBeforeEmail", "badName", "zeroPaddedDate"),
)


@dataclass(frozen=True)
class Entry:
    """A file, link or submodule in a tree."""

    mode: int
    id: str
    size_bytes: int
    """0 for a submodule."""
    path: bytes


class Objects:
    """A store of objects in an empty directory.

    Args:
        directory: an empty directory.
        deadline: when everything has to have ended, of `time.monotonic`.
        is_sha256: whether names of objects are SHA-256, not SHA-1.
    """

    def __init__(self, directory: Path, deadline: float, *, is_sha256: bool = False) -> None:
        self._directory = directory
        self._deadline = deadline
        kind = ["--object-format=sha256"] if is_sha256 else []
        with self._running(["init", "--quiet", "--bare", "--template=", *kind]):
            pass

    def receive(self, pack: Iterable[bytes], commits: Iterable[str], *, is_whole: bool) -> None:
        """Store the objects of a pack, each checked by git.

        Args:
            pack: its parts.
            commits: commits whose parents are not in it.
            is_whole: whether everything else that its objects name has to be in it.

        Raises:
            LittlestHubError: it is damaged or malicious, or needs too much memory or time.
        """
        (self._directory / "shallow").write_text("".join(f"{each}\n" for each in commits))
        tolerated = ",".join(f"{each}=ignore" for each in _TOLERATED)
        check = [f"--strict={tolerated}" if is_whole else "--fsck-objects"]
        with self._running(["index-pack", "--stdin", *check], has_input=True) as process:
            assert process.stdin
            for part in pack:
                try:
                    process.stdin.write(part)
                except BrokenPipeError:
                    break  # its own message says why it has ended before its input

    def fetch(self, url: str, ref: str, pack_bytes: int) -> str:
        """Fetch one commit without its history over https; return its name.

        Args:
            url: of the repository, which the caller has examined.
            ref: a branch or tag, which the caller has examined; "": what the repository chooses.
            pack_bytes: the most that the server may send.

        Raises:
            LittlestHubError: it cannot be had, is damaged, malicious, too large or too slow.
        """
        options = [*("-c", "fetch.unpackLimit=1", "-c", "fetch.fsckObjects=true")]
        for each in _TOLERATED:
            options += ["-c", f"fetch.fsck.{each}=ignore"]
        options += ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20"]
        words = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"]
        words += ["--end-of-options", url, ref or "HEAD"]
        with self._running(words, options=options, protocol="https", file_bytes=pack_bytes):
            pass
        return self._text("rev-parse", "--verify", "FETCH_HEAD^{commit}").strip()

    def commit_date(self, commit: str) -> int:
        """Return when a commit was made, in seconds since 1970.

        Raises:
            LittlestHubError: there is no such commit.
        """
        kind = self._text("cat-file", "-t", commit).strip()
        if kind != "commit":
            raise LittlestHubError(f"{commit} is no commit, but a {kind}")
        return int(self._text("rev-list", "--max-count=1", "--timestamp", commit).split()[0])

    def commits(self, beginning: str) -> list[str]:
        """Return the commits whose name begins like this."""
        found = self._text("rev-parse", f"--disambiguate={beginning}").split()
        return [each for each in found if self._text("cat-file", "-t", each).strip() == "commit"]

    def entries(self, commit: str) -> Iterator[Entry]:
        """Yield what is in a commit, except directories.

        Raises:
            LittlestHubError: its trees are damaged, or too deep.
        """
        listing = ["ls-tree", "-r", "-z", "--long", "--full-tree", commit]
        with self._running(listing) as process:
            assert process.stdout
            for record in _records(process.stdout):
                about, _, path = record.partition(b"\t")
                mode, _, name, size = about.decode("ascii").split()
                yield Entry(int(mode, 8), name, 0 if size == "-" else int(size), path)

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Yield entries and the parts of their contents, which have to be read in this order.

        Raises:
            LittlestHubError: an object is missing or damaged.
        """
        wanted = [*entries]
        with tempfile.TemporaryFile(dir=self._directory) as names:
            names.write("".join(f"{each.id}\n" for each in wanted).encode())
            names.seek(0)
            with self._running(["cat-file", "--batch", "--buffer"], source=names) as process:
                assert process.stdout
                for entry in wanted:
                    header = process.stdout.readline()
                    if header != f"{entry.id} blob {entry.size_bytes}\n".encode():
                        raise LittlestHubError(f"object {entry.id} is missing or damaged")
                    yield entry, _parts(process.stdout, entry.size_bytes)
                    process.stdout.read(1)

    def _text(self, *arguments: str) -> str:
        with self._running([*arguments]) as process:
            assert process.stdout
            return process.stdout.read().decode(errors="replace")

    @contextlib.contextmanager
    def _running(
        self,
        arguments: list[str],
        *,
        has_input: bool = False,
        source: IO[bytes] | None = None,
        options: Sequence[str] = (),
        protocol: str = "none",
        file_bytes: int = 0,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run git with limits, and wait for its end.

        Raises:
            LittlestHubError: it failed, or was ended at the deadline.
        """
        left_s = self._deadline - time.monotonic()
        with tempfile.TemporaryFile(dir=self._directory) as errors:
            process = subprocess.Popen(
                [program(), *_OPTIONS, *options, *arguments],
                stdin=subprocess.PIPE if has_input else source or subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if has_input else subprocess.PIPE,
                stderr=errors,
                env={**_environment(self._directory), "GIT_ALLOW_PROTOCOL": protocol},
                cwd=self._directory,
            )
            watchdog = threading.Timer(max(0, left_s), process.kill)
            watchdog.daemon = True
            watchdog.start()
            try:
                resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
                if file_bytes:
                    limit = (file_bytes, file_bytes)
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limit)
                yield process
                if process.stdin:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
                code = process.wait()
            except LittlestHubError:
                if time.monotonic() >= self._deadline:
                    raise LittlestHubError(f"git {arguments[0]} took too long") from None
                raise
            finally:
                process.kill()  # only if the block has failed; otherwise it has ended
                with contextlib.suppress(BrokenPipeError):
                    process.__exit__(None, None, None)
                watchdog.cancel()
            if code:
                errors.seek(0)
                raise self._failure(arguments[0], errors.read(_BUFFER_BYTES))

    def _failure(self, command: str, errors: bytes) -> LittlestHubError:
        if time.monotonic() >= self._deadline:
            return LittlestHubError(f"git {command} took too long")
        lines = errors.decode(errors="replace").splitlines()
        why = next((each for each in lines if each.startswith(("error:", "fatal:"))), "it failed")
        return LittlestHubError(f"git {command}: {why[:200]!r}")


def program() -> str:
    """Return the path of git.

    Raises:
        LittlestHubError: it is not installed.
    """
    found = shutil.which("git", path=os.defpath)
    if not found:
        raise LittlestHubError("git is not installed", "Install the package git")
    return found


def _environment(directory: Path) -> dict[str, str]:
    """Return all variables that git gets: none of this process (git(1), git-config(1))."""
    return {
        "GIT_DIR": str(directory),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        # Releases before 2.32 know no GIT_CONFIG_GLOBAL.
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "LC_ALL": "C",
        "PATH": os.defpath,
    }


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what is between NUL bytes."""
    rest = b""
    while part := stream.read(_BUFFER_BYTES):
        *whole, rest = (rest + part).split(b"\0")
        yield from whole
        if len(rest) > _BUFFER_BYTES:
            raise LittlestHubError(f"a path has more than {len(rest)} bytes")


def _parts(stream: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        part = stream.read(min(size_bytes, _BUFFER_BYTES))
        if not part:
            raise LittlestHubError("git ended in the middle of a file")
        size_bytes -= len(part)
        yield part
