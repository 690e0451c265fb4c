"""Processes in the real /proc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from littlest_hub.system import processes

pytestmark = pytest.mark.unit

NO_PROCESS = 2**22 + 1
"""Above the highest process id, PID_MAX_LIMIT of proc(5)."""


def test_a_running_program_is_found_by_its_process_id() -> None:
    with subprocess.Popen([shutil.which("sleep") or "sleep", "60"]) as sleeping:
        assert sleeping.pid in processes.process_ids()
        program = processes.program(sleeping.pid)
        name = processes.name(sleeping.pid)
        words = processes.words(sleeping.pid)
        mapped = processes.mapped(sleeping.pid)
        sleeping.kill()
    assert program is not None
    assert program.name in ("sleep", "coreutils", "busybox")
    assert name == "sleep"
    assert words[-1] == "60"
    assert processes.words(NO_PROCESS) == []
    assert str(program) in mapped.splitlines()[0]


def test_a_program_below_a_directory_is_named_by_its_entry(tmp_path: Path) -> None:
    program = tmp_path / "2026.11.0" / "bin" / "sleep"
    program.parent.mkdir(parents=True)
    shutil.copy(Path(shutil.which("sleep") or "").resolve(), program)
    with subprocess.Popen([program, "60"]) as sleeping:
        assert processes.runs_below(sleeping.pid, tmp_path) == "2026.11.0"
        assert processes.runs_below(sleeping.pid, tmp_path / "elsewhere") is None
        program.unlink()
        assert str(processes.program(sleeping.pid)) == f"{program} (deleted)"
        sleeping.kill()


def test_a_process_that_has_ended_has_no_properties() -> None:
    assert processes.program(NO_PROCESS) is None
    assert processes.name(NO_PROCESS) == ""
    assert processes.unit(NO_PROCESS) == ""
    assert processes.mapped(NO_PROCESS) == "\n"
    assert processes.runs_below(NO_PROCESS, Path("/")) is None


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/littlest-hub.service\n", "littlest-hub.service"),
        ("0::/littlest.slice/littlest-hub.user-a.service/kernels\n", "littlest-hub.user-a.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service\n",
            "dbus.service",
        ),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        (
            "12:pids:/system.slice/cron.service\n1:name=systemd:/system.slice/cron.service\n",
            "cron.service",
        ),
        ("0::/\n", ""),
    ],
)
def test_the_unit_is_the_innermost_service_or_scope(
    cgroup: str, unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cgroup").write_text(cgroup)
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert processes.unit(1) == unit


@pytest.mark.parametrize(
    ("cgroup", "path"),
    [
        ("0::/users.slice/a.service\n", "/users.slice/a.service"),
        ("4:pids:/x.service\n1:name=systemd:/a.service\n0::/a.service\n", "/a.service"),
        ("4:pids:/x.service\n1:name=systemd:/a.service\n0::/\n", "/a.service"),
        ("4:pids:/x.service\n1:name=systemd:/a.service\n", "/a.service"),
        ("1:name=systemd:/\n0::/a.service\n", "/a.service"),
        ("4:pids:/x.service\n", ""),
        ("", ""),
    ],
)
def test_the_cgroup_is_the_one_that_systemd_has_chosen(
    cgroup: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cgroup").write_text(cgroup)
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert processes.cgroup_path(1) == path


def test_this_process_is_listed() -> None:
    assert os.getpid() in processes.process_ids()


def test_the_users_and_mounts_of_a_process_are_known() -> None:
    assert os.getuid() in processes.user_ids(os.getpid())
    assert Path("/proc") in processes.mounts(os.getpid())
    assert processes.user_ids(NO_PROCESS) == set()
    assert processes.mounts(NO_PROCESS) == set()
