"""Solve specs against one channel folder: a separate program that reads and writes JSON.

py-rattler's threads may abort the interpreter during its shutdown, after the solution is complete.
This process therefore ends without that shutdown, and the builder does not import py-rattler.
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
    """Return file names of packages, dependencies first. ``machine`` are its virtual packages."""
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
    """Solve the request on standard input."""
    request: dict[str, Any] = json.load(sys.stdin)
    try:
        solution = asyncio.run(solve(Path(request["folder"]), request["specs"], request["machine"]))
    except Exception as error:  # rattler has no common class for a solver's errors
        print(str(error), file=sys.stderr, flush=True)
        os._exit(1)
    print(json.dumps(solution), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
