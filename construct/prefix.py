"""conda's metadata of a prefix: records, history and the files that need relocation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from construct import channel
from construct.condapkg import EPOCH_S, PLACEHOLDER, SUBDIR, Package
from construct.definition import Definition
from littlest_hub.errors import LittlestHubError

PARTS = 2
"""Number of parts of the environment in the installer, which are unpacked in parallel."""
FILE_COST_BYTES = 16384
"""Creating a file takes about as long as writing this many bytes."""


def explicit(packages: Sequence[Package]) -> str:
    """Return the packages as a spec file (conda's ``@EXPLICIT``), in installation order."""
    records = [package.record for package in packages]
    lines = [f"{channel.URL}/{record['fn']}#{record['md5']}" for record in records]
    return "\n".join(["@EXPLICIT", *lines]) + "\n"


def lockfile(packages: Sequence[Package]) -> str:
    """Return the packages as a spec file that says how to use it."""
    lines = [
        f"# platform: {SUBDIR}",
        "# `python -m construct --channel` writes the channel of these packages. If it is in DIR:",
        f"# sed 's|{channel.ADDRESS}|file://DIR|' THIS_FILE >lock.txt",
        "# conda create --prefix PREFIX --file lock.txt",
    ]
    return "\n".join(lines) + "\n" + explicit(packages)


def prefix_record(package: Package, requested: str | None) -> dict[str, Any]:
    """Return the ``conda-meta`` record of a package that is linked but not yet relocated.

    It has ``sha256_in_prefix`` for every file that relocation does not change. Like conda's own
    records, it has none for a link: the file that a link leads to may be one that changes.
    """
    record = package.record
    paths = []
    for entry in package.paths:
        changes = "prefix_placeholder" in entry or entry["path_type"] == "softlink"
        paths.append(entry if changes else {**entry, "sha256_in_prefix": entry["sha256"]})
    return {
        **record,
        "channel": channel.ADDRESS,
        "url": f"{channel.URL}/{record['fn']}",
        "files": [entry["_path"] for entry in paths],
        "paths_data": {"paths": paths, "paths_version": 1},
        "link": {"source": "", "type": 1},
        "extracted_package_dir": "",
        "package_tarball_full_path": "",
        "requested_spec": requested or "",
        "requested_specs": [requested] if requested else [],
    }


def history(definition: Definition, packages: Sequence[Package]) -> str:
    """Return conda's log of the specs requested for a prefix, which later changes respect."""
    lines = [
        time.strftime("==> %Y-%m-%d %H:%M:%S <==", time.gmtime(EPOCH_S)),
        f"# cmd: construct {definition.name} {definition.version}",
    ]
    for package in packages:
        lines.append(f"+{channel.NAME}/{SUBDIR}::{package.file.stem}")
    lines.append(f"# update specs: {list(definition.specs)}")
    return "\n".join(lines) + "\n"


def files(definition: Definition, packages: Sequence[Package]) -> dict[str, bytes]:
    """Return all files of the prefix that belong to no package, by path.

    Raise LittlestHubError if two packages contain the same file.
    """
    requested = {spec.split(" ")[0].split("=")[0]: spec for spec in definition.specs}
    owner: dict[str, str] = {}
    relocated = {}
    found = {
        "conda-meta/history": history(definition, packages),
        "conda-meta/initial-state.explicit.txt": explicit(packages),
        ".installer.info": _json(
            {
                "name": definition.name,
                "version": definition.version,
                "platform": SUBDIR,
                "type": "SH",
            }
        ),
    }
    for package in packages:
        name = package.record["name"]
        meta = f"conda-meta/{package.file.stem}.json"
        found[meta] = _json(prefix_record(package, requested.get(name)))
        for entry in package.paths:
            path = entry["_path"]
            if path in owner:
                raise LittlestHubError(f"{path} is in {owner[path]} and in {name}")
            owner[path] = name
            if "prefix_placeholder" in entry:
                relocated[path] = {"mode": entry["file_mode"], "record": meta}
    manifest = {"placeholder": PLACEHOLDER, "files": relocated}
    found["conda-meta/relocate.json"] = _json(manifest)
    return {path: text.encode() for path, text in found.items()}


def in_parts(packages: Sequence[Package]) -> list[list[Package]]:
    """Divide the packages into parts that take equally long to unpack."""
    parts: list[list[Package]] = [[] for _ in range(PARTS)]
    costs = [0] * PARTS
    for package in sorted(packages, key=_cost, reverse=True):
        number = costs.index(min(costs))
        parts[number].append(package)
        costs[number] += _cost(package)
    return parts


def _cost(package: Package) -> int:
    return sum(entry["size_in_bytes"] + FILE_COST_BYTES for entry in package.paths)


def shared_directories(parts: Sequence[Sequence[Package]], others: Iterable[str]) -> list[str]:
    """Return the directories below the prefix that contain files of several parts.

    ``others`` are the paths of files that belong to no package. They are in the first part.
    """
    seen: set[str] = set()
    shared: set[str] = set()
    for number, part in enumerate(parts):
        paths = [entry["_path"] for package in part for entry in package.paths]
        if number == 0:
            paths += others
        found = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        shared |= seen & found
        seen |= found
    return sorted(shared - {"."})


def size_bytes(packages: Sequence[Package], others: dict[str, bytes]) -> int:
    """Return the size of the unpacked prefix on a file system with blocks of 4096 bytes."""
    sizes = [entry["size_in_bytes"] for package in packages for entry in package.paths]
    sizes += [len(data) for data in others.values()]
    return sum(-(-size // 4096) * 4096 for size in sizes)


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
