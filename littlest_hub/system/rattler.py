"""py-rattler, which solves, fetches and links conda packages: nothing of a package is run.

It is an optional package of an installation. All that it does is done in another process
(`rattler_program`), which a package can bring down, and which is ended before it fills the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.conda_package import NEW
from littlest_hub.system.progress import Progress

PACKAGE = "py-rattler"
_MODULE = "littlest_hub.system.rattler_program"
_LONGEST = 600
_LOOK_S = 0.2
# Certificate authorities of Debian, Red Hat, and SUSE.
_AUTHORITIES = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"),
    "/etc/ssl/ca-bundle.pem",
)


class ConflictError(LittlestHubError):
    """Specs that cannot be satisfied together; the message has those that conflict."""


class ChannelError(LittlestHubError):
    """No answer of a channel."""


@dataclass(frozen=True, order=True)
class Package:
    """A file of a channel."""

    url: str
    sha256: str
    size_bytes: int = field(default=0, compare=False)
    """The size of the file; 0: unknown."""


class Wheel(NamedTuple):
    """A file of an index of Python packages, as a lock file has it."""

    name: str
    version: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Fetched:
    """A package that is there, unpacked."""

    name: str
    version: str
    dists: Mapping[str, str]
    """Python distributions in it, and their versions."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what packages may take."""

    package_bytes: int = 4 << 30
    """The largest file of a channel whose size is not known before."""
    unpacked_bytes: int = 16 << 30
    """The largest environment, and so the largest package."""
    files: int = 500_000
    """The most files that a package may have."""
    least_free_bytes: int = 2 << 30
    """The disk that stays free, whatever a package unpacks to."""
    least_free_files: int = 10_000


@dataclass(frozen=True)
class Rattler:
    """py-rattler with a store of packages."""

    store: Path
    """Unpacked packages, which prefixes share by hard links: one file system, one mount."""
    overlay: Path | None = None
    """The directory of packages that has it; None: this interpreter imports it."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that say how the network is reached."""
    limits: Limits = field(default_factory=Limits)
    descriptors: tuple[int, ...] = ()
    """Files that it keeps open: a lock that they hold outlives a caller that is killed."""

    def solve(
        self, channels: Sequence[str], specs: Sequence[str], as_of: str = ""
    ) -> list[Package]:
        """Return the packages that satisfy specs, for this machine.

        Args:
            channels: addresses, the preferred one first.
            specs: what is asked for, checked by the caller: a spec may contain an address.
            as_of: a date; what was made later is left out.

        Raises:
            ConflictError: they cannot be satisfied together.
            ChannelError: a channel does not answer.
            LittlestHubError: rattler fails otherwise.
        """
        asked = {"channels": [*channels], "specs": [*specs], "as_of": as_of}
        done = self._done("solve", {**asked, "repodata": str(self.store / "repodata")})
        return [Package(**each) for each in done["packages"]]

    def read_lock(self, name: str, text: str) -> tuple[list[Package], list[Wheel]]:
        """Return the packages of a lock file for this platform, and its wheels.

        Args:
            name: conda-lock.yml or pixi.lock.
            text: its text.

        Raises:
            LittlestHubError: it is damaged, or for other platforms.
        """
        done = self._done("lock", {"name": name, "text": text})
        packages = [Package(**each) for each in done["packages"]]
        return packages, [Wheel(**each) for each in done["wheels"]]

    def fetch(self, packages: Iterable[Package], report: Progress) -> list[Fetched]:
        """Download and unpack packages that are not in the store; return what they are.

        Raises:
            ChannelError: a channel does not answer.
            LittlestHubError: a file is another one, or is not harmless, or for another machine.
        """
        done = self._done("fetch", self._about(packages), report)
        return [Fetched(**each) for each in done["packages"]]

    def link(self, packages: Iterable[Package], prefix: Path, report: Progress) -> str:
        """Make a prefix of packages in the store, at the path at which it is used.

        Returns:
            Where its Python has modules, below the prefix; "": it has no Python.

        Raises:
            LittlestHubError: it cannot be made.
        """
        asked = {**self._about(packages), "prefix": str(prefix)}
        return str(self._done("link", asked, report)["modules"])

    def _about(self, packages: Iterable[Package]) -> dict[str, Any]:
        return {
            "packages": [asdict(each) for each in packages],
            "store": str(self.store),
            "limits": asdict(self.limits),
        }

    def _done(
        self, what: str, asked: Mapping[str, Any], report: Progress | None = None
    ) -> dict[str, Any]:
        """Return the answer to a request."""
        answer: dict[str, Any] = {}
        overlay = str(self.overlay) if self.overlay else ""
        with (
            tempfile.TemporaryDirectory(prefix="rattler-") as home,
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                [sys.executable, "-I", "-m", _MODULE, overlay],
                cwd=home,
                env=self._variables(home),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=self.descriptors,
            ) as running,
        ):
            assert running.stdin
            assert running.stdout
            with _Guard(running, self.store, self.limits) as guard:
                with running.stdin as opened:
                    opened.write(json.dumps({"what": what, **asked}))
                for line in running.stdout:
                    # The last line of a process that is ended may be half of one.
                    with contextlib.suppress(ValueError):
                        answer = json.loads(line)
                    if report and "line" in answer:
                        report(str(answer["line"]))
                running.wait()
            for each in self.store.glob(f"{NEW}{running.pid}-*"):
                shutil.rmtree(each, ignore_errors=True)
            if "done" in answer:
                found: dict[str, Any] = answer["done"]
                return found
            errors.seek(0)
            raise guard.error or _error(answer, errors.read())

    def _variables(self, home: str) -> dict[str, str]:
        """Return its environment: no setting, password or program of anybody's home."""
        found = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, **self.variables}
        if "SSL_CERT_FILE" not in found and not any(map(Path.exists, map(Path, _AUTHORITIES))):
            # rattler fails without any ("builder error").
            found["SSL_CERT_FILE"] = str(Path(sys.prefix, "ssl", "cacert.pem"))
        return found


class _Guard(threading.Thread):
    """A guard of the disk: it ends a process that leaves too little, as a small file can."""

    def __init__(self, process: subprocess.Popen[str], place: Path, limits: Limits) -> None:
        super().__init__(daemon=True)
        self._process, self._place, self._limits = process, place, limits
        self._ended = threading.Event()
        self.error: LittlestHubError | None = None

    def __enter__(self) -> _Guard:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            found = os.statvfs(self._place)
            free = found.f_bavail * found.f_frsize
            # Some file systems, such as btrfs, have no number of files.
            has_files = not found.f_files or found.f_favail >= self._limits.least_free_files
            if free < self._limits.least_free_bytes or not has_files:
                self.error = LittlestHubError(
                    f"its packages are too large: the disk of {self._place} would be full",
                    "Ask the administrator; environments that nobody uses can be removed",
                )
                self._process.kill()
                return


def _error(answer: Mapping[str, Any], printed: str) -> LittlestHubError:
    """Return what rattler says, as one sentence."""
    text = _short(str(answer.get("failed", "")))
    if answer.get("why") == "conflict":
        return ConflictError(text)
    if answer.get("why") == "silence":
        return ChannelError(f"a channel does not answer: {text}")
    if not text:
        text = f"{PACKAGE} has ended early: {_short(printed)}"
    return LittlestHubError(text)


def _short(text: str) -> str:
    """Return a message without the lines of its tree."""
    text = text.removeprefix("Cannot solve the request because of: ")
    text = text.replace("The following packages are incompatible", "")
    lines = (re.sub(r"^[\s│├└─|]+", "", line).strip() for line in text.splitlines())
    short = re.sub(r" *, *(?:;|$)", ";", "; ".join(filter(None, lines))).strip("; .")
    return short if len(short) <= _LONGEST else f"{short[:_LONGEST]}…"
