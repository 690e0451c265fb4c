"""Overlays on disk: built beside the present one, read-only, removed when nothing uses them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay, overlays_of
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.packages import lock as locks
from littlest_hub.packages.lock import Lock, Wheel
from littlest_hub.packages.wheel import Release, refuse_hostile, unpacked
from littlest_hub.system import pip
from littlest_hub.system.digests import sha256
from littlest_hub.system.files import link, write
from littlest_hub.system.locks import try_lock

_BUILDING = ".building"
# Scripts, bytecode, and pip's own notes.
_MADE_BY_PIP = re.compile(
    r"^bin/|/__pycache__/|^__pycache__/|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$"
)


def present_lock(layout: Layout, prefix: Path) -> Lock:
    """Return the lock of a release's active overlay; an empty one if there is none."""
    active = active_overlay(layout, prefix)
    return locks.read(layout.on_disk(active)) if active else Lock("", {}, {})


def build(layout: Layout, prefix: Path, lock: Lock) -> Path:
    """Build the overlay of a lock beside the present one, unless it exists.

    Returns:
        Its directory, as the machine sees it.

    Raises:
        LittlestHubError: a wheel is missing, damaged or hostile, or no space is left.
    """
    overlay = overlays_of(layout, prefix) / lock.digest
    place = layout.on_disk(overlay)
    if place.is_dir():
        return overlay
    release = release_parts(layout, prefix)
    make_directory(layout, place.parent)
    staging = place.with_name(f"{_BUILDING}-{lock.digest}")
    # Left by a power failure, and incomplete.
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for package_set, wheels in lock.wheels.items():
            files = [_verified(layout, each) for each in wheels]
            for file in files:
                refuse_hostile(file, release)
            if files:
                pip.unpack(files, staging / package_set)
            if package_set is not PackageSet.TOOLS:
                shutil.rmtree(staging / package_set / "bin", ignore_errors=True)
        staging.mkdir(exist_ok=True)
        write(staging / locks.FILE, lock.to_json(), 0o444)
        _make_readable(staging)
        staging.rename(place)
    except OSError as error:
        raise LittlestHubError(
            f"{error.filename or staging}: {error.strerror}", "Nothing was changed"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return overlay


def build_again(layout: Layout, prefix: Path, lock: Lock) -> None:
    """Replace an overlay whose files were altered by one that is built from the same lock."""
    place = layout.on_disk(overlays_of(layout, prefix) / lock.digest)
    altered_place = place.with_name(f"{_BUILDING}-altered")
    place.rename(altered_place)
    try:
        build(layout, prefix, lock)
    except BaseException:
        altered_place.rename(place)
        raise
    shutil.rmtree(altered_place, ignore_errors=True)


def activate(layout: Layout, prefix: Path, overlay: Path | None) -> None:
    """Make an overlay the one that a release's hub and servers use from now on; None: none."""
    active = layout.on_disk(overlays_of(layout, prefix) / "active")
    if overlay is None:
        active.unlink(missing_ok=True)
    else:
        link(active, Path(overlay.name))


def remove_unused(layout: Layout, prefix: Path, keep: set[Path]) -> None:
    """Remove the overlays of a release that no process uses, and what a killed change left."""
    directory = layout.on_disk(overlays_of(layout, prefix))
    keep_names = {each.name for each in keep}
    for place in directory.iterdir() if directory.is_dir() else ():
        if place.name.startswith(_BUILDING):
            shutil.rmtree(place, ignore_errors=True)
        elif place.is_dir() and not place.is_symlink() and place.name not in keep_names:
            with contextlib.suppress(OSError), _opened(place) as descriptor:
                if try_lock(descriptor):
                    gone = place.with_name(f"{_BUILDING}-{place.name}")
                    place.rename(gone)
                    shutil.rmtree(gone, ignore_errors=True)


def remove_unused_wheels(layout: Layout) -> None:
    """Remove the wheels that no overlay of any release is made of."""
    needed = known_wheels(layout)
    for file in layout.on_disk(layout.wheels).glob("*"):
        if file.name not in needed:
            file.unlink(missing_ok=True)


def known_wheels(layout: Layout) -> dict[str, str]:
    """Return the sha256 of each wheel that an overlay of any release is made of, by its file."""
    overlays = layout.on_disk(layout.overlays).glob(f"*/*/{locks.FILE}")
    wheels = (wheel for file in overlays for wheel in locks.read(file.parent).all_wheels())
    return {wheel.file: wheel.sha256 for wheel in wheels}


def altered(layout: Layout, overlay: Path) -> Iterator[str]:
    """Yield the files of an overlay that are not as in its wheels: changed, missing or added."""
    for package_set, wheels in locks.read(layout.on_disk(overlay)).wheels.items():
        top = layout.on_disk(overlay / package_set)
        expected: dict[str, str] = {}
        for wheel in wheels:
            expected |= unpacked(_verified(layout, wheel))
        found = {str(each.relative_to(top)) for each in top.rglob("*") if not each.is_dir()}
        found = {each for each in found if not _MADE_BY_PIP.search(each)}
        for name in sorted(expected.keys() | found):
            file = top / name
            if not file.is_file() or sha256(file) != expected.get(name):
                yield str(overlay / package_set / name)


def has_wheels(layout: Layout, wheels: Iterable[Wheel]) -> bool:
    """Return whether wheels are on disk as their lock names them."""
    try:
        return all(_verified(layout, each) for each in wheels)
    except LittlestHubError:
        return False


def _verified(layout: Layout, wheel: Wheel) -> Path:
    """Return the file of a wheel.

    Raises:
        LittlestHubError: it is missing, or not the file that the lock names.
    """
    file = layout.on_disk(layout.wheels / wheel.file)
    again = f"Get it again: {layout.command} packages rebuild"
    if not file.is_file():
        raise LittlestHubError(f"{file} is missing", again)
    if sha256(file) != wheel.sha256:
        text = f"{file} is not the file that the lock names: its sha256 differs"
        raise LittlestHubError(text, again)
    return file


def release_parts(layout: Layout, prefix: Path) -> Release:
    """Return what wheels must not change in a release."""
    site_packages = _site_packages(layout, prefix)
    found = metadata.distributions(path=[str(site_packages)])
    points = frozenset((each.group, each.name) for own in found for each in own.entry_points)
    return Release(site_packages, layout.on_disk(prefix), points)


def pins(layout: Layout, prefix: Path) -> list[str]:
    """Return the packages of a release as "NAME==VERSION"."""
    found = metadata.distributions(path=[str(_site_packages(layout, prefix))])
    return sorted(f"{each.metadata['Name']}=={each.version}" for each in found)


def _site_packages(layout: Layout, prefix: Path) -> Path:
    return next(layout.on_disk(prefix).glob("lib/python3.*/site-packages"))


def make_directory(layout: Layout, directory: Path) -> None:
    """Make a directory of packages that everyone may read, and those above it."""
    top = layout.on_disk(layout.packages)
    for each in reversed((directory, *directory.parents)):
        if each.is_relative_to(top) and not each.is_dir():
            each.mkdir()
            each.chmod(0o755)  # whatever the umask


def _make_readable(directory: Path) -> None:
    """Make a tree readable for everyone and writable for no one, whatever the umask."""
    for place, _, files in os.walk(directory):
        Path(place).chmod(0o755)
        for name in files:
            file = Path(place, name)
            file.chmod(0o555 if os.access(file, os.X_OK) else 0o444)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
