"""The directory with the files of repositories, each complete or not there.

DIRECTORY/COMMIT-DIGEST/ has the files of a commit in files/, and where they are from in
source.json. The digest is that of the address: somebody who knows a commit of a private repository,
and asks for it at the address of another one, gets nothing. Files that a password has opened have a
longer digest, of the address and the person: nobody else finds them, whatever they know.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.published import Published
from littlest_hub.system.files import flush_file_system, remove_tree
from littlest_hub.system.locks import try_lock

_PARTIAL = ".partial-"
"""Beginning of names of directories that are written to, each locked by its resolver."""
_DIGEST_CHARACTERS, _PRIVATE_CHARACTERS = 16, 32
_JUST_NEEDED_S = 3600
"""Files that were asked for in this time may be on their way to a server."""


@dataclass(frozen=True)
class Source:
    """The source of files, and which of them are special."""

    url: str
    commit: str
    ref: str
    """The ref of the first person who asked for this commit, as in `reference.Choice`."""
    date: int
    """Time of the commit, in seconds since 1970; 0: unknown."""
    files: tuple[str, ...]
    """Paths of regular files."""
    size_bytes: int
    is_reachable: bool
    """The same as in `reference.Choice`."""
    left_out: tuple[Remark, ...]
    owner: str = ""
    """Digest of the person for whom alone they are; "": they are for everybody."""
    published: Published | None = None
    """The record that they are; None: they are of a commit."""


class Sources:
    """The directory with the files of repositories."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, url: str, commit: str, owner: str = "") -> Path:
        """Return the directory of a repository's files at a commit.

        Args:
            url: of the repository.
            commit: its full name.
            owner: digest of the person for whom alone they are; "": they are for everybody.
        """
        # No address contains a space.
        whole = hashlib.sha256((f"{url} {owner}" if owner else url).encode()).hexdigest()
        digest = whole[: _PRIVATE_CHARACTERS if owner else _DIGEST_CHARACTERS]
        return self._directory / f"{commit}-{digest}"

    def find(self, url: str, commit: str, owner: str = "") -> Source | None:
        """Return what is there already; None: nothing.

        Args:
            url: of the repository.
            commit: its full name.
            owner: as for `place`.

        Raises:
            LittlestHubError: it is damaged.
        """
        file = self.place(url, commit, owner) / "source.json"
        try:
            found = json.loads(file.read_text())
            with contextlib.suppress(PermissionError):  # written when the resolver had another uid
                os.utime(file)
            remarks = tuple(Remark(**each) for each in found.pop("left_out"))
            files = tuple(found.pop("files"))
            published = Published.of_values(found.pop("published", None))
            return Source(**found, files=files, left_out=remarks, published=published)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LittlestHubError(
                f"{file} is damaged: {error!r}", f"Remove {file.parent}"
            ) from None

    @contextlib.contextmanager
    def new(self) -> Iterator[Path]:
        """Yield a directory to write to, which is removed afterwards; `keep` keeps it."""
        self._remove_left()
        partial, descriptor = self._made()
        try:
            yield partial
        finally:
            remove_tree(partial)
            os.close(descriptor)

    def keep(self, partial: Path, source: Source) -> None:
        """Give a directory its name, unless another resolver was faster.

        Args:
            partial: of `new`, with the files in files/.
            source: where they are from.
        """
        (partial / "source.json").write_text(json.dumps(asdict(source)))
        # Without this, files might, after a power failure, have their names and no contents.
        flush_file_system(partial)
        target = self.place(source.url, source.commit, source.owner)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise

    def make_room(self, limit_bytes: int) -> int:
        """Remove the files that nobody has asked for longest, until the others fit.

        Args:
            limit_bytes: the most that all of them may have together.

        Returns:
            How many repositories it has removed.
        """
        places = {place: _last_use(place) for place in self._directory.glob("[!.]*")}
        total_bytes = sum(size for _, size in places.values())
        removed = 0
        for place, (used_s, size) in sorted(places.items(), key=lambda item: item[1]):
            if total_bytes <= limit_bytes or used_s > time.time() - _JUST_NEEDED_S:
                break
            gone = self._directory / f"{_PARTIAL}{secrets.token_hex(8)}"
            with contextlib.suppress(OSError):  # another resolver removes it
                place.rename(gone)
                remove_tree(gone)
                removed += 1
            total_bytes -= size
        return removed

    def _made(self) -> tuple[Path, int]:
        """Return a new directory, and its descriptor, which holds the lock."""
        while True:
            partial = self._directory / f"{_PARTIAL}{secrets.token_hex(8)}"
            partial.mkdir(mode=0o755)
            # Before it is locked, another resolver may take it for one that was left.
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
                if try_lock(descriptor) and partial.is_dir():
                    return partial, descriptor
                os.close(descriptor)

    def _remove_left(self) -> None:
        """Remove what killed resolvers have left."""
        for partial in self._directory.glob(f"{_PARTIAL}*"):
            with contextlib.suppress(OSError):
                descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if try_lock(descriptor):
                        remove_tree(partial)
                finally:
                    os.close(descriptor)


def _last_use(place: Path) -> tuple[float, int]:
    """Return when files were asked for last, and their size in bytes; 0, 0: they are damaged."""
    file = place / "source.json"
    try:
        return file.stat().st_mtime, int(json.loads(file.read_text())["size_bytes"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0, 0
