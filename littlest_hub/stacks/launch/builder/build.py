"""An environment on disk, made from its lock at its final path, since its scripts contain that.

Its record is written last, after everything else is on disk: whatever kills a build, or the
machine, nothing half has a record, and what has none is removed by the next build or by cleaning.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder import bytecode, pythons
from littlest_hub.stacks.launch.builder import lock as lock_texts
from littlest_hub.stacks.launch.builder.conda import Conda
from littlest_hub.stacks.launch.builder.lock import Lock
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.system import files, locks
from littlest_hub.system.progress import Progress
from littlest_hub.system.rattler import PACKAGE, Rattler
from littlest_hub.system.uv import Uv

LEAST_FREE_BYTES = 2 << 30
"""A build does not start with less room on the disk: the hub itself needs some."""
SLOTS = 2
"""How many environments are built at the same time."""
EVERYBODY = "builds"
"""The lock file that all builds share."""


@dataclass(frozen=True)
class Record:
    """The record of a complete environment."""

    python: str
    """The copy of Python that it uses; one of conda shares that copy's bytecode at most."""
    lock: str
    seconds: float
    """How long the build took."""


@dataclass(frozen=True)
class Tools:
    """The tools of a builder, with the caches that environments share."""

    uv: Uv
    python: Python
    """That of the release."""
    rattler: Rattler | None = None
    """None: environments of conda cannot be built."""
    channels: Channels = field(default_factory=Channels)
    """The permitted ones."""

    def conda(self, place: Place) -> Conda:
        """Return what makes environments of conda.

        Raises:
            LittlestHubError: py-rattler is missing.
        """
        if self.rattler is None:
            raise LittlestHubError(
                f"environments of conda, and Pythons besides {self.python.version}, need {PACKAGE}",
                f"Ask the administrator: littlest-hub packages add --tool {PACKAGE}",
            )
        return Conda(self.rattler, self.uv, self.python.program(place), self.channels)

    def holding(self, descriptors: tuple[int, ...]) -> Tools:
        """Return the same, whose programs hold locks until they end."""
        rattler = self.rattler and replace(self.rattler, descriptors=descriptors)
        return replace(self, uv=replace(self.uv, descriptors=descriptors), rattler=rattler)


def build(place: Place, tools: Tools, lock: Lock, key: str, report: Progress) -> bool:
    """Build an environment, unless it is there; wait for another build of it.

    Args:
        place: where.
        tools: what it is made with.
        lock: its packages.
        key: its name.
        report: gets lines for people.

    Returns:
        Whether it has been built now.

    Raises:
        LittlestHubError: it cannot be built; nothing of it is left.
    """
    if place.is_complete(key):
        os.utime(place.record(key))  # when it was last used
        return False
    with _building(place, key, report) as descriptors:
        if place.is_complete(key):
            return False
        _check_room(place)
        directory = place.environment(key)
        place.record(key).unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        try:
            record = _make(place, tools.holding(descriptors), lock, directory, report)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        files.flush_file_system(directory)
        files.write(place.record(key), json.dumps(asdict(record)) + "\n")
        return True


def _make(place: Place, tools: Tools, lock: Lock, directory: Path, report: Progress) -> Record:
    began = time.monotonic()
    pythons.ensure(tools.python, place)
    if lock.conda:
        tools.conda(place).make(lock, directory, report)
    else:
        _unpack(tools.uv, tools.python.program(place), lock, directory, report)
    return Record(tools.python.digest, lock.text, round(time.monotonic() - began, 3))


def _unpack(uv: Uv, program: Path, lock: Lock, directory: Path, report: Progress) -> None:
    """Make an environment of wheels alone."""
    uv.make(directory, program)
    directory.chmod(0o755)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write(lock.text)
        listed.flush()
        lock.installer(uv).install(Path(listed.name), directory, report)
    _write_kernel(directory)


def _write_kernel(directory: Path) -> None:
    """Write the kernel spec; that of ipykernel means the Python of whichever server reads it."""
    spec = {
        "argv": [
            str(directory / "bin" / "python"),
            *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
        ],
        "display_name": "Python 3",
        "language": "python",
        "metadata": {"debugger": True},
    }
    file = directory / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    # By rename: ipykernel's file is one with the cache and with other environments.
    files.write(file, json.dumps(spec, indent=1) + "\n", is_durable=False)


def add_bytecode(place: Place, python: Python, key: str) -> None:
    """Let the kernels of a new environment start faster; it is complete without that, too."""
    with no_cleaning(place):
        if record := read_record(place, key):
            own = lock_texts.of_text(record.lock).python or python.version
            # Another compiler's bytecode is of no use, and the environment's own is not run here.
            if _minor(own) == _minor(python.version):
                bytecode.add(place, python, key)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def read_record(place: Place, key: str) -> Record | None:
    """Return the record of an environment; None: it is not complete."""
    try:
        data = json.loads(place.record(key).read_text())
        return Record(data["python"], data["lock"], data["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def _building(place: Place, key: str, report: Progress) -> Iterator[tuple[int, ...]]:
    """Hold the lock of an environment, and share that of all builds; yield both.

    uv gets them too: if this process alone is killed, they last until uv has ended, and no other
    build works in the same directory.
    """
    with no_cleaning(place) as everybody:
        held = locks.hold(place.locks / key)
        if held is None:
            report("somebody else is building the same environment; waiting for it")
            held = locks.hold(place.locks / key, is_patient=True)
        assert held
        with held, _slot(place, key, report):
            yield (everybody, held.fileno())


@contextlib.contextmanager
def _slot(place: Place, key: str, report: Progress) -> Iterator[None]:
    """Hold one of the slots of builds."""
    names = [f"slot-{number}" for number in range(SLOTS)]
    for name in names:
        if held := locks.hold(place.locks / name):
            break
    else:
        report(f"{SLOTS} other environments are being built; waiting")
        held = locks.hold(place.locks / names[int(key, 16) % SLOTS], is_patient=True)
    assert held
    with held:
        yield


@contextlib.contextmanager
def no_cleaning(place: Place) -> Iterator[int]:
    """Keep what is being made from being removed; yield the open lock that all builds share."""
    with _opened(place.locks / EVERYBODY) as everybody:
        locks.share(everybody, is_patient=True)
        yield everybody


@contextlib.contextmanager
def without_builds(place: Place) -> Iterator[bool]:
    """Keep builds from starting; yield whether none is running."""
    with _opened(place.locks / EVERYBODY) as everybody:
        yield locks.try_lock(everybody)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_room(place: Place) -> None:
    free = shutil.disk_usage(place.home).free
    if free < LEAST_FREE_BYTES:
        raise LittlestHubError(
            f"the disk of {place.home} has {free >> 20} MB left; expected at least"
            f" {LEAST_FREE_BYTES >> 20} MB",
            "Ask the administrator; environments that nobody uses can be removed",
        )
