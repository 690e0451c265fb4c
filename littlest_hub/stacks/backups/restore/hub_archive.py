"""The hub's own backup, which a backup of everything contains, as a file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.restic import Repository, Snapshot


def write_hub(repository: Repository, snapshot: Snapshot, path: str, target: Path) -> None:
    """Write the hub's backup in a snapshot to a file that only root reads.

    Raises:
        LittlestHubError: it is not in the snapshot.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with (
            open(descriptor, "wb") as out,
            repository.stream("dump", "--no-lock", "--quiet", snapshot.id, path) as content,
        ):
            shutil.copyfileobj(content, out)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, LittlestHubError) and "not found in snapshot" in error.message:
            raise LittlestHubError(
                f"the hub is not in backup {snapshot.id[:8]}: it could not be copied that night",
                "Choose another one: --as-of",
            ) from error
        raise
