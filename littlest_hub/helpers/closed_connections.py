"""The limit of closed connections, which the guard's unit sets with rights that the guard lacks.

The kernel keeps the port of a TCP connection for a minute after a program has closed it
(TIME-WAIT). No process has such a port, so the guard cannot make anyone give it up: a user who
opens and closes five hundred connections a second could keep all ports in use. Once the limit is
reached, the kernel frees the ports of further connections at once.

When the guard stops, the limit becomes what it was, unless another hub's guard needs it lowered.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from littlest_hub.helpers.shared_resources import ephemeral_ports
from littlest_hub.system.files import write
from littlest_hub.units.guard import RESTORE

LIMIT = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
"""tcp(7)"""
SHARE = 1 / 4
"""The part of all ports that the kernel chooses from."""


FORMER = "former-tcp_max_tw_buckets"
"""File in the guard's runtime directory with the limit of before."""


def main() -> None:
    """Lower the limit of this machine, or restore it (argument RESTORE)."""
    directory = Path(os.environ["RUNTIME_DIRECTORY"])
    # Some containers do not permit the change; `littlest-hub doctor` says so.
    with contextlib.suppress(OSError):
        if sys.argv[1:] == [RESTORE]:
            restore(directory)
        else:
            lower(directory)


def lower(directory: Path) -> None:
    """Lower the limit, unless it is lower already.

    Args:
        directory: the guard's runtime directory, beside those of other guards.
    """
    limit = int(LIMIT.read_text())
    if limit > most():
        write(directory / FORMER, str(limit), 0o600)
        LIMIT.write_text(str(most()))
    elif of_others := _of_other_hubs(directory):
        # The last one that stops restores it.
        write(directory / FORMER, of_others[0].read_text(), 0o600)


def restore(directory: Path) -> None:
    """Restore the limit of before, unless another guard needs it, or someone has changed it."""
    record = directory / FORMER
    if not record.exists():
        return
    if int(LIMIT.read_text()) == most() and not _of_other_hubs(directory):
        LIMIT.write_text(record.read_text())
    record.unlink()


def _of_other_hubs(directory: Path) -> list[Path]:
    return [each for each in directory.parent.glob(f"*/{FORMER}") if each.parent != directory]


def most() -> int:
    """Return how many closed connections the kernel may remember."""
    return int(ephemeral_ports() * SHARE)


if __name__ == "__main__":
    main()
