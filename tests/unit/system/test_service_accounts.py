"""Accounts that we created are told by their full name, and others are left alone."""

import pwd

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import service_accounts

ROOT = pwd.getpwnam("root")


def test_an_account_of_another_description_is_not_removed() -> None:
    assert service_accounts.is_described("root", ROOT.pw_gecos)
    assert not service_accounts.is_described("root", "Littlest Hub at /srv/nowhere")
    assert service_accounts.remove("root", "Littlest Hub at /srv/nowhere") == ""
    assert pwd.getpwnam("root") == ROOT


def test_an_account_that_does_not_exist_is_gone_already() -> None:
    assert not service_accounts.is_described("nobody-has-this", "")
    assert service_accounts.remove("nobody-has-this", "") == ""


def test_a_program_that_fails_is_named_with_its_reason() -> None:
    script = "echo no number is left >&2; exit 4"
    with pytest.raises(LittlestHubError, match=r"^sh -c .* failed: no number is left$"):
        service_accounts.change("sh", "-c", script)
    with pytest.raises(LittlestHubError, match=r"^sh -c 'exit 4' failed: exit code 4$"):
        service_accounts.change("sh", "-c", "exit 4")
