"""A repository that is made, and the right of units to write to it."""

from __future__ import annotations

from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.settings import Settings


def prepare(place: Place, settings: Settings) -> bool:
    """Make the repository, unless it exists; return whether it was made.

    Raises:
        LittlestHubError: there is one that the password does not open, or none can be made.
    """
    place.make()
    repository = place.repository(settings)
    if repository.exists():
        return False
    if settings.is_local:
        directory = Path(settings.repository)
        if directory.exists() and any(directory.iterdir()):
            raise LittlestHubError(
                f"{directory} contains other files, and no repository",
                "Choose an empty directory, or one that does not exist",
            )
        if not directory.exists():
            try:
                directory.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise LittlestHubError(f"{directory} cannot be made: {error.strerror}") from error
    repository.run("init")
    return True


def point_at(place: Place, settings: Settings) -> None:
    """Let the unit's sandbox write to the repository, if it is a directory."""
    place.target.unlink(missing_ok=True)
    if settings.is_local:
        place.target.symlink_to(settings.repository)
