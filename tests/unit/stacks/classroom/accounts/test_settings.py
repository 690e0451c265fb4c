"""Settings that root's helper reads in the fragment of the stack class."""

from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import settings
from littlest_hub.stacks.classroom.accounts.settings import AccountSettings
from littlest_hub.stacks.classroom.fragment import FRAGMENT

STOCK = Path(__file__).parents[5] / "jupyterhub_config.d" / FRAGMENT


def test_the_stock_fragment_has_the_defaults() -> None:
    assert settings.parse(STOCK.read_text()) == AccountSettings()
    assert AccountSettings().problems() == []


def test_each_setting_is_in_the_stock_fragment() -> None:
    lines = STOCK.read_text().splitlines()
    for name in AccountSettings.__dataclass_fields__:
        assert any(line.startswith(f"{name.upper()} = ") for line in lines), name


def test_values_are_read_and_nothing_runs() -> None:
    text = "raise SystemExit\nACCOUNT_PREFIX = 's-'\nACCOUNT_GROUPS = {'class': ['*']}\n"
    found = settings.parse(text)
    assert found.account_prefix == "s-"
    assert found.groups_of("anybody") == {"class"}


def test_an_expression_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2: ACCOUNT_PREFIX"):
        settings.parse("import os\nACCOUNT_PREFIX = os.environ['X']\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account_prefix", "Jupyter"),
        ("account_prefix", 3),
        ("account_homes", "home"),
        ("account_homes", "/home/../etc"),
        ("account_groups", {"docker": ["*"]}),
        ("account_groups", {"sudo": ["alice"]}),
        ("account_groups", {"-x": ["alice"]}),
        ("account_groups", {"class": "alice"}),
        ("account_groups", ["class"]),
        ("account_names", {"alice": 3}),
        ("admins_have_sudo", "no"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: Any) -> None:
    ((found, _),) = AccountSettings(**{name: value}).problems()
    assert found == name.upper()


@pytest.mark.parametrize("login", ["first-use", "sign-up"])
def test_who_chooses_a_name_gets_no_account_that_is_there(login: str) -> None:
    found = AccountSettings(login=login, existing_accounts=True)
    assert not found.takes_existing
    assert found.problems()


def test_a_login_at_the_machine_has_the_account_of_that_name() -> None:
    assert AccountSettings(login="system").takes_existing
    assert AccountSettings(login="other", existing_accounts=True).takes_existing
    assert not AccountSettings(login="other").takes_existing


def test_without_the_fragment_the_helper_does_nothing(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match="not enabled"):
        settings.read(Layout(Path("/opt/littlest-hub"), tmp_path))
