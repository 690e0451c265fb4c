"""Units of stacks as files, for tests in which systemd itself verifies and judges them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from littlest_hub.units.unit import Unit


def write(units: Iterable[Unit], directory: Path) -> dict[str, Path]:
    """Write units as files and return these by name; their commands exist on this machine."""
    files = {}
    for unit in units:
        text = re.sub(r"^(Exec\w+=[-+]*)\S+", r"\1/bin/true", unit.text(), flags=re.MULTILINE)
        files[unit.name] = directory / unit.name
        files[unit.name].write_text(text)
    return files


def complaints(files: Iterable[Path], about: str) -> list[str]:
    """Return what systemd-analyze(1) says of the units, in lines that contain a text."""
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        capture_output=True,
        text=True,
    )
    # Its exit code is 0 for a misspelled directive too.
    return [line for line in verify.stderr.splitlines() if about in line]


def exposes_at_most(file: Path, exposure: float) -> None:
    """Assert that systemd-analyze(1) rates the exposure of a service, 0 to 10, no higher."""
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={exposure * 10:.0f}", file],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout
