"""Filters of system calls."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.unit, pytest.mark.row(40), pytest.mark.needs("root")]

# As in a unit, new privileges are given up first (prctl(2)).
TRY = """
import ctypes, os, resource, subprocess, sys
from littlest_hub.system.seccomp import change_no_other_process
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
FILTER
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
os.setpriority(os.PRIO_PROCESS, 0, 1)
os.sched_setaffinity(0, os.sched_getaffinity(0))
parent, core = os.getppid(), resource.RLIMIT_CORE
for change in (
    lambda: resource.prlimit(parent, core, resource.getrlimit(core)),
    lambda: os.setpriority(os.PRIO_PROCESS, parent, 0),
    lambda: os.sched_setaffinity(parent, os.sched_getaffinity(0)),
):
    try:
        change()
        print("done")
    except PermissionError:
        print("refused")
code = "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 2)"
subprocess.run([sys.executable, "-c", code])
"""


@pytest.mark.parametrize(
    ("call", "expected"), [("change_no_other_process()", "refused"), ("", "done")]
)
def test_a_process_changes_itself_and_no_other(call: str, expected: str) -> None:
    code = TRY.replace("FILTER", call)
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert tried.stdout.split() == [expected] * 3
    assert ("PermissionError" in tried.stderr) == (expected == "refused"), "children inherit it"
