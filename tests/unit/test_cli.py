"""The command line: what is not one of its commands is an error of usage."""

import pytest

from littlest_hub.__main__ import main

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
