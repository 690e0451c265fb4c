"""The first generation: Python, pip and ipykernel of a release, copied to their new prefix.

The copy needs no network, and does not depend on the release afterwards.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError

PACKAGES = ("python", "pip", "ipykernel")
"""Packages of the release, with what they need."""


def copy(release: Path, tree: Path, prefix: Path) -> None:
    """Copy Python, pip and ipykernel of a release.

    Args:
        release: its prefix.
        tree: the directory to make.
        prefix: the path at which the tree will be used, and which its files are to contain.

    Raises:
        LittlestHubError: the release has no record of a package, or a binary has no room.
    """
    records = _records(release)
    for name in needed(PACKAGES, {each: record["depends"] for each, record in records.items()}):
        if name in records:
            for path in (*records[name]["files"], records[name]["record"]):
                _copy(release, Path(path), tree, prefix)
    for library in tree.glob("lib/python3.*"):
        module = library / "ensurepip"
        module.mkdir()
        (module / "__init__.py").touch()
        shutil.copyfile(Path(__file__).with_name("ensurepip.py"), module / "__main__.py")


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


def _records(release: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in release.glob("conda-meta/*.json"):
        content = json.loads(file.read_text())
        if isinstance(content, dict) and "name" in content:
            found[content["name"]] = {
                "depends": content["depends"],
                "files": content["files"],
                "record": f"conda-meta/{file.name}",
            }
    if missing := [name for name in PACKAGES if name not in found]:
        raise LittlestHubError(f"{release} has no record of {', '.join(missing)}")
    return found


def _copy(release: Path, path: Path, tree: Path, prefix: Path) -> None:
    source, target = release / path, tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        if not target.is_symlink():
            target.symlink_to(source.readlink())
        return
    data = source.read_bytes()
    old, new = bytes(release), bytes(prefix)
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
