"""A cache of build results, keyed by the content of their inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

WORKSPACES = "tmp"


def default_root() -> Path:
    """Return ``$LITTLEST_HUB_CACHE``, or ``littlest-hub`` in the user's cache directory."""
    if chosen := os.environ.get("LITTLEST_HUB_CACHE"):
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "littlest-hub"


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def key_of(parts: Iterable[str | bytes | Path]) -> str:
    """Return a key for all inputs of a result: texts, bytes, and files or folders by content.

    A folder counts by the relative name and content of each file, without Python's bytecode caches.
    """
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:20]


def _pieces(part: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(part, str):
        yield part.encode()
    elif isinstance(part, bytes):
        yield part
    elif part.is_dir():
        for path in sorted(part.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(part)).encode()
                yield path.read_bytes()
    else:
        yield part.read_bytes()


class Cache:
    """A directory of results. Each is made under another name and renamed when it is complete."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def get(self, kind: str, name: str, key: str, make: Callable[[Path], object]) -> Path:
        """Return the file or folder ``kind/name-key``. If it is missing, ``make(path)`` creates it.

        If several processes need it at once, one of them creates it and the others wait.
        """
        if found := self.find(kind, name, key):
            return found
        result = self.root / kind / f"{name}-{key}"
        with self._lock(f"{kind}-{result.name}"), self.workspace() as workspace:
            if found := self.find(kind, name, key):
                return found
            made = workspace / "made"
            make(made)
            result.parent.mkdir(parents=True, exist_ok=True)
            made.rename(result)
        return result

    def find(self, kind: str, name: str, key: str) -> Path | None:
        """Return the result if it exists, and mark it as used, for ``prune``."""
        result = self.root / kind / f"{name}-{key}"
        if not result.exists():
            return None
        os.utime(result)
        return result

    def prune(self, kinds: Sequence[str], unused_s: float) -> None:
        """Remove results of these kinds, and stale workspaces, unused for ``unused_s`` seconds."""
        for kind in (*kinds, WORKSPACES):
            folder = self.root / kind
            for path in folder.iterdir() if folder.is_dir() else ():
                if time.time() - path.lstat().st_mtime < unused_s:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name, which excludes other threads and processes."""
        path = self.root / WORKSPACES / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_open(path, lock.fileno()):
                    continue  # the previous holder has removed it
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create a directory on the cache's file system, and remove it at the end."""
        parent = self.root / WORKSPACES
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _is_open(path: Path, fd: int) -> bool:
    """Return whether ``path`` is still the name of the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
