"""Conda prefixes on disk: packages of one, copied to another place with what they need."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.errors import LittlestHubError


class Package(NamedTuple):
    """A package in a prefix, as its record in conda-meta/ has it."""

    name: str
    version: str
    build: str
    sha256: str
    """Checksum of the file that it came in; "": unknown."""
    depends: tuple[str, ...]
    files: tuple[str, ...]
    """Paths in the prefix, its record included."""


def packages(prefix: Path, names: Iterable[str]) -> list[Package]:
    """Return packages of a prefix, and all packages that they need.

    Raises:
        LittlestHubError: it has no record of one of them.
    """
    records: dict[str, Package] = {}
    for file in prefix.glob("conda-meta/*.json"):
        content: dict[str, Any] = json.loads(file.read_text())
        if isinstance(content, dict) and "name" in content:
            records[content["name"]] = Package(
                name=content["name"],
                version=content.get("version", ""),
                build=content.get("build", ""),
                sha256=content.get("sha256", ""),
                depends=tuple(content["depends"]),
                files=(*content["files"], f"conda-meta/{file.name}"),
            )
    asked = list(names)
    if missing := [name for name in asked if name not in records]:
        raise LittlestHubError(f"{prefix} has no record of {', '.join(missing)}")
    found = needed(asked, {each.name: each.depends for each in records.values()})
    return [records[name] for name in found if name in records]


def needed(names: Iterable[str], depends: Mapping[str, Iterable[str]]) -> list[str]:
    """Return packages and all their dependencies, even those that do not exist."""
    found: dict[str, None] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = None
            todo += [text.split()[0] for text in depends.get(name, ())]
    return list(found)


def copy(source: Path, found: Collection[Package], tree: Path, prefix: Path) -> None:
    """Copy packages of a prefix.

    Args:
        source: the prefix.
        found: packages of it.
        tree: the directory to copy them to.
        prefix: the path at which the tree will be used, and which its files are to contain.

    Raises:
        LittlestHubError: a binary has no room for that path.
    """
    for package in found:
        for path in package.files:
            _copy(source, Path(path), tree, prefix)


def _copy(source_prefix: Path, path: Path, tree: Path, prefix: Path) -> None:
    source, target = source_prefix / path, tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        if not target.is_symlink():
            target.symlink_to(source.readlink())
        return
    data = source.read_bytes()
    old, new = bytes(source_prefix), bytes(prefix)
    if old in data and path.suffix == ".pyc":
        return  # Python compiles its source again
    if old in data:
        data = moved(data, old, new)
    target.write_bytes(data)
    shutil.copystat(source, target)


def moved(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return the content of a file with another prefix; a binary keeps its length.

    Raises:
        LittlestHubError: a string of a binary has no room for the prefix.
    """
    if b"\0" not in data:
        return data.replace(old, new)

    def string(match: re.Match[bytes]) -> bytes:
        text = match["text"].replace(old, new)
        room = len(match[0])
        if len(text) >= room:
            raise LittlestHubError(f"no room for {new.decode()} in a binary")
        return text + bytes(room - len(text))

    return re.sub(rb"(?P<text>" + re.escape(old) + rb"[^\0]*)\0+", string, data)
