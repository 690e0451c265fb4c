"""The command line: what is not one of its commands is an error of usage; and its questions."""

import io
from contextlib import nullcontext
from pathlib import Path

import pytest

from littlest_hub import commands
from littlest_hub.__main__ import main
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "line",
    [
        "serve-hub --fragments=/run/x",
        "serve-hub --frag /run/x",
        "serve-hub --fragments /run/x --fragments /run/y",
        "serve-hub --fragments",
        "serve-hub /run/x",
        "serve --fragments /run/x",
        "reload",
        "no-such-command",
        "rollback --json",
        "restore --json hub.tar.gz",
        "packages add --server --tool uv",
    ],
)
def test_a_command_line_in_the_wrong_form_ends_with_2_and_the_usage(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: littlest-hub")


def test_a_command_of_a_stack_that_is_not_enabled_names_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("littlest_hub.installation.of_this_release", lambda: Layout(tmp_path))
    monkeypatch.setattr(
        "littlest_hub.installation.release_of_this_interpreter", lambda: tmp_path / "release"
    )
    assert main(["nodes", "c1"]) == 1
    printed = capsys.readouterr().err
    assert "nodes is a command of the stack slurm, which is not enabled" in printed
    assert "enable slurm" in printed


@pytest.mark.parametrize(
    "line", ["class token --help", "class -h", "course --help", "environment install --help"]
)
def test_whoever_may_not_read_which_stacks_are_enabled_reads_the_help_of_their_commands(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_rights(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 0
    assert f"littlest-hub {line.rpartition(' ')[0]}" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["class people", "environment run -- pip --help"])
def test_without_rights_a_command_of_a_stack_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_rights(tmp_path, monkeypatch)
    assert main(line.split()) == 1
    assert "Permission denied" in capsys.readouterr().err


def _without_rights(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody read which stacks are enabled; root, who runs tests, could read anything."""

    def read(layout: Layout) -> None:
        raise PermissionError(13, "Permission denied", str(layout.stacks))

    monkeypatch.setattr("littlest_hub.installation.of_this_release", lambda: Layout(base))
    monkeypatch.setattr(
        "littlest_hub.installation.release_of_this_interpreter", lambda: base / "release"
    )
    monkeypatch.setattr("littlest_hub.manifest.enabled.read", read)


class Terminal(io.StringIO):
    """A standard input at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "refusal"),
    [
        (Terminal("yes\n"), ""),
        (Terminal("y\n"), "the answer was not `yes`"),
        (Terminal(""), "the answer was not `yes`"),
        (io.StringIO("yes\n"), "To confirm: littlest-hub disable slurm --yes"),
    ],
)
def test_servers_on_other_machines_end_only_after_a_yes(
    monkeypatch: pytest.MonkeyPatch, typed: io.StringIO, refusal: str
) -> None:
    monkeypatch.setattr("sys.stdin", typed)
    expected = pytest.raises(LittlestHubError, match=refusal) if refusal else nullcontext()
    with expected:
        commands._confirm_ending("left (job 7)", "littlest-hub disable slurm --yes")
