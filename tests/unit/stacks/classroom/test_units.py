"""The units of the class stack, verified and judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.units import units

pytestmark = pytest.mark.needs("systemd-analyze")


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units of the stack as files, by name; their commands exist."""
    files = {}
    for unit in units(Layout(DEFAULT_BASE), EnabledStack("class")):
        text = re.sub(r"^(Exec\w+=-?)/\S+", r"\1/bin/true", unit.text(), flags=re.MULTILINE)
        files[unit.name] = tmp_path / unit.name
        files[unit.name].write_text(text)
    return files


def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *written.values()],
        capture_output=True,
        text=True,
    )
    complaints = [line for line in verify.stderr.splitlines() if "class-" in line]
    assert complaints == []


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("name", "exposure"), [("accounts@", 7.5), ("environment@", 1.9), ("disk", 1.5)]
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    security = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            f"--threshold={exposure * 10:.0f}",
            written[f"littlest-hub.class-{name}.service"],
        ],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout
