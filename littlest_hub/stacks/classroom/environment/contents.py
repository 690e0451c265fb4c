"""The contents of a generation: its packages, as pip and conda have recorded them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INFO = re.compile(r"(?P<name>[A-Za-z0-9._]+?)-(?P<version>[^-]+)\.dist-info")


@dataclass(frozen=True)
class Difference:
    """A package that two generations do not have in common."""

    name: str
    before: str
    """The former version; "": the package was not there."""
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.name} {self.after}"
        if not self.after:
            return f"- {self.name} {self.before}"
        return f"  {self.name} {self.before} -> {self.after}"


def python_packages(prefix: Path) -> dict[str, str]:
    """Return the versions of the Python packages in a prefix, by normalized name."""
    found = {}
    for info in prefix.glob("lib/python3*/site-packages/*.dist-info"):
        if match := _INFO.fullmatch(info.name):
            found[_normalized(match["name"])] = match["version"]
    return dict(sorted(found.items()))


def packages(prefix: Path) -> dict[str, str]:
    """Return the versions of all packages.

    pip may change a package that conda has installed, and does not change conda's record. So pip's
    records count for packages of Python.
    """
    found = python_packages(prefix)
    for record in _records(prefix):
        if not any(str(path).endswith(".dist-info/METADATA") for path in record.get("files", ())):
            found[str(record["name"])] = str(record["version"])
    return dict(sorted(found.items()))


def has_module(prefix: Path, name: str) -> bool:
    """Return whether a prefix contains a module, or the package of that module."""
    top = name.partition(".")[0]
    site = "lib/python3*/site-packages"
    patterns = (f"{site}/{top}", f"{site}/{top}.py", f"{site}/{top}.*.so")
    return any(found for pattern in patterns for found in prefix.glob(pattern))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """Return the differences between two sets of packages."""
    return [
        Difference(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _records(prefix: Path) -> Iterator[dict[str, Any]]:
    """Yield conda's records of packages, without those that are damaged."""
    for file in sorted(prefix.glob("conda-meta/*.json")):
        with contextlib.suppress(ValueError):
            record = json.loads(file.read_text())
            if isinstance(record, dict) and {"name", "version"} <= record.keys():
                yield record


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
