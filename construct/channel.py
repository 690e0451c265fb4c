"""A local conda channel of our packages, and the environment solved from it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from construct.condapkg import GLIBC_FLOOR, SUBDIR, Package
from littlest_hub.errors import LittlestHubError

SOLVER = Path(__file__).with_name("solve.py")
NAME = "littlest-hub"
ADDRESS = f"file:///{NAME}"
"""Address of the channel in records and lock files, independent of the build machine's paths. Only
root can make that directory, so nobody else can offer packages under this address."""
URL = f"{ADDRESS}/{SUBDIR}"


@dataclass(frozen=True)
class Channel:
    """A folder with ``linux-64/repodata.json`` and the packages."""

    folder: Path
    packages: dict[str, Package]
    """Packages by file name."""

    def copy(self, folder: Path) -> None:
        """Copy the channel to ``folder``, for conda and micromamba. Replace an older copy."""
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(self.folder, partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)


def write(packages: Iterable[Package], folder: Path) -> Channel:
    """Write a channel of packages to ``folder``: its index, and links to the files."""
    named = {}
    entries = {}
    for package in packages:
        entry = package.record
        fn = entry.pop("fn")
        named[fn] = package
        entries[fn] = entry
    subdir = folder / SUBDIR
    subdir.mkdir(parents=True)
    (folder / "noarch").mkdir()
    for fn, package in named.items():
        (subdir / fn).symlink_to(package.file)
    for name, found in ((SUBDIR, entries), ("noarch", {})):
        repodata = {
            "info": {"subdir": name},
            "packages": {},
            "packages.conda": dict(sorted(found.items())),
            "removed": [],
            "repodata_version": 1,
        }
        (folder / name / "repodata.json").write_text(json.dumps(repodata, indent=1))
    return Channel(folder, named)


def solve(channel: Channel, specs: Sequence[str]) -> list[Package]:
    """Return the packages that satisfy the specs on the oldest target, dependencies first.

    Raise LittlestHubError with the solver's explanation if there is no solution.
    """
    glibc = "{}.{}".format(*GLIBC_FLOOR)
    machine = {"__glibc": glibc, "__linux": "3.10", "__unix": "0", "__archspec": "1"}
    request = {"folder": str(channel.folder), "specs": list(specs), "machine": machine}
    done = subprocess.run(
        [sys.executable, SOLVER],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LittlestHubError(
            f"no environment can be made of {', '.join(specs)}:\n{done.stderr.strip()}",
            "after a change in environment.yml: python -m construct --update-locks",
        )
    return [channel.packages[fn] for fn in json.loads(done.stdout)]
