"""The contents of a wheel, judged before it is unpacked; nothing of it is run."""

from __future__ import annotations

import configparser
import hashlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from littlest_hub.errors import LittlestHubError
from littlest_hub.packages.lock import Wheel
from littlest_hub.system.digests import sha256

# The parts of NAME-VERSION.data that go beside the modules of a prefix.
_DATA = re.compile(r"[^/]+\.data/(?P<scheme>[a-z]+)/(?P<path>.+)")
_MODULES = ("purelib", "platlib")
# That of setuptools, which packages such as nbgrader import. Like all of these files it is not run:
# `system.import_path` adds sets without the module site.
_INERT = ("distutils-precedence.pth",)
_ENTRY_POINTS = re.compile(r"[^/]+\.dist-info/entry_points\.txt")


@dataclass(frozen=True)
class Release:
    """The parts of a release that a wheel must not change."""

    site_packages: Path
    prefix: Path
    entry_points: frozenset[tuple[str, str]]
    """Group and name of each."""


def locked(file: Path) -> Wheel:
    """Return the entry of a lock for a wheel on disk.

    Raises:
        LittlestHubError: its name is not that of a wheel.
    """
    try:
        name, version, _, _ = parse_wheel_filename(file.name)
    except InvalidWheelFilename as error:
        raise LittlestHubError(f"{file} is not named as a wheel: {error}") from error
    return Wheel(name, str(version), file.name, sha256(file))


def refuse_hostile(file: Path, release: Release) -> None:
    """Refuse a wheel that would change what the release does.

    Raises:
        LittlestHubError: which file of it, and why.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            reason = next(_reasons(archive, release), None)
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError, configparser.Error) as error:
        raise LittlestHubError(f"{file.name} is damaged: {error}") from error
    if reason:
        raise LittlestHubError(
            f"{file.name} was refused: {reason}", "Ask its author; nothing was changed"
        )


def unpacked(file: Path) -> dict[str, str]:
    """Return the sha256 of each file that pip unpacks from a wheel, by its path in the set."""
    with zipfile.ZipFile(file) as archive:
        return {
            str(place[1]): hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if (place := _place(name)) and place[0] in (*_MODULES, "data")
            if not name.endswith(".dist-info/RECORD")
        }


def _reasons(archive: zipfile.ZipFile, release: Release) -> Iterator[str]:
    """Yield why a wheel is refused."""
    for name in archive.namelist():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
            yield f"{name!r} lies outside"
        elif place := _place(name):
            yield from _clashes(name, *place, release)
        if _ENTRY_POINTS.fullmatch(name):
            for group, entry in _entry_points(archive.read(name).decode()):
                if (group, entry) in release.entry_points:
                    yield f"its entry point {entry} in {group} is one of the release's"


def _clashes(name: str, scheme: str, inside: PurePosixPath, release: Release) -> Iterator[str]:
    """Yield why a file of a wheel must not be beside the release."""
    if scheme in _MODULES:
        if len(inside.parts) == 1 and inside.suffix == ".pth" and name not in _INERT:
            yield f"{name} would run at every start of Python"
        if _is_module(release.site_packages / inside.parts[0]):
            yield f"{name} belongs to a package of the release"
    elif scheme == "data" and (release.prefix / inside).is_file():
        yield f"{name} is a file of the release"


def _place(name: str) -> tuple[str, PurePosixPath] | None:
    """Return the scheme that a file belongs to, and its path there; None: a directory."""
    if name.endswith("/"):
        return None
    if found := _DATA.fullmatch(name):
        return found["scheme"], PurePosixPath(found["path"])
    return "purelib", PurePosixPath(name)


def _is_module(path: Path) -> bool:
    """Return whether a path is a module, a regular package or its metadata.

    A directory without __init__.py is a namespace, which packages share (PEP 420).
    """
    is_metadata = path.name.endswith(".dist-info") and path.is_dir()
    return path.is_file() or (path / "__init__.py").is_file() or is_metadata


def _entry_points(text: str) -> Iterator[tuple[str, str]]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    for group in parser.sections():
        # Scripts of hub and server sets are not installed.
        if group not in ("console_scripts", "gui_scripts"):
            yield from ((group, name) for name in parser[group])
