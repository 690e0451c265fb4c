"""The disk that environments may use: the least recently used ones are removed first.

An environment that is removed is built again from its lock when somebody needs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.stacks.launch.builder import bytecode, lock
from littlest_hub.stacks.launch.builder.build import EVERYBODY, read_record, without_builds
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.system.uv import Uv

MOST_ORDERS = 1000
"""The most logs and results that stay, the latest; the service keeps the locks that it needs."""
_SHARE = 10
"""The part of the budget, one in so many, that files may take which only the cache has."""
_BLOCK_BYTES = 512  # of st_blocks, stat(2)


@dataclass(frozen=True)
class Cleaned:
    """The outcome of a cleaning."""

    removed: tuple[str, ...] = ()
    """Keys of the environments that it removed."""
    incomplete: int = 0
    """Number of removed ones that a killed build had left."""
    size_bytes: int = 0
    """Size of environments, Pythons and the cache afterwards."""
    was_busy: bool = False
    """Whether it did nothing, since something was being built."""


def clean(
    place: Place,
    uv: Uv,
    budget_bytes: int,
    kept: Collection[str] = (),
    used: Mapping[str, float] | None = None,
) -> Cleaned:
    """Remove what is incomplete, and old environments until the others fit into a budget.

    Args:
        place: where they are.
        uv: the program, with the shared cache.
        budget_bytes: what all environments, Pythons and the cache may take.
        kept: keys of environments that servers refer to, running or not: these stay.
        used: when environments were last used (seconds since 1970); without an entry, it is when
            they were last asked for.
    """
    with without_builds(place) as is_alone:
        if not is_alone:
            return Cleaned(was_busy=True)
        incomplete = _remove_incomplete(place)
        removed = _remove_oldest(place, uv, budget_bytes, _oldest_first(place, kept, used or {}))
        records = [read_record(place, key) for key in _complete(place)]
        pythons = {record.python for record in records if record}
        for each in _entries(place.pythons):
            if each.name not in pythons:
                # The name first: a Python that is there is taken for a whole one.
                each.rename(gone := place.pythons / f".{each.name}")
                shutil.rmtree(gone, ignore_errors=True)
        bytecode.remove_unused(place)
        _remove_unused_wheels(place)
        for directory in (place.logs, place.results):
            by_age = sorted(_entries(directory), key=lambda each: each.stat().st_mtime)
            for each in by_age[:-MOST_ORDERS]:
                each.unlink()
        for each in _entries(place.locks):
            # Each holder of such a lock also shares EVERYBODY, which this process holds alone.
            if each.name != EVERYBODY:
                each.unlink()
        return Cleaned(removed, incomplete, size_bytes(place.home))


def _remove_oldest(
    place: Place, uv: Uv, budget_bytes: int, candidates: Iterator[str]
) -> tuple[str, ...]:
    """Remove environments until all fit; return their keys."""
    uv.prune()
    if size_bytes(place.home) > budget_bytes:
        _remove_packages(place)
    if size_bytes(place.home) > budget_bytes < size_bytes(place.cache, most_names=1) * _SHARE:
        # Such packages are left by failed builds. No environment is removed to make room for them.
        uv.clear()
    removed: list[str] = []
    while (size := size_bytes(place.home)) > budget_bytes:
        names, count = set[str](), len(removed)
        for key in candidates:
            names |= _packages(place, [key])
            directory = place.environment(key)
            # A file with two names is in the cache too, from where it will be removed. Its size is
            # measured afterwards.
            size -= size_bytes(directory, most_names=2)
            # First, so that half of it is never taken for the whole.
            place.record(key).unlink()
            shutil.rmtree(directory, ignore_errors=True)
            removed.append(key)
            if size <= budget_bytes:
                break
        if count == len(removed):
            break
        uv.prune(names - _packages(place, _complete(place)))
        _remove_packages(place)
    return tuple(removed)


def _remove_packages(place: Place) -> None:
    """Remove the packages of conda that no environment has any more."""
    records = (read_record(place, key) for key in _complete(place))
    locks = [lock.of_text(record.lock) for record in records if record]
    kept = {package.sha256 for each in locks for package in each.conda}
    for directory in _entries(place.packages):
        if directory.name not in kept:
            shutil.rmtree(directory, ignore_errors=True)


def size_bytes(directory: Path, most_names: int = 0) -> int:
    """Return what a directory takes on the disk; files with several names are counted once.

    Args:
        directory: the directory.
        most_names: leave out files with more names, anywhere; 0: leave out none.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    todo = [str(directory)]
    while todo:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError:  # removed meanwhile
            continue
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
            elif status.st_nlink > 1:
                number = status.st_dev, status.st_ino
                if number in seen or 0 < most_names < status.st_nlink:
                    continue
                seen.add(number)
            total += status.st_blocks * _BLOCK_BYTES
    return total


def _remove_incomplete(place: Place) -> int:
    found = [each for each in _entries(place.built) if not place.is_complete(each.name)]
    found += [each for each in _entries(place.pythons) if each.name.startswith(".")]
    found += [each for each in _entries(place.packages) if each.name.startswith(".")]
    for each in found:
        shutil.rmtree(each, ignore_errors=True)
    for each in _entries(place.records):
        # Somebody has removed its environment.
        if not place.environment(each.stem).is_dir():
            each.unlink()
    return len(found)


def _remove_unused_wheels(place: Place) -> None:
    """Remove wheels that were built for environments which are not there any more."""
    records = filter(None, (read_record(place, key) for key in _complete(place)))
    used = {
        each.partition("/")[0] for record in records for each in lock.of_text(record.lock).built
    }
    for each in _entries(place.wheels):
        if each.name not in used:
            shutil.rmtree(each, ignore_errors=True)


def _oldest_first(place: Place, kept: Collection[str], used: Mapping[str, float]) -> Iterator[str]:
    def time_of(key: str) -> float:
        return max(used.get(key, 0), place.record(key).stat().st_mtime)

    yield from sorted((key for key in _complete(place) if key not in kept), key=time_of)


def _packages(place: Place, keys: Iterable[str]) -> set[str]:
    """Return the names of the packages of environments."""
    found = set[str]()
    for key in keys:
        if record := read_record(place, key):
            found |= lock.of_text(record.lock).names
    return found


def _complete(place: Place) -> list[str]:
    """Return the keys of the environments that are there, whole."""
    return [each.name for each in _entries(place.built) if place.is_complete(each.name)]


def _entries(directory: Path) -> Iterable[Path]:
    return sorted(directory.iterdir())
