"""Sources of wheels: pip's indexes, a directory, or a bundle."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PackageSet
from littlest_hub.packages import lock as locks
from littlest_hub.packages import wheel
from littlest_hub.packages.lock import Lock

# Far more than all extensions of Jupyter together: a bundle must not fill the disk.
_BUNDLE_BYTES = 4 << 30


@dataclass(frozen=True)
class Source:
    """A source of wheels."""

    directory: Path | None = None
    """Wheels in a directory; None: pip's indexes."""
    lock: Lock | None = None
    """The lock that came with the directory; its digests are verified."""
    kept: Path | None = None
    """Wheels that were added before; None: they are not looked at."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories to choose from; if there are none, pip's indexes."""
        return tuple(filter(None, (self.directory, self.kept)))

    def contents(self, package_set: PackageSet) -> dict[PackageSet, Sequence[str]]:
        """Return all that is there as requirements by set, those of a lock or else of one set."""
        if self.lock:
            return {each: texts for each, texts in self.lock.requested.items() if texts}
        files = sorted(self.directory.glob("*.whl")) if self.directory else []
        found = map(wheel.locked, files)
        return {package_set: [f"{each.name}=={each.version}" for each in found]}


@contextlib.contextmanager
def opened(place: Path | None) -> Iterator[Source]:
    """Yield the source at a directory, a bundle (.tar), or one wheel; None: pip's indexes.

    Raises:
        LittlestHubError: there are no wheels, or the bundle is damaged.
    """
    if place is None:
        yield Source()
    elif place.is_dir():
        yield _in_directory(place)
    elif not place.is_file():
        raise LittlestHubError(f"{place} does not exist")
    else:
        with tempfile.TemporaryDirectory(prefix="littlest-hub-packages-") as scratch:
            directory = Path(scratch)
            if place.suffix == ".whl":
                (directory / place.name).symlink_to(place.resolve())
            else:
                _unpack(place, directory)
            yield _in_directory(directory)


def _in_directory(directory: Path) -> Source:
    if not any(directory.glob("*.whl")):
        raise LittlestHubError(
            f"{directory} contains no wheels (*.whl)",
            "Fill it on a machine with a network: pip download --only-binary=:all: NAME",
        )
    has_lock = (directory / locks.FILE).is_file()
    return Source(directory.resolve(), locks.read(directory) if has_lock else None)


def _unpack(bundle: Path, directory: Path) -> None:
    """Unpack wheels and lock of a bundle; everything else in it is ignored."""
    try:
        with tarfile.open(bundle) as archive:
            size_bytes = 0
            for member in archive:
                name = Path(member.name).name
                if not member.isfile() or not (name.endswith(".whl") or name == locks.FILE):
                    continue
                size_bytes += member.size
                if size_bytes > _BUNDLE_BYTES:
                    raise LittlestHubError(f"{bundle} is larger than {_BUNDLE_BYTES >> 30} GiB")
                archive.extract(member.replace(name=name), directory, filter="data")
    except (tarfile.TarError, EOFError) as error:
        # For another file, it is a list of all formats that the file does not have.
        reason, *others = str(error).splitlines() or [""]
        detail = "" if others else f": {reason}"
        raise LittlestHubError(f"{bundle} is no bundle, or is damaged{detail}") from error
