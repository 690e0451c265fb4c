"""`make demo ONCE=1`, with a machine and without."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import REPOSITORY


@pytest.mark.parametrize(
    ("options", "user"), [([], "alice"), (["--rootless"], "nobody")], ids=["machine", "rootless"]
)
def test_the_demo_prints_the_executed_cell(options: list[str], user: str, installer: Path) -> None:
    command = [sys.executable, "-m", "tests.demo", "--once", "--installer", str(installer)]
    demo = subprocess.run(
        [*command, *options], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert f"'{user} on " in demo.stdout
    assert "5050'" in demo.stdout
