"""`python -m littlest_hub.stacks.stats.sampler` samples until SIGTERM; its unit starts it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.stats.sampler.program import Sampler
from littlest_hub.units.stack import HUB_ADDRESS


def main() -> int:
    """Sample until SIGTERM, and return the exit code."""
    token = sys.stdin.readline().strip()
    address = os.environ.get(HUB_ADDRESS, "")
    if not (token and address):
        raise LittlestHubError(f"expected {HUB_ADDRESS}, and the token as standard input")
    os.umask(0o077)  # figures about people
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    layout = installation.of_this_release()
    Sampler(HubClient(address, token), layout, Path()).run(is_over)
    return 0


if __name__ == "__main__":
    sys.exit(main())
