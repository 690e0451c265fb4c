"""Every refusal names its line: generated settings, of those that a hub reads late in its start."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from littlest_hub.check import check_fragments

# Imported for the child processes that check fragments: they need not import it again.
from littlest_hub.check import evaluator as evaluator
from littlest_hub.layout import Layout
from tests.fuzz.pieces import Piece, fragments

pytestmark = pytest.mark.unit

LATE = r"JupyterHub\.(data_files|template|jinja|logo|subdomain|public_url|extra_handl)"
PREAMBLE = "from pathlib import Path\nimport os, pwd, shutil, socket, subprocess\n"


def test_each_refusal_names_the_line_of_the_setting(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    fragment = layout.fragments / "60-generated.py"
    refused: set[str] = set()

    @seed(0)
    @settings(
        max_examples=5,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fragments(LATE))
    def check(pieces: list[Piece]) -> None:
        while pieces:
            text, first_lines = PREAMBLE, []
            for piece in pieces:
                first_lines.append(text.count("\n") + 1)
                text += f"{piece.text}\n"
            fragment.write_text(text)
            found = check_fragments(layout).errors
            if not found:
                return
            assert {problem.file for problem in found} == {str(fragment)}, f"{found}\n{text}"
            assert all(problem.line >= first_lines[0] for problem in found), f"{found}\n{text}"
            indexes = {sum(first <= each.line for first in first_lines) - 1 for each in found}
            refused.update(pieces[index].about for index in indexes)
            pieces = [piece for index, piece in enumerate(pieces) if index not in indexes]

    check()
    assert any(re.search("data_files|jinja", about) for about in refused), refused
