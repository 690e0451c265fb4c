"""The lock of what writes to the repository, so that two runs never meet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.place import Place
from littlest_hub.system import locks


@contextlib.contextmanager
def exclusively(place: Place) -> Iterator[None]:
    """Hold the lock of writers during the block.

    Raises:
        LittlestHubError: another program holds it.
    """
    place.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    held = locks.hold(place.lock)
    if held is None:
        raise LittlestHubError(
            f"process {locks.holder(place.lock)} backs up, checks or tests right now",
            "Wait until it has ended",
        )
    with held:
        yield
