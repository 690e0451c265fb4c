"""Lock files, with the kernel's own locks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from littlest_hub.system.locks import hold, holder, try_lock

pytestmark = pytest.mark.unit

HOLD = """
import sys
from pathlib import Path
from littlest_hub.system.locks import hold
held = hold(Path(sys.argv[1]))
print(bool(held), flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_by_one_process_and_names_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "True\n"
        assert hold(file) is None
        assert holder(file) == str(other.pid)
        other.communicate()
    held = hold(file)
    assert held
    assert holder(file) == str(os.getpid())
    held.close()


def test_a_lock_ends_with_its_process_even_if_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "True\n"
        other.kill()
    assert hold(file)


@pytest.mark.row(37)
@pytest.mark.needs("root")
def test_nobody_else_can_open_a_lock_or_hold_one_that_an_earlier_release_made() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)  # as state/ is for an unprivileged hub
        _let_another_user_lock(Path(directory) / "change.lock")


def _let_another_user_lock(file: Path) -> None:
    file.touch()
    file.chmod(0o644)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    reader = ["flock", str(file), "sh", "-c", "echo locked; cat"]
    with subprocess.Popen(reader, user=1000, text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "locked\n"
        with hold(file) or pytest.fail("another user holds it"):
            assert file.stat().st_mode & 0o777 == 0o600
            assert hold(file) is None
            denied = subprocess.run(["flock", "-n", file, "true"], user=1000, capture_output=True)
            assert b"Permission denied" in denied.stderr
        other.communicate()


def test_a_patient_caller_gets_the_lock_when_it_is_released(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    first = hold(file)
    assert first
    timer = threading.Timer(0.2, first.close)
    timer.start()
    with hold(file, is_patient=True) or pytest.fail("no lock"):
        assert first.closed
    timer.join()


def test_the_holder_may_write_its_own_text(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("a text of an earlier holder, which is longer\n")
    with hold(file, text="ada at /dev/pts/0") or pytest.fail("no lock"):
        assert holder(file) == "ada at /dev/pts/0"


def test_a_lock_file_that_was_removed_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lock"
    calls: list[int] = []

    def remove_first(opened: object, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            file.unlink()

    monkeypatch.setattr("littlest_hub.system.locks.fcntl.flock", remove_first)
    with hold(file) or pytest.fail("no lock"):
        assert len(calls) == 2
        assert file.exists()


def test_an_open_file_is_locked_once(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with file.open("w") as one, file.open("w") as other:
        assert try_lock(one)
        assert not try_lock(other)
