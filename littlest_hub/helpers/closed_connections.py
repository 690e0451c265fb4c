"""The limit of closed connections, which the guard's unit sets with rights that the guard lacks.

The kernel keeps the port of a TCP connection for a minute after a program has closed it
(TIME-WAIT). No process has such a port, so the guard cannot make anyone give it up: a user who
opens and closes five hundred connections a second could keep all ports in use. Once the limit is
reached, the kernel frees the ports of further connections at once.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from littlest_hub.helpers.shared_resources import ephemeral_ports

LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
"""tcp(7)"""
SHARE = 1 / 4
"""The part of all ports that the kernel chooses from."""


def main() -> None:
    """Lower the limit of this machine, unless it is lower already or cannot be changed."""
    # Some containers do not permit the change; `littlest-hub doctor` says so.
    with contextlib.suppress(OSError):
        if int(LIMIT.read_text()) > most():
            LIMIT.write_text(str(most()))


def most() -> int:
    """Return how many closed connections the kernel may remember."""
    return int(ephemeral_ports() * SHARE)


if __name__ == "__main__":
    main()
