"""Conda packages that are unpacked: examined before anything is linked from them.

py-rattler joins the paths in a package's list with the prefix as they are, "../../x" too, keeps
modes such as 0666, and makes links that lead anywhere (0.28, tests/unit/system/test_rattler.py).
Packages that several users share have to be harmless as files, whoever made them: each is a plain
file, directory or link that stays inside, readable by everybody and writable by nobody. And two of
them never meet at one path, unless py-rattler notices: it would write into a file that is linked.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from littlest_hub.errors import LittlestHubError

NEW = ".new-"
"""Beginning of the names of packages that are not complete; the id of the process follows."""
_METADATA_BYTES = 64 << 20
_LONGEST_PATH, _DEEPEST = 1024, 40
_SHORTEST_PLACEHOLDER = 16
_OWN = ("info", "conda-meta", "__clobbers__", "CACHEDIR.TAG")
"""Names at the top of a package or a prefix that are conda's or py-rattler's."""
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[A-Za-z0-9_.!+-]+")
_SITE_PACKAGES = re.compile(r"lib/python\d\.\d+t?/site-packages")
_COMMAND = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_DIST = re.compile(
    r"(?:lib/python[\d.]+t?/)?site-packages/([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+?)(?:-py[\d.]+)?\.(?:dist|egg)-info"
    r"(?:/(?:METADATA|PKG-INFO))?"
)


@dataclass(frozen=True)
class Contents:
    """The contents of a package that has been found harmless."""

    name: str
    version: str
    build: str
    is_for_any_python: bool
    """Whether its modules go where the environment's Python has them."""
    commands: tuple[str, ...]
    """Names of programs that are written for it, in bin/."""
    depends: tuple[str, ...]
    files: tuple[str, ...]
    """Paths in the package."""
    links: Mapping[str, str]
    """Those of them that are symbolic links, and what they contain."""
    dists: Mapping[str, str]
    """Python distributions in it, and their versions."""
    size_bytes: int


def tidy(directory: Path, largest_bytes: int, most_files: int) -> None:
    """Make the files of a package plain ones, which everybody may read and nobody change.

    Raises:
        LittlestHubError: it has too many or too large files, or one that is no plain file.
    """
    count = total = 0
    for entry in _walk(directory):
        status = entry.stat(follow_symlinks=False)
        count, total = count + 1, total + status.st_size
        if count > most_files or total > largest_bytes:
            raise LittlestHubError(
                f"it unpacks to more than {most_files} files or {largest_bytes >> 20} MB"
            )
        if stat.S_ISLNK(status.st_mode):
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise LittlestHubError(f"{_relative(entry.path, directory)} is no plain file")
        mode = 0o555 if status.st_mode & 0o111 else 0o444
        mode = 0o755 if stat.S_ISDIR(status.st_mode) else mode
        if stat.S_IMODE(status.st_mode) != mode:
            Path(entry.path).chmod(mode)
    directory.chmod(0o755)


def _walk(directory: Path) -> Iterator[os.DirEntry[str]]:
    todo = [str(directory)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)


def examine(
    directory: Path, paths: Sequence[tuple[str, str]], *, is_for_any_python: bool
) -> Contents:
    """Return what is in a package.

    Args:
        directory: where it is unpacked, and tidied.
        paths: each path that would be linked, and the placeholder in it or "".
        is_for_any_python: whether whoever links it takes it for such a package.

    Raises:
        LittlestHubError: it would change something outside of an environment, or is damaged.
    """
    metadata = directory / "info"
    for entry in _walk(metadata):
        if entry.is_symlink():
            raise LittlestHubError(f"{_relative(entry.path, directory)}: expected a plain file")
    index = _json(metadata / "index.json")
    name, version, build = (str(index.get(key, "")) for key in ("name", "version", "build"))
    if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version) and _VERSION.fullmatch(build)):
        raise LittlestHubError(f"info/index.json: {name!r} {version!r} {build!r} is no package")
    place = index.get("python_site_packages_path")
    if place is not None and not (isinstance(place, str) and _SITE_PACKAGES.fullmatch(place)):
        raise LittlestHubError(f"info/index.json: modules in {str(place)[:80]!r}")
    commands: tuple[str, ...] = ()
    if is_for_any_python and (metadata / "link.json").exists():
        commands = tuple(_commands(_json(metadata / "link.json")))
    listed = dict(paths)
    if len(listed) < len(paths):
        raise LittlestHubError("its list of paths has one twice")
    links = dict(_links(directory, listed))
    return Contents(
        name=name,
        version=version,
        build=build,
        is_for_any_python=is_for_any_python,
        commands=commands,
        depends=tuple(map(str, index.get("depends") or ())),
        files=tuple(listed),
        links=links,
        dists=dict(_dists(listed)),
        size_bytes=sum((directory / each).lstat().st_size for each in listed),
    )


def _links(directory: Path, paths: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield links and what they contain; refuse paths, placeholders and links that lead out."""
    for path, placeholder in paths.items():
        _check_path(path)
        is_path = placeholder.startswith("/") and len(placeholder) >= _SHORTEST_PLACEHOLDER
        if placeholder and not is_path:
            raise LittlestHubError(f"{path}: {placeholder[:80]!r} is no path to replace")
        source = directory / path
        if source.is_symlink():
            target = str(source.readlink())
            _check_link(path, target)
            if placeholder:
                raise LittlestHubError(f"{path}: expected a file, found a link")
            yield path, target


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _METADATA_BYTES:
            raise LittlestHubError(f"info/{file.name} has more than {_METADATA_BYTES >> 20} MB")
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise LittlestHubError(f"info/{file.name}: {error}") from None
    if not isinstance(found, dict):
        raise LittlestHubError(f"info/{file.name} is none of conda's files")
    return found


def _check_path(path: str) -> None:
    parts = path.split("/")
    if (
        len(path) > _LONGEST_PATH
        or len(parts) > _DEEPEST
        or not {"", ".", ".."}.isdisjoint(parts)
        or parts[0] in _OWN
        or not path.isprintable()
    ):
        raise LittlestHubError(f"{path[:80]!r} is no path in an environment")


def _check_link(path: str, target: str) -> None:
    """Refuse a link that leads out.

    It may go up only at its beginning: then it stays inside, whatever other links there are.
    """
    parts = PurePosixPath(target).parts
    ups = next((number for number, each in enumerate(parts) if each != ".."), len(parts))
    if target.startswith("/") or ".." in parts[ups:] or ups >= len(path.split("/")) or not parts:
        raise LittlestHubError(f"{path} is a link to {target[:80]!r}, out of the environment")


def _commands(found: dict[str, Any]) -> Iterator[str]:
    """Yield the commands of a package ("COMMAND = MODULE:FUNCTION"); refuse one that is a path."""
    noarch = found.get("noarch")
    for each in (noarch.get("entry_points") or ()) if isinstance(noarch, dict) else ():
        command = str(each).partition("=")[0].strip()
        if not _COMMAND.fullmatch(command):
            raise LittlestHubError(f"info/link.json: {command[:80]!r} is no name of a command")
        yield command


def _dists(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in files:
        if found := _DIST.fullmatch(path):
            yield re.sub(r"[-_.]+", "-", found[1]).lower(), found[2]


def check_together(packages: Iterable[Contents], modules: str) -> None:
    """Refuse packages of which one would write into a file, or through a link, of another one.

    A path that two packages list is no problem, since py-rattler gives one of them another name.

    Args:
        packages: those of an environment.
        modules: where its Python has modules, such as lib/python3.13/site-packages.

    Raises:
        LittlestHubError: there are such.
    """
    known = list(packages)
    links = {placed(each, link, modules): each.name for each in known for link in each.links}
    taken = {placed(each, file, modules): each.name for each in known for file in each.files}
    for each in known:
        if len({placed(each, file, modules) for file in each.files}) < len(each.files):
            raise LittlestHubError(f"{each.name} has two files for one place")
        for command in each.commands:
            if owner := taken.get(f"bin/{command}"):
                raise LittlestHubError(f"{each.name} has a command {command}, a file of {owner}")
        for file in each.files:
            path = PurePosixPath(placed(each, file, modules))
            for parent in path.parents:
                if owner := links.get(str(parent)):
                    raise LittlestHubError(
                        f"{each.name} has {path}, which would be written through a link of {owner}"
                    )


def placed(package: Contents, path: str, modules: str) -> str:
    """Return where a file of a package is in an environment (CEP 20)."""
    top, _, rest = path.partition("/")
    if package.is_for_any_python and rest and top in ("site-packages", "python-scripts"):
        return f"{modules}/{rest}" if top == "site-packages" else f"bin/{rest}"
    return path


def _relative(path: str, directory: Path) -> str:
    return str(Path(path).relative_to(directory))[:80]
