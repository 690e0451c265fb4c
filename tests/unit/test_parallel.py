"""The grouping of tests among workers, and the lines that are printed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.hub import REPOSITORY
from tests.parallel import APART, together

pytestmark = pytest.mark.unit


def test_tests_of_one_file_share_a_worker_and_all_on_the_virtual_machine() -> None:
    proxy = "tests/container/test_proxy.py"
    assert together(f"{proxy}::test_a[x::y]") == together(f"{proxy}::test_b") == proxy
    assert together("tests/vm/test_power.py::test_a") == together("tests/vm/test_limits.py::test_b")


@pytest.mark.parametrize("file", APART)
def test_only_tests_with_a_machine_each_are_spread(file: str) -> None:
    assert together(f"{file}::test_a") != together(f"{file}::test_b")
    assert 'scope="module"' not in (REPOSITORY / file).read_text()


def test_two_workers_name_each_file_and_fill_one_checklist() -> None:
    files = ["tests/unit/lifecycle/test_release.py", "tests/unit/backup/test_backup.py"]
    command = [sys.executable, "-m", "pytest", "-n2", "-k", "series or only_when_asked_for", *files]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in files:
        assert re.search(rf"{file}: \d+ tests …$", done.stdout, re.MULTILINE)
        assert re.search(rf"{file}: \d+ passed in \d+ s \[\d+%\]$", done.stdout, re.MULTILINE)
    assert re.search(r"^\| 25 \| .* only when asked for \| passed \|$", done.stdout, re.MULTILINE)
