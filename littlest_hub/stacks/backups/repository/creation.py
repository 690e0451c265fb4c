"""A repository that is made, and the right of units to write to it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.repository.password import file_of, new_password
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.system.files import write
from littlest_hub.system.restic import WrongPasswordError


def refuse_unusable(place: Place, settings: Settings) -> None:
    """Try repository and password, and change nothing.

    Raises:
        LittlestHubError: there is a repository that the password does not open, or none can be
            made.
    """
    password = file_of(place, settings.password_file)
    repository = place.repository(settings)
    directory = Path(repository.address)
    if directory.is_absolute() and not (directory / "config").exists():
        _refuse_directory(directory)
    with tempfile.TemporaryDirectory(prefix="littlest-hub-") as scratch:
        tried = password or Path(scratch) / "password"
        if not password:
            write(tried, f"{new_password()}\n", 0o600)
        try:
            replace(repository, password_file=tried, cache=Path(scratch)).exists()
        except WrongPasswordError as error:
            if password:
                raise
            raise LittlestHubError(
                f"there is a repository at {repository.shown}, and no password for it",
                "Name a file that contains its password: --set password_file=FILE",
            ) from error


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
        _refuse_directory(directory)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LittlestHubError(f"{directory} cannot be made: {error.strerror}") from error
    repository.run("init")
    return True


def _refuse_directory(directory: Path) -> None:
    """Refuse a directory in which no repository can be made.

    Raises:
        LittlestHubError: why not.
    """
    present = next(each for each in (directory, *directory.parents) if each.exists())
    if not present.is_dir():
        raise LittlestHubError(f"{present} is a file; expected a directory")
    if not os.access(present, os.W_OK):
        raise LittlestHubError(f"{present} cannot be written to", "Is its file system read-only?")
    if present == directory and any(directory.iterdir()):
        raise LittlestHubError(
            f"{directory} contains other files, and no repository",
            "Choose an empty directory, or one that does not exist",
        )


def point_at(place: Place, settings: Settings) -> None:
    """Let the unit's sandbox write to the repository, if it is a directory."""
    place.target.unlink(missing_ok=True)
    if settings.is_local:
        place.target.symlink_to(settings.repository)
