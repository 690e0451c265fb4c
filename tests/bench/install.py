"""Time to put a tree of files on a disk, and the size of the installer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def timed(action: Callable[[], object]) -> float:
    """Return the wall time in seconds of ``action``, starting with no dirty pages."""
    os.sync()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def install(installer: Path, prefix: Path) -> None:
    """Run everything that the installer does except its scripts: check, unpack, relocate, rename.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = ["sh", str(installer), "-b", "-s", "-p", str(prefix)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # with SIGTERM, unlike SIGKILL, it removes what it has unpacked
            process.wait()
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Yield a directory on a disk; it is removed at the end, as far as possible."""
    with tempfile.TemporaryDirectory(
        prefix="littlest-hub-bench-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as scratch:
        yield Path(scratch)


def untar(archive: Path, target: Path) -> None:
    """Run plain tar, the lower bound for the same files."""
    target.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(target)], check=True)


def sizes(installer: Path, scratch: Path) -> tuple[int, int]:
    """Return the bytes of the installer, and the sum of its packages."""
    prefix = scratch / "sizes" / "releases" / "measured"
    install(installer, prefix)
    records = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    shutil.rmtree(scratch / "sizes")
    return installer.stat().st_size, sum(record.get("size", 0) for record in records)
