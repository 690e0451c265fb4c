"""Solve specs against one channel folder: a program of its own, given and answering JSON.

py-rattler's threads may still run while the interpreter ends, and abort it with the answer
complete; so this process ends without the interpreter's farewell, and the builder's never loads it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import rattler

SUBDIR = "linux-64"


async def solve(folder: Path, specs: list[str], machine: dict[str, str]) -> list[str]:
    """File names of the packages, dependencies first; ``machine`` are its virtual packages."""
    source = rattler.SparseRepoData(
        rattler.Channel(folder.as_uri()), SUBDIR, folder / SUBDIR / "repodata.json"
    )
    virtual = [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
        )
        for name, version in machine.items()
    ]
    found = await rattler.solve_with_sparse_repodata(specs, [source], virtual_packages=virtual)
    files = {record.name.normalized: record.file_name for record in found}
    ordered = rattler.PackageRecord.sort_topologically(list(found))
    return [files[record.name.normalized] for record in ordered]


def main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    try:
        answer = asyncio.run(solve(Path(asked["folder"]), asked["specs"], asked["machine"]))
    except Exception as error:  # rattler has no common class for what a solver can say
        print(str(error), file=sys.stderr, flush=True)
        os._exit(1)
    print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
