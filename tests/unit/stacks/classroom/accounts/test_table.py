"""The table of accounts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.table import Account, Table

ALICE = Account("jupyter-alice", 1005, "/home/jupyter-alice", "1 2026", groups=("class",))


@given(st.dictionaries(st.text(), st.just(ALICE)), st.sets(st.text()))
def test_a_table_survives_being_written(accounts: dict[str, Account], blocked: set[str]) -> None:
    found = Table(accounts, blocked=frozenset(blocked), last_uid=1005, may_sudo=frozenset({1005}))
    assert Table.from_text(found.to_text()) == found


def test_the_name_and_the_number_of_one_who_is_gone_stay_taken() -> None:
    found = Table().with_account("alice", ALICE).without("alice", "2026-11-29", "")
    assert not found.accounts
    assert found.is_taken(ALICE.name)
    assert found.last_uid == ALICE.uid
    assert Table.from_text(found.to_text()) == found


def test_only_one_process_changes_the_table(tmp_path: Path) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    assert table.read(layout) == Table()
    with table.changing(layout):
        table.save(layout, Table().with_account("alice", ALICE))
    assert table.read(layout).login_of("jupyter-alice") == "alice"
    assert table.file_of(layout).stat().st_mode & 0o777 == 0o600


def test_a_damaged_table_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    table.directory(layout).mkdir(parents=True)
    table.file_of(layout).write_text('{"format": 1}')
    with pytest.raises(LittlestHubError, match="damaged"):
        table.read(layout)
