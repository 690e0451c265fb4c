"""Files and links that are the old or the new at any moment, never something between."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


def write(file: Path, text: str, mode: int = 0o644, group: int | None = None) -> bool:
    """Have `text` in `file`, by rename, so that a reader finds the old or the new.

    Args:
        file: what to write; directories above it are made.
        text: its content.
        mode: its permissions, whatever the umask and whatever they were.
        group: a group's number, for a file of root's; None: as it comes.

    Returns:
        Whether anything changed.
    """
    if file.is_file() and not file.is_symlink() and file.read_text() == text:
        return own(file, mode, group)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        own(temporary, mode, group)
    return True


def own(path: Path, mode: int, group: int | None = None) -> bool:
    """Have a file or directory belong to root and `group` (None: as it is), with `mode`.

    Returns:
        Whether anything changed.
    """
    status = path.stat()
    is_owner_wrong = group is not None and (status.st_uid, status.st_gid) != (0, group)
    if is_owner_wrong and group is not None:
        os.chown(path, 0, group)
    # After chown, which takes the setgid bit away.
    is_mode_wrong = stat.S_IMODE(path.stat().st_mode) != mode
    if is_mode_wrong:
        path.chmod(mode)
    return is_owner_wrong or is_mode_wrong


def link(name: Path, target: Path, *, keep_others: bool = False) -> bool:
    """Have a symlink, replaced in one step.

    Args:
        name: the link.
        target: what it is to hold.
        keep_others: leave alone what stands there and leads elsewhere.

    Returns:
        Whether anything changed.
    """
    exists = name.is_symlink() or name.exists()
    if exists and (keep_others or (name.is_symlink() and name.readlink() == target)):
        return False
    name.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(name) as temporary:
        temporary.symlink_to(target)
    return True


def hold(file: Path) -> TextIO | None:
    """Hold a lock file for as long as the result stays open, and write down who does.

    Returns:
        The open file; None: another process holds it, and its first line is that one's id.
    """
    held = file.open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    held.truncate(0)
    held.write(f"{os.getpid()}\n")
    held.flush()
    return held


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to make something at, which then replaces `path` in one step."""
    # Its end is no suffix that anybody loads: traefik reads every .toml, systemd every .service.
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
