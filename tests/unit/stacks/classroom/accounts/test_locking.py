"""Root's helper for accounts, when the hub asks it to lock somebody out."""

from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.helper import answer
from littlest_hub.stacks.classroom.accounts.table import Account, Table
from littlest_hub.stacks.classroom.fragment import FRAGMENT


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A hub whose people have accounts that it makes; nobody has one yet."""
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    fragments = layout.on_disk(layout.fragments)
    fragments.mkdir(parents=True)
    (fragments / FRAGMENT).write_text('LOGIN = "sign-up"\n')
    table.directory(layout).mkdir(parents=True)
    return layout


def test_a_name_without_an_account_is_blocked_and_let_in_again(layout: Layout) -> None:
    assert answer(layout, b"lock\0nobody.has.this") == {}
    assert table.read(layout).blocked == {"nobody.has.this"}
    assert answer(layout, b"unlock\0nobody.has.this") == {}
    assert table.read(layout) == Table()
    assert "is not locked" in str(answer(layout, b"unlock\0nobody.has.this")["refusal"])


def test_a_refused_account_names_commands_as_they_are_typed(layout: Layout) -> None:
    former = Account("jupyter-bob", 60_000, "/home/jupyter-bob", "nobody")
    table.save(layout, Table({"bob": former}, blocked=frozenset({"maria"})))
    refusal = str(answer(layout, b"account\0bob\0a later bob")["refusal"])
    typed = f"sudo {layout.command} class"
    for words in ("remove bob --archive", "unlock bob", "keep bob"):
        assert f"{typed} {words}" in refusal
    assert f"{typed} unlock maria" in str(answer(layout, b"account\0maria\0maria")["refusal"])


@pytest.mark.parametrize(
    "request_", [b"lock", b"lock\0", b"lock\0a\0b", b"lock\0../x", b"lock\0-x"]
)
def test_what_is_no_name_is_refused(layout: Layout, request_: bytes) -> None:
    assert "refusal" in answer(layout, request_)
    assert table.read(layout) == Table()


def test_a_hub_that_is_not_root_locks_nobody_out_of_the_machine(layout: Layout) -> None:
    hub = layout._replace(hub_user="jupyter")
    reply = answer(hub, b"lock\0daemon")
    assert "the hub has made no account for daemon" in str(reply["refusal"])
    assert table.read(hub) == Table()
