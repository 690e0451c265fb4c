"""Accounts that no password opens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from littlest_hub.system.passwords import unusable_passwords

pytestmark = pytest.mark.unit

TODAY = int(time.time() // 86400)


@pytest.mark.parametrize(
    ("fields", "reason", "command"),
    [
        ("*:19000:0:99999:7:::", "has no password", "passwd ann"),
        ("!:19000:0:99999:7:::", "has no password", "passwd ann"),
        ("!!:19000:0:99999:7:::", "has no password", "passwd ann"),
        ("!*:19000:0:99999:7:::", "has no password", "passwd ann"),
        (":19000:0:99999:7:::", "has no password", "passwd ann"),
        ("!$y$j9T$x$x:19000:0:99999:7:::", "is locked", "passwd --unlock ann"),
        ("$y$j9T$x$x:19000:0:99999:7::1:", "has expired", "chage --expiredate -1 ann"),
        ("$y$j9T$x$x:0:0:99999:7:::", "has to get a new password first", "passwd ann"),
        ("$y$j9T$x$x:19000:0:30:7:::", "has a password that has expired", "passwd ann"),
    ],
)
def test_an_account_that_no_password_opens_has_a_reason_and_a_command(
    tmp_path: Path, fields: str, reason: str, command: str
) -> None:
    (tmp_path / "shadow").write_text(f"ann:{fields}\n")
    assert unusable_passwords(tmp_path / "shadow") == {"ann": (reason, command)}


@pytest.mark.parametrize(
    "text",
    [
        "ann:$y$j9T$x$x:19000:0:99999:7:::\n",
        f"ann:$y$j9T$x$x:{TODAY}:0:30:7::{TODAY + 1}:\n",
        "ann:$y$j9T$x$x:19000::::::\n",
        "\n",
        "",
    ],
)
def test_an_account_with_a_usable_password_is_not_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "shadow").write_text(text)
    assert unusable_passwords(tmp_path / "shadow") == {}


def test_without_the_right_to_read_the_file_nothing_is_known(tmp_path: Path) -> None:
    assert unusable_passwords(tmp_path / "shadow") == {}
