"""`class token`: one-time codes for one person, and for a list of people."""

import io
import re
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom import command
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.logins import codes
from littlest_hub.stacks.classroom.logins import command as logins
from littlest_hub.stacks.classroom.logins.people import People, file_of

CODE = r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    fragments = layout.on_disk(layout.fragments)
    fragments.mkdir(parents=True)
    (fragments / FRAGMENT).write_text('LOGIN = "sign-up"\n')
    return layout


def people(layout: Layout) -> People:
    return People(layout.on_disk(file_of(layout)))


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def printed_codes(text: str) -> dict[str, str]:
    """Return the codes by name; every line has to be a name with a code."""
    lines = [re.fullmatch(rf"(\S+) +({CODE})", line) for line in text.splitlines()]
    return {found[1]: found[2] for found in lines if found} if all(lines) else {}


def test_several_names_get_a_line_with_a_code_each(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(layout, ["token", "s01", "S02 ", "maria.lopez", "s01"]) == 0
    printed = capsys.readouterr()
    found = printed_codes(printed.out)
    assert [*found] == ["s01", "s02", "maria.lopez"]
    for name, code in found.items():
        assert people(layout).has_code(name, codes.digest(code))
    assert "/hub/one-time-code" in printed.err


def test_names_come_from_standard_input_and_bad_ones_spoil_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people(layout).grant("s02", "earlier")
    give(monkeypatch, b"\xef\xbb\xbfs01\r\n\n../x\nMaria Lopez\n\xff\n\x1b[2J\n  s02  \ns03")
    assert command.run(layout, ["token", "-"]) == 1
    printed = capsys.readouterr()
    assert [*printed_codes(printed.out)] == ["s01", "s02", "s03"]
    for name in ("../x", "Maria Lopez", "\ufffd", "\x1b[2J"):
        assert f"{name!r} is no login name" in printed.err
    assert "\x1b" not in printed.err
    assert "earlier passwords are void: s02\n" in printed.err


@pytest.mark.parametrize("content", [b"", b"\n \n", b"x" * (logins._LIST_BYTES + 1)])
def test_no_list_of_names_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    give(monkeypatch, content)
    with pytest.raises(LittlestHubError, match="standard input has"):
        command.run(layout, ["token", "-"])
    assert not people(layout).file.exists()


def test_where_accounts_have_the_passwords_a_list_is_refused_before_it_is_read(
    layout: Layout,
) -> None:
    (layout.on_disk(layout.fragments) / FRAGMENT).write_text('LOGIN = "system"\n')
    with pytest.raises(LittlestHubError) as refused:
        command.run(layout, ["token", "-"])
    assert str(refused.value.hint).endswith("passwd NAME")


def test_one_name_gets_instructions_and_a_bad_one_is_refused(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(layout, ["token", "Alice"]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^alice chooses a password at .*:\n  {CODE}$", printed, re.MULTILINE)
    assert "alice is new to the hub" in printed
    with pytest.raises(LittlestHubError, match="is no login name"):
        command.run(layout, ["token", "../x"])
