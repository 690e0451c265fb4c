"""A server's report of its cgroup and its disk."""

from pathlib import Path

import pytest

from littlest_hub.singleuser import resources
from littlest_hub.system import cgroups


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The cgroup of a server in a slice, with the kernel's files."""
    found = tmp_path / "users.slice" / "littlest-hub.user-alice.service"
    found.mkdir(parents=True)
    for name, text in {
        "memory.current": "1000\n",
        "memory.stat": "anon 500\nfile 400\ninactive_file 300\n",
        "memory.max": "max\n",
        "pids.current": "12\n",
        "pids.max": "500\n",
        "cpu.max": "150000 100000\n",
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    }.items():
        (found / name).write_text(text)
    return found


def test_each_resource_has_use_and_limit(unit: Path, tmp_path: Path) -> None:
    (unit.parent / "memory.max").write_text("8000\n")
    found = resources.report(unit, tmp_path)
    # Files that the kernel can drop are not needed; the slice has the lower limit.
    assert found["memory"] == {"used": 700, "limit": 8000}
    assert found["tasks"] == {"used": 12, "limit": 500}
    assert found["cpu"] == {"used": 2.5, "limit": 1.5}
    disk = found["disk"]
    assert disk["limit"] is not None
    assert disk["used"] is not None
    assert 0 < disk["used"] <= disk["limit"]


def test_the_lower_limit_of_unit_and_slice_counts(unit: Path, tmp_path: Path) -> None:
    (unit / "memory.max").write_text("2000\n")
    (unit.parent / "memory.max").write_text("8000\n")
    assert resources.report(unit, tmp_path)["memory"]["limit"] == 2000


def test_what_the_kernel_does_not_count_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    found = resources.report(tmp_path / "cgroup", tmp_path / "no-home")
    assert found["memory"] == {"used": None, "limit": None}
    assert found["tasks"] == {"used": None, "limit": None}
    assert found["disk"] == {"used": None, "limit": None}
    assert found["cpu"]["used"] is None
    assert resources.report(None, tmp_path).keys() == {"disk"}


def test_this_process_has_a_cgroup_with_processes() -> None:
    directory = cgroups.own()
    if directory is None:
        pytest.skip("no cgroup of version 2")
    assert (directory / "cgroup.procs").read_text().split()
