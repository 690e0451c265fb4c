"""The stack's files in state/, the repository that they open, and the lock of its writers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups.settings import STACK, Settings
from littlest_hub.system import locks
from littlest_hub.system.restic import Repository, Snapshot

_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
# Programs that a variable of this name would load or run.
_REFUSED = re.compile(r"LD_.*|PATH|HOME|RESTIC_PASSWORD_COMMAND|RCLONE_.*")


def target_of(layout: Layout) -> Path:
    """Return the link to the repository's directory."""
    return Path("/run") / layout.stack_unit(STACK, "-repository")


@dataclass(frozen=True)
class Place:
    """Paths in the stack's directory, which only root can reach."""

    directory: Path
    cache: Path
    target: Path = Path("/run/littlest-hub.backups-repository")
    """A link to the repository if it is a directory, so that the units may write there. It is in no
    directory to which they may write anyway: systemd would ignore it (ReadWritePaths=)."""

    @classmethod
    def of(cls, layout: Layout) -> Place:
        return cls(
            layout.on_disk(layout.stacks / STACK),
            layout.on_disk(layout.stack_cache(STACK)),
            layout.on_disk(target_of(layout)),
        )

    @property
    def password(self) -> Path:
        """The password of the repository: the one file that is needed elsewhere."""
        return self.directory / "password"

    @property
    def variables(self) -> Path:
        """Secrets of a storage service, as lines NAME=VALUE; it need not exist."""
        return self.directory / "variables"

    @property
    def record(self) -> Path:
        return self.directory / "record.json"

    @property
    def lock(self) -> Path:
        """Held by whatever writes to the repository."""
        return self.directory / "lock"

    @property
    def restic_cache(self) -> Path:
        return self.cache / "restic"

    @property
    def staging(self) -> Path:
        """Copies that are backed up in place of what changes while it is read."""
        return self.cache / "staging"

    @property
    def hub(self) -> Path:
        """The last backup of the hub, as `littlest-hub backup --secrets` writes it."""
        return self.staging / "hub.tar.gz"

    @property
    def databases(self) -> Path:
        """Consistent copies of databases; below it, paths are those of the originals."""
        return self.staging / "databases"

    @staticmethod
    def staging_in(snapshot: Snapshot) -> str:
        """Return the directory of the copies in a backup, maybe of another machine; "": none."""
        ends = f"/{STACK}/cache/staging"
        return next((path for path in snapshot.paths if path.endswith(ends)), "")

    @property
    def trial(self) -> Path:
        """The directory of a restore test."""
        return self.cache / "restore-test"

    def make(self) -> None:
        """Make the directories, which only root enters."""
        for each in (self.cache, self.restic_cache, self.staging, self.databases):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def repository(self, settings: Settings) -> Repository:
        """Return the repository of the fragment.

        Raises:
            LittlestHubError: the secrets beside the password cannot be read.
        """
        variables = dict(self._variables())
        address = variables.pop("RESTIC_REPOSITORY", settings.repository)
        return Repository(address, self.password, self.restic_cache, variables)

    def _variables(self) -> Mapping[str, str]:
        try:
            lines = self.variables.read_text().splitlines()
        except FileNotFoundError:
            return {}
        if self.variables.stat().st_mode & 0o077:
            raise LittlestHubError(
                f"others may read {self.variables}, which contains secrets",
                f"chmod 0600 {self.variables}",
            )
        found: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _VARIABLE.fullmatch(line.strip())
            if match is None or _REFUSED.fullmatch(match[1]):
                raise LittlestHubError(
                    f"{self.variables}:{number}: expected NAME=VALUE, such as"
                    " AWS_SECRET_ACCESS_KEY=…"
                )
            found[match[1]] = match[2]
        return found


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
