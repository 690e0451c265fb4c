"""What conda keeps in an installed prefix: records, history, and what is still to be relocated."""

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
"""Of the environment in the installer, unpacked beside each other."""
FILE_COST_BYTES = 16384
"""Creating a file takes about as long as writing this much."""


def explicit(packages: Sequence[Package]) -> str:
    """The packages as an explicit spec file (conda's ``@EXPLICIT``), in installation order."""
    records = [package.record for package in packages]
    lines = [f"{channel.URL}/{record['fn']}#{record['md5']}" for record in records]
    return "\n".join(["@EXPLICIT", *lines]) + "\n"


def prefix_record(package: Package, requested: str | None) -> dict[str, Any]:
    """The entry of ``conda-meta`` for a package that is linked but not yet relocated.

    ``sha256_in_prefix`` is there for every file that relocation leaves as it is.
    """
    record = package.record
    paths = []
    for entry in package.paths:
        kept = {} if "prefix_placeholder" in entry else {"sha256_in_prefix": entry["sha256"]}
        paths.append({**entry, **kept})
    return {
        **record,
        "channel": f"file:///{channel.NAME}",
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
    """conda's log of what was asked of a prefix, so that later changes keep to it."""
    lines = [
        time.strftime("==> %Y-%m-%d %H:%M:%S <==", time.gmtime(EPOCH_S)),
        f"# cmd: construct {definition.name} {definition.version}",
    ]
    for package in packages:
        lines.append(f"+{channel.NAME}/{SUBDIR}::{package.file.stem}")
    lines.append(f"# update specs: {list(definition.specs)}")
    return "\n".join(lines) + "\n"


def files(definition: Definition, packages: Sequence[Package]) -> dict[str, bytes]:
    """Everything in the prefix that is of no package, by path.

    Raises LittlestHubError when two packages have a file of the same name.
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
    """The packages divided so that unpacking each part takes as long as unpacking another."""
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
    """The directories below the prefix that files of several parts are in.

    ``others`` are the paths of what is of no package, in the first part.
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
    """Room the unpacked prefix takes on a file system with blocks of 4096 bytes."""
    sizes = [entry["size_in_bytes"] for package in packages for entry in package.paths]
    sizes += [len(data) for data in others.values()]
    return sum(-(-size // 4096) * 4096 for size in sizes)


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
