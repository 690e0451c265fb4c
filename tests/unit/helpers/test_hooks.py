"""Root's hooks: root runs its own programs only, for users only."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from littlest_hub.helpers.hooks import LIMIT_BYTES, answer

pytestmark = [
    pytest.mark.unit,
    pytest.mark.row(38),
    pytest.mark.needs("root"),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def write(directory: Path, name: str, text: str, mode: int = 0o700) -> Path:
    program = directory / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(mode)
    return program


def test_a_hook_gets_the_name_and_nothing_else(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    write(directory, "note", f'echo "$# $1 $PWD $HOME $SECRET" >{directory}/seen; cat')
    assert answer(b"note\0erin@example.org", directory, None) == ""
    assert (directory / "seen").read_text() == "1 erin@example.org / /root \n"


def test_the_reason_is_what_the_hook_printed_last(directory: Path) -> None:
    write(directory, "note", "echo first; echo disk full >&2; exit 3")
    assert answer(b"note\0erin", directory, None) == "note: first\ndisk full"
    write(directory, "note", "exit 3")
    assert answer(b"note\0erin", directory, None) == "note: exit code 3"
    (directory / "note").write_text("no program")
    assert "Exec format error" in answer(b"note\0erin", directory, None)


@pytest.mark.parametrize(
    ("request_text", "reason"),
    [
        (b"", "no such request"),
        (b"../note\0erin", "no such request"),
        (b"/bin/sh\0erin", "no such request"),
        (b"note\0" + b"x" * LIMIT_BYTES, "no such request"),
        (b"nothing\0erin", "nothing does not exist"),
        (b"note\0-x", "is no name of a user"),
        (b"note\0../x", "is no name of a user"),
        (b"note\0erin\0x", "is no name of a user"),
        (b"note\0erin\n", "is no name of a user"),
        (b"note\0root", "is an account of the system"),
        (b"note\0games", "is an account of the system"),
        (b"add-user\0root", "has an account"),
        (b"add-user\0games", "has an account"),
        (b"add-user\0-x", "is no name for a new account"),
        (b"add-user\0a:b", "is no name for a new account"),
        (b"add-user\0lhub-proxy", "is no name for a new account"),
    ],
)
def test_a_request_for_anything_else_is_refused(
    directory: Path, request_text: bytes, reason: str
) -> None:
    for name in ("note", "add-user"):
        write(directory, name, f"touch {directory}/ran")
    assert reason in answer(request_text, directory, None)
    assert not (directory / "ran").exists()


def test_accounts_are_created_only_if_a_fragment_wants_them(tmp_path: Path) -> None:
    directory = tmp_path / "root-hooks"
    directory.mkdir(mode=0o700)
    write(directory, "add-user", f"touch {directory}/ran")
    fragment = tmp_path / "30-mine.py"
    fragment.write_text("# c.LocalAuthenticator.create_system_users = True\n")
    assert "no fragment" in answer(b"add-user\0erin", directory, None)
    assert not (directory / "ran").exists()
    fragment.write_text("c.LocalAuthenticator.create_system_users = False\n")
    assert "no fragment" in answer(b"add-user\0erin", directory, None)
    fragment.write_text("c.LocalAuthenticator.create_system_users = True\n")
    assert answer(b"add-user\0erin", directory, None) == ""


def test_only_members_of_the_group_have_hooks_of_a_hub_that_is_not_root(directory: Path) -> None:
    write(directory, "note", f"touch {directory}/ran")
    for name in (b"erin", b"nobody"):
        assert "not a member of the group games" in answer(b"note\0" + name, directory, "games")
    assert not (directory / "ran").exists()


def test_a_program_that_others_may_change_is_not_run(directory: Path) -> None:
    program = write(directory, "note", f"touch {directory}/ran", 0o720)
    os.chown(program, 0, pwd.getpwnam("games").pw_gid)
    assert "only root to write" in answer(b"note\0erin", directory, None)
    program.chmod(0o700)
    os.chown(program, pwd.getpwnam("games").pw_uid, -1)
    assert "belong to root" in answer(b"note\0erin", directory, None)
    os.chown(program, 0, -1)
    program.chmod(0o600)
    assert "executable" in answer(b"note\0erin", directory, None)
    program.chmod(0o700)
    directory.chmod(0o777)
    assert "only root to write" in answer(b"note\0erin", directory, None)
    directory.chmod(0o700)
    assert not (directory / "ran").exists()
    assert answer(b"note\0erin", directory, None) == ""


def test_a_program_in_a_directory_of_others_is_not_run_even_if_it_belongs_to_root(
    directory: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write(theirs, "note", f"touch {directory}/ran")
    (directory / "note").symlink_to(theirs / "note")
    os.chown(theirs, pwd.getpwnam("games").pw_uid, -1)
    assert f"{theirs} belongs to games" in answer(b"note\0erin", directory, None)
    assert not (directory / "ran").exists()
