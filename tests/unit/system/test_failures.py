"""Failures that an administrator can cause end with a message and the command that helps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.system.failures import explained
from littlest_hub.system.files import new_file, replacing, write

pytestmark = pytest.mark.unit

COMMAND = ["/usr/local/bin/littlest-hub", "backup", "--secrets", "my hub.tar.gz"]


def _error(number: int, file: Path | None) -> OSError:
    return OSError(number, os.strerror(number), str(file) if file else None)


def test_without_rights_the_whole_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    error = explained(_error(errno.EACCES, tmp_path / "no" / "such"), COMMAND)
    assert error.message == f"{tmp_path}/no/such: Permission denied"
    assert error.hint is not None
    assert "sudo" in error.hint
    assert error.hint.endswith("/usr/local/bin/littlest-hub backup --secrets 'my hub.tar.gz'")


def test_who_owns_the_place_is_not_sent_to_sudo(tmp_path: Path) -> None:
    assert explained(_error(errno.EACCES, tmp_path), COMMAND).hint is None


@pytest.mark.parametrize(
    ("number", "command"),
    [
        (errno.ENOSPC, "df -h"),
        (errno.EDQUOT, "df -h"),
        (errno.EROFS, "findmnt --target"),
    ],
)
def test_a_disk_that_cannot_be_written_is_shown(tmp_path: Path, number: int, command: str) -> None:
    hint = explained(_error(number, tmp_path / "new" / "file"), COMMAND).hint
    assert hint is not None
    assert hint.endswith(f"{command} {tmp_path}")


def test_errors_of_writing_name_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for writing in (replacing(file), new_file(file)):
        with pytest.raises(OSError, match="No space") as raised, writing:
            raise _error(errno.ENOSPC, None)
        assert raised.value.filename == str(file)
        assert not list(tmp_path.iterdir())
    write(file, "text")
    file.unlink()
    assert not list(tmp_path.iterdir())


def _littlest_hub(arguments: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -I -m littlest_hub {arguments}"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True)


def test_a_full_disk_behind_standard_output_is_an_error() -> None:
    done = _littlest_hub("--help >/dev/full")
    assert done.returncode == 1
    assert (
        done.stderr == "littlest-hub: No space left on device\nMake room, then try again: df -h\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error_message() -> None:
    done = _littlest_hub("--help | true")
    assert done.stderr == ""


@pytest.mark.parametrize("streams", ["<&-", ">&-", "<&- >&-"])
def test_closed_standard_streams_are_no_obstacle(streams: str) -> None:
    done = _littlest_hub(f"--help {streams}")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_printed_does_not_depend_on_the_locale() -> None:
    script = "from littlest_hub.__main__ import _use_utf8; _use_utf8(); print(chr(0x2026))"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=True)
    assert done.stdout == "…\n".encode()
