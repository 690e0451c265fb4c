"""wrk(1), which requests one page as fast as it is answered."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.server import Server

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}


@dataclass(frozen=True)
class Rate:
    """Its results."""

    requests_per_s: float
    bytes_per_s: float
    p99_s: float


def wrk(machine: Server, url: str, *, connections: int, seconds: int) -> Rate:
    """Run it on the machine itself, without a network in between.

    Raises:
        ValueError: the answer was not this page.
    """
    load = [
        "--threads=2",
        f"--connections={connections}",
        f"--duration={seconds}s",
        "--timeout=10s",
    ]
    return parse(machine.run(["wrk", *load, "--latency", url]).stdout)


def parse(printed: str) -> Rate:
    """Parse the output of wrk.

    Raises:
        ValueError: it reports failed requests, or nothing.
    """
    if failed := re.search(r"(Non-2xx or 3xx responses|Socket errors): .*", printed):
        raise ValueError(failed[0])
    found = [
        re.search(pattern, printed)
        for pattern in (
            r"Requests/sec: +([\d.]+)()",
            r"Transfer/sec: +([\d.]+)([KMG]?)B",
            r" 99% +([\d.]+)(us|ms|s|m)",
        )
    ]
    if not all(found):
        raise ValueError(f"wrk said: {printed[:300]!r}")
    requests, transfer, p99 = ((match[1], match[2]) for match in found if match)
    return Rate(
        float(requests[0]),
        float(transfer[0]) * _UNITS[transfer[1]],
        float(p99[0]) * _SECONDS[p99[1]],
    )
