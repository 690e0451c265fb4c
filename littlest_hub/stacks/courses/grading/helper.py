"""Root's helper for kernels of submissions: it starts one in a unit without rights.

systemd starts an instance for each connection of the course's grader; nobody else can connect. The
kernel lives as long as the connection: if the grader is killed, nothing goes on. The request is a
line of JSON; after it, each byte I is an interrupt. The reply is a line when the kernel has ended.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import stat
import subprocess
import sys
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.grading.isolation import (
    MAX_REQUEST_BYTES,
    checked_command,
    checked_directory,
    systemd_run,
)
from littlest_hub.system.systemctl import systemctl

_CONNECTION = 0
INTERRUPT = b"I"


def main() -> None:
    """Serve the connection that is standard input."""
    layout = installation.of_this_release()
    # At a stop, the kernel is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        reply = _run(layout, sys.argv[1])
    except LittlestHubError as error:
        print(error, file=sys.stderr)
        reply = {"refusal": error.message}
    os.write(1, json.dumps(reply).encode() + b"\n")


def _run(layout: Layout, course: str) -> dict[str, Any]:
    request = _request()
    if not records.of_name(layout, course).is_open:
        raise LittlestHubError(f"{course} is not open")
    directory = checked_directory(layout, course, str(request.get("directory", "")))
    if not directory.exists() or not stat.S_ISDIR(directory.lstat().st_mode):
        raise LittlestHubError(f"{directory} is no directory")
    command = checked_command(request.get("command"))
    unit = place.kernels_unit(layout, course, f"-{secrets.token_hex(6)}.service")
    started = subprocess.Popen(
        systemd_run(layout, course, unit, directory, command),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )
    ended = os.pidfd_open(started.pid)
    try:
        while True:
            ready, _, _ = select.select([_CONNECTION, ended], [], [])
            if ended in ready:
                return {"exit": started.wait()}
            data = os.read(_CONNECTION, 64)
            if not data:
                return {"exit": -1}
            if INTERRUPT in data:
                systemctl("kill", "--signal=INT", unit, is_checked=False)
    finally:
        os.close(ended)
        systemctl("kill", "--signal=KILL", unit, is_checked=False)
        systemctl("stop", unit, is_checked=False)


def _request() -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(_CONNECTION, MAX_REQUEST_BYTES)
        data += more
        if not more or len(data) > MAX_REQUEST_BYTES:
            raise LittlestHubError("no such request")
    try:
        request = json.loads(data)
    except ValueError:
        raise LittlestHubError("no such request") from None
    if not isinstance(request, dict):
        raise LittlestHubError("no such request")
    return request


if __name__ == "__main__":
    main()
