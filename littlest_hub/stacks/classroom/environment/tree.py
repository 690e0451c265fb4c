"""The files of the next generation, made from the present one and a change to it.

The next generation shares unchanged files with the present one, as hard links. No program writes to
a generation in place: a change is made in the upper layer of an overlay, whose entries then replace
those of the next generation.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

from littlest_hub.errors import LittlestHubError

_OPAQUE = "trusted.overlay.opaque"
_OVERLAY = "trusted.overlay."
_LONGEST_NAME = 255


def has_changes(upper: Path) -> bool:
    """Return whether the upper layer of an overlay contains anything but directories."""
    return any(files for _, _, files in os.walk(upper)) or any(
        _is_opaque(Path(place)) for place, _, _ in os.walk(upper)
    )


def make_next(lower: Path, upper: Path, target: Path) -> None:
    """Make a tree with the content of an overlay; files are moved out of its upper layer.

    Args:
        lower: the tree before the change, which is not modified.
        upper: the upper layer; on the same file system, nothing of it is copied.
        target: the new tree.

    Raises:
        LittlestHubError: the disk is full, or the file system has no hard links.
    """
    command = ["cp", "--archive", "--link", "--no-target-directory", str(lower), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LittlestHubError(done.stderr.strip().splitlines()[-1].removeprefix("cp: "))
    replay(upper, target)


def replay(upper: Path, target: Path) -> None:
    """Apply the upper layer of an overlay to a tree; files are moved out of the layer."""
    for entry in list(os.scandir(upper)):
        name, there = Path(entry.path), target / entry.name
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if _is_opaque(name) or not _is_directory(there):
                remove(there)
                there.mkdir()
            there.chmod(_readable(status.st_mode))
            replay(name, there)
        elif _is_whiteout(status):
            remove(there)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            if _is_directory(there):
                remove(there)
            _plain(name, status)
            _move(name, there)
        # Other entries, such as sockets, are left out.


def remove(path: Path) -> None:
    """Remove a file, link or directory, if it exists."""
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _plain(file: Path, status: os.stat_result) -> None:
    """Give a file to root, and let everybody read it, as every file in a generation."""
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(file, os.geteuid(), os.getegid(), follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return
    for name in os.listxattr(file):
        if name.startswith(_OVERLAY):
            os.removexattr(file, name)
    file.chmod(_readable(status.st_mode))


def _move(file: Path, target: Path) -> None:
    """Give a file or link another name, on another file system too; what has that name is replaced.

    The old file may be that of an earlier generation as well, so nothing is written into it.
    """
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f".new-{target.name}"[:_LONGEST_NAME])
        shutil.copy2(file, copy, follow_symlinks=False)
        copy.replace(target)
        file.unlink()


def _readable(mode: int) -> int:
    """Return a mode with which everybody reads, the owner alone writes, and nobody gains rights."""
    is_program = stat.S_ISDIR(mode) or mode & 0o111
    return (mode & 0o700) | (0o755 if is_program else 0o644)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_whiteout(status: os.stat_result) -> bool:
    """Return whether a file stands for a removed name: a character device 0, 0 (overlayfs)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: Path) -> bool:
    """Return whether a directory hides that of the lower layer."""
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError:
        return False
