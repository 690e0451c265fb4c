"""A filter of system calls by their arguments, seccomp(2), which SystemCallFilter= cannot test."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping

_PR_SET_SECCOMP, _FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_X86_64, _I386 = 0xC000003E, 0x40000003
_X32 = 0x40000000
"""Numbers from here on are calls of the x32 ABI, which hardly any program has."""
# System calls that change limits, priorities or memory of a process: their numbers for x86_64 and
# i386, whose calls a program of either kind can make, and the index of the argument that names the
# process.
_CALLS_WITH_PROCESS = {
    "sched_setparam": (142, 154, 0),
    "setpriority": (141, 97, 1),
    "sched_setscheduler": (144, 156, 0),
    "sched_setaffinity": (203, 241, 0),
    "ioprio_set": (251, 289, 1),
    "migrate_pages": (256, 294, 0),
    "move_pages": (279, 317, 0),
    "prlimit64": (302, 340, 0),
    "sched_setattr": (314, 351, 0),
}


def change_no_other_process() -> None:
    """Let this process, and those that it starts, change limits and priorities only of themselves.

    Root may change those of every process of root, even without capabilities in a user namespace:
    with few open files allowed, systemd starts nothing any more.

    Raises:
        OSError: the kernel refuses the filter.
    """
    if platform.machine() != "x86_64":
        return
    of_x86_64 = _refused({call: argument for call, _, argument in _CALLS_WITH_PROCESS.values()})
    of_i386 = _refused({call: argument for _, call, argument in _CALLS_WITH_PROCESS.values()})
    program = [
        *((_LOAD, 0, 0, _MACHINE_AT), (_IF_EQUAL, 0, len(of_i386), _I386), *of_i386),
        *((_IF_EQUAL, 1, 0, _X86_64), (_RETURN, 0, 0, _REFUSE)),
        *((_LOAD, 0, 0, _NUMBER_AT), (_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)),
        *of_x86_64,
    ]
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, header, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _refused(calls: Mapping[int, int]) -> list[tuple[int, int, int, int]]:
    """Return instructions that end: calls are refused whose argument names another process.

    Args:
        calls: the index of this argument, by the number of the call.
    """
    program = [(_LOAD, 0, 0, _NUMBER_AT)]
    for number, argument in calls.items():
        program += [
            (_IF_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument),
            (_IF_EQUAL, 1, 0, 0),  # itself
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ]
    return [*program, (_RETURN, 0, 0, _ALLOW)]
