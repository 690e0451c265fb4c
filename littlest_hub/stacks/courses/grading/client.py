"""The grader's side of an isolated kernel: a process that stands for it.

nbgrader starts it where it would start the kernel, in the directory of the submission. It hands a
copy of that directory over, and ends when the kernel does. Signals become requests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.grading.copying import copy_tree
from littlest_hub.stacks.courses.grading.helper import INTERRUPT
from littlest_hub.stacks.courses.grading.isolation import FILES
from littlest_hub.stacks.courses.jupyter import submission_mb

_ASSIGNMENT_MB = 100
"""The most that the files of the assignment may add to a submission."""


def main() -> None:
    """Run the kernel whose course, directory and command are the arguments."""
    course, directory, *command = sys.argv[1:]
    layout = installation.of_this_release()
    files = Path(directory) / FILES
    most_bytes = (submission_mb() + _ASSIGNMENT_MB) << 20
    copy_tree(Path(), files, most_bytes, mode=0o644, directory_mode=0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(place.kernels_address(layout, course)))
        signal.signal(signal.SIGINT, lambda *_: connection.send(INTERRUPT))
        request = {"directory": directory, "command": command}
        connection.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(connection.makefile().readline() or "{}")
    if "refusal" in reply:
        raise LittlestHubError(reply["refusal"])
    os._exit(0 if reply.get("exit") == 0 else 1)


if __name__ == "__main__":
    try:
        main()
    except (LittlestHubError, OSError) as error:
        sys.exit(f"The kernel of a submission does not start: {error}")
