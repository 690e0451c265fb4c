"""The examples in the help of stacks' commands, as the person who reads them types them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.backups import command as backups
from littlest_hub.stacks.classroom import command as classroom
from littlest_hub.stacks.courses import command as courses
from littlest_hub.stacks.stats import command as stats

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (backups.run, ["backups"]),
        (classroom.run, ["class", "start"]),
        (courses.run, ["course"]),
        (stats.run, ["stats"]),
    ],
    ids=["backups", "class start", "course", "stats"],
)
@pytest.mark.parametrize("base", [DEFAULT_BASE, DEFAULT_BASE.with_name("physics")])
def test_each_example_begins_with_the_command_that_was_typed(
    run: Callable[[Layout, Sequence[str]], int],
    words: list[str],
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "alice")
    layout = Layout(base)
    with pytest.raises(SystemExit):
        run(layout, [*words[1:], "--help"])
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
    # A deeper indentation continues the explanation of the line above.
    lines = [line for line in examples.partition("\n\n")[0].splitlines() if line[2:3].strip()]
    assert lines
    typed = " ".join([layout.command, *words])
    assert [line for line in lines if not line.startswith(f"  {typed} ")] == []
