"""The check of a repository: whether its structure, and its data, are as they were written."""

from __future__ import annotations

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.repository import record
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.system.progress import Progress
from littlest_hub.system.restic import DamagedError, LockedError, Repository

EVERYTHING = "100%"
"""All data of a repository, as a part of it to read."""


def check(place: Place, repository: Repository, progress: Progress, part: str = "") -> None:
    """Check the repository, and record the outcome.

    Args:
        place: the stack's files.
        repository: what to check.
        progress: shows a line.
        part: of the data to read, as restic has it: "5%"; "": only the structure.

    Raises:
        LittlestHubError: it is damaged.
    """
    progress("Checking the repository")
    try:
        repository.run("check", "--quiet", *([f"--read-data-subset={part}"] if part else []))
    except LockedError:
        raise
    except LittlestHubError as error:
        # An unreachable server is no damage.
        if isinstance(error, DamagedError) or "error" in error.message.lower():
            record.update(place, check=record.failed(str(error)))
        raise
    # What was found in the data is not gone because the structure, or other data, is right.
    if record.read(place).check.problem and part != EVERYTHING:
        return
    text = f"its structure, and {part} of its data" if part else "its structure"
    record.update(place, check=record.well(text))
