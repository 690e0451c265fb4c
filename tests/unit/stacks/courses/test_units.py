"""The units of the course stack, verified and judged by systemd itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.courses import records
from littlest_hub.stacks.courses.course import READY, Course
from littlest_hub.stacks.courses.grading import isolation
from littlest_hub.stacks.courses.units import platform_program, units
from tests.unit import unit_files

pytestmark = pytest.mark.needs("systemd-analyze")


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units of the stack with one course as files, by name."""
    layout = Layout(DEFAULT_BASE, root=tmp_path / "root")
    with records.changing(layout):
        records.put(layout, Course("ps131", 15010, stage=READY, instructors=("alice",)))
    directory = tmp_path / "units"
    directory.mkdir()
    return unit_files.write(units(layout, EnabledStack("courses")), directory)


def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    assert unit_files.complaints(written.values(), "courses-") == []


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("name", "exposure"),
    [("rosters", 1.7), ("formgrader-ps131", 3.5), ("kernels-ps131@", 7.5), ("page@", 7.5)],
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    unit_files.exposes_at_most(written[f"littlest-hub.courses-{name}.service"], exposure)


@pytest.mark.row(16)
def test_the_program_that_asks_learning_platforms_exposes_little(tmp_path: Path) -> None:
    rights = [f"{key}={value}" for key, value, _ in platform_program(Layout(DEFAULT_BASE))]
    file = tmp_path / "platform.service"
    file.write_text("\n".join(["[Service]", "ExecStart=/usr/bin/true", *rights, ""]))
    assert unit_files.complaints([file], "platform.service") == []
    unit_files.exposes_at_most(file, 1.1)


@pytest.mark.row(16)
def test_the_kernel_of_a_submission_exposes_little(tmp_path: Path) -> None:
    directory = Path("/run/littlest-hub.courses-formgrader-ps131/kernel-a")
    layout = Layout(DEFAULT_BASE)
    argv = isolation.systemd_run(layout, "ps131", "kernel.service", directory, ["/usr/bin/true"])
    properties = [
        word.removeprefix("--property=") for word in argv if word.startswith("--property=")
    ]
    file = tmp_path / "kernel.service"
    file.write_text("\n".join(["[Service]", "ExecStart=/usr/bin/true", *properties, ""]))
    unit_files.exposes_at_most(file, 1.1)
