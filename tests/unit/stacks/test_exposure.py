"""The services of stacks that have no tests of their units, judged by systemd itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.backups.units import units as backups
from littlest_hub.stacks.slurm.units import units as slurm
from littlest_hub.stacks.stats.units import units as stats
from tests.unit import unit_files

pytestmark = [pytest.mark.unit, pytest.mark.needs("systemd-analyze")]


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units of these stacks as files, by name."""
    layout = Layout(DEFAULT_BASE)
    stacks = (
        (backups, EnabledStack("backups", port=15010)),
        (slurm, EnabledStack("slurm")),
        (stats, EnabledStack("stats", port=15011)),
    )
    found = (unit for units, stack in stacks for unit in units(layout, stack))
    return unit_files.write(found, tmp_path)


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("name", "exposure"),
    [
        ("backups", 0.9),
        ("backups-run", 2.7),
        ("backups-test", 2.7),
        ("backups-restore@", 2.7),
        ("slurm-jobs@", 2.7),
        ("stats", 0.9),
        ("stats-sampler", 0.9),
    ],
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    unit_files.exposes_at_most(written[f"littlest-hub.{name}.service"], exposure)
