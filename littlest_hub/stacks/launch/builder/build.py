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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder import bytecode, conda_kernels, lock, pythons
from littlest_hub.stacks.launch.builder.conda import Conda
from littlest_hub.stacks.launch.builder.lock import Lock
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.system import files, locks
from littlest_hub.system.progress import Progress
from littlest_hub.system.uv import Uv

LEAST_FREE_BYTES = 2 << 30
"""A build does not start with less room on the disk: the hub itself needs some."""
SLOTS = 2
"""The most environments that are built at the same time."""
Finish = Callable[[Path], object]
"""Changes an environment that has its packages; what it leaves there is written by the builder."""
EVERYBODY = "builds"
"""The lock file that all builds share."""


@dataclass(frozen=True)
class Record:
    """The record of a complete environment."""

    python: str
    """The copy of Python that it uses; one of conda shares that copy's bytecode at most."""
    lock: str
    seconds: float
    """Duration of the build."""


@dataclass(frozen=True)
class Plan:
    """The parts of an environment."""

    python: Python
    lock: Lock
    finish: Finish | None = None
    """Changes the environment after its packages are installed; None: nothing does."""
    conda: Conda | None = None
    """The tools for packages of conda, if it has any."""


def build(place: Place, uv: Uv, plan: Plan, key: str, report: Progress) -> bool:
    """Build an environment, unless it is there; wait for another build of it.

    Args:
        place: where.
        uv: the program, with the shared cache.
        plan: what it is made of.
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
            record = _make(place, replace(uv, descriptors=descriptors), plan, directory, report)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        files.flush_file_system(directory)
        files.write(place.record(key), json.dumps(asdict(record)) + "\n", 0o600)
        return True


def _make(place: Place, uv: Uv, plan: Plan, directory: Path, report: Progress) -> Record:
    began = time.monotonic()
    python, made = plan.python, plan.lock
    pythons.ensure(python, place)
    if made.conda:
        assert plan.conda
        plan.conda.holding(uv.descriptors).make(place, made, directory, report)
    else:
        uv.make(directory, python.program(place))
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write(made.installable(place.wheels))
            listed.flush()
            made.installer(uv).install(Path(listed.name), directory, report)
        # uv's own, which everybody may write to.
        (directory / ".lock").unlink(missing_ok=True)
    directory.chmod(0o755)
    if plan.finish:
        plan.finish(directory)
    if made.conda:
        conda_kernels.write(directory)
    else:
        _write_kernel(directory)
    return Record(python.digest, made.text, round(time.monotonic() - began, 3))


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
            own = lock.of_text(record.lock).python or python.version
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
