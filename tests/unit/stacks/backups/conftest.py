"""A repository of real restic, and a person with a home directory."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.restore.people import Person
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.system.restic import Repository, Snapshot

UID, GID = 4321, 4321


class Scene:
    """A repository, and the homes that are backed up."""

    def __init__(self, directory: Path) -> None:
        self.homes = directory / "homes"
        self.home = self.homes / "alice"
        self.home.mkdir(parents=True)
        self.place = Place(directory / "state/stacks/backups", directory / "backups/cache")
        self.place.directory.mkdir(parents=True)
        self.place.make()
        self.place.password.write_text("seven blue umbrellas\n")
        self.settings = Settings(repository=str(directory / "repository"))
        self.repository: Repository = self.place.repository(self.settings)
        self.repository.run("init")
        # Of the repository's directory, not of /.
        directory.chmod(0o755)
        self.person = Person("alice", UID, GID, str(self.home))
        self.person.__dict__["groups"] = [GID]

    def write(self, name: str, text: str, mode: int = 0o644, uid: int = UID) -> Path:
        """Write a file of somebody's in the home."""
        file = self.home / name
        for parent in reversed(file.relative_to(self.home).parents):
            (self.home / parent).mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        os.chown(file, uid, uid)
        return file

    def own(self, *paths: Path) -> None:
        """Let the home, and directories in it, be those of the person."""
        for each in (self.home, *paths):
            os.chown(each, UID, GID)
            each.chmod(0o700)

    def back_up(self) -> Snapshot:
        self.repository.run("backup", "--tag", "t", "--", str(self.homes), str(self.place.staging))
        return self.repository.snapshots("t")[-1]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A new repository."""
    # Not below pytest's directory: the person has to be able to reach their home, and each start
    # of a pytest takes that right away.
    with tempfile.TemporaryDirectory() as directory:
        yield Scene(Path(directory))
