"""A limit of closed connections: the guard's unit sets it, with rights that the guard has not.

The kernel remembers each TCP connection for a minute after a program has closed it (TIME-WAIT), and
its port is in use that long. No process has these ports, so the guard cannot make anyone give them
up: one user could keep all of them in use, by opening and closing five hundred connections a
second. The kernel forgets further ones at once.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from littlest_hub.helpers.shared_resources import ephemeral_ports

LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
"""tcp(7)"""
SHARE = 1 / 4
"""Of all ports that the kernel chooses from."""


def main() -> None:
    """Lower the limit of this machine, unless it is lower already or cannot be changed."""
    # As in some containers; `littlest-hub doctor` says so.
    with contextlib.suppress(OSError):
        if int(LIMIT.read_text()) > most():
            LIMIT.write_text(str(most()))


def most() -> int:
    """Return how many closed connections the kernel may remember."""
    return int(ephemeral_ports() * SHARE)


if __name__ == "__main__":
    main()
