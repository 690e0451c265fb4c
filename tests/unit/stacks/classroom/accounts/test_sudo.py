"""The file that lets administrators use sudo, and processes that have more rights than they."""

import re
from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import sudo

LAYOUT = Layout(Path("/opt/littlest-hub"))
STATUS = (
    "Name:\tbash\nState:\tS (sleeping)\nUid:\t1005\t1005\t1005\t1005\n"
    "Gid:\t1005\t1005\t1005\t1005\nGroups:\t1005 1010\nCapInh:\t0000000000000000\n"
    "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
    "CapAmb:\t0000000000000000\n"
)
GIDS = frozenset({1005, 1010})


def test_an_ordinary_process_has_no_more_rights() -> None:
    assert not sudo.is_elevated(STATUS, 1005, GIDS)


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("Uid:\t1005\t1005", "Uid:\t0\t0"),
        ("Uid:\t1005\t1005\t1005", "Uid:\t1005\t1005\t0"),
        ("Uid:\t1005\t1005\t1005\t1005", "Uid:\t1006\t1006\t1006\t1006"),
        ("Gid:\t1005\t1005", "Gid:\t1005\t6"),
        ("Groups:\t1005 1010", "Groups:\t1005 6"),
        ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000002"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000080"),
    ],
)
def test_root_another_user_another_group_or_a_capability_is_more(line: str, other: str) -> None:
    assert line in STATUS
    assert sudo.is_elevated(STATUS.replace(line, other), 1005, GIDS)


def test_one_that_has_ended_is_not_killed_again() -> None:
    dead = STATUS.replace("S (sleeping)", "Z (zombie)").replace("Uid:\t1005", "Uid:\t0")
    assert not sudo.is_elevated(dead, 1005, GIDS)


def test_the_file_names_accounts_by_number_and_a_name_cannot_add_a_line() -> None:
    text = sudo.text_of(LAYOUT, {1005: "a\nALL ALL=(ALL) ALL", 1006: "b"})
    rules = [line for line in text.splitlines() if line and not re.match(r"#(?!\d)", line)]
    assert rules[1::2] == [
        "#1005 ALL=(ALL:ALL) NOPASSWD: ALL",
        "#1006 ALL=(ALL:ALL) NOPASSWD: ALL",
    ]
    programs = LAYOUT.environments / ".class" / "bin"
    for uid, line in zip((1005, 1006), rules[::2], strict=True):
        assert line.startswith(f'Defaults:#{uid} secure_path="{programs}:/usr/local/sbin:')


def test_sudo_reads_a_file_of_that_name() -> None:
    for base in ("/opt/littlest-hub", "/srv/physics"):
        name = sudo.link_of(Layout(Path(base))).name
        assert "." not in name
        assert not name.endswith("~")
