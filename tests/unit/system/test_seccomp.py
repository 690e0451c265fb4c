"""Filters of system calls."""

import signal
import subprocess
import sys

import pytest

from tests.capabilities import missing

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


# setpriority(2) of the parent by the interrupt that programs of i386 use, which works in programs
# of x86_64 too: mov eax, 97; mov ecx, PARENT; xor ebx, ebx; xor edx, edx; int 0x80; ret.
INTERRUPT = """
import ctypes, mmap, os, struct
from littlest_hub.system.seccomp import change_no_other_process
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
FILTER
code = b"\\x53\\xb8\\x61\\0\\0\\0\\xb9" + struct.pack("=I", os.getppid())
code += b"\\x31\\xdb\\x31\\xd2\\xcd\\x80\\x5b\\xc3"
memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""


@pytest.mark.parametrize(("call", "expected"), [("change_no_other_process()", "-1"), ("", "0")])
def test_calls_of_32_bit_programs_are_no_way_around(call: str, expected: str) -> None:
    code = INTERRUPT.replace("FILTER", call)
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if tried.returncode == -signal.SIGSEGV:
        missing("this kernel runs no 32-bit programs")
    assert tried.stdout.split() == [expected], tried
