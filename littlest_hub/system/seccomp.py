"""A filter of system calls by their arguments, seccomp(2), which SystemCallFilter= cannot test."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_PR_SET_SECCOMP, _FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_X86_64 = 0xC000003E
# System calls of x86_64 that change limits, priorities or memory of a process: the number of the
# call, and the index of the argument that names the process.
_CALLS_WITH_PROCESS = {
    "sched_setparam": (142, 0),
    "setpriority": (141, 1),
    "sched_setscheduler": (144, 0),
    "sched_setaffinity": (203, 0),
    "ioprio_set": (251, 1),
    "migrate_pages": (256, 0),
    "move_pages": (279, 0),
    "prlimit64": (302, 0),
    "sched_setattr": (314, 0),
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
    program = [
        *((_LOAD, 0, 0, _MACHINE_AT), (_IF_EQUAL, 1, 0, _X86_64), (_RETURN, 0, 0, _ALLOW)),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for number, argument in _CALLS_WITH_PROCESS.values():
        program += [
            (_IF_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument),
            (_IF_EQUAL, 1, 0, 0),  # itself
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ]
    program.append((_RETURN, 0, 0, _ALLOW))
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, header, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
