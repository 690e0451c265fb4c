"""Owners of a path: of each directory and link on the way to it."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.errors import LittlestHubError

_MOST_LINKS = 40  # the kernel's limit, path_resolution(7)


class LooseStep(NamedTuple):
    """A directory, link, or file that others than root can change, and everything below it."""

    path: Path
    """The path, as the machine sees it."""
    uid: int
    mode: int
    has_acl: bool = False
    """Whether an access control list lets others write to it."""

    @property
    def reason(self) -> str:
        owner = f"belongs to {_user_name(self.uid)}" if self.uid else "belongs to root"
        more = " with an access control list (getfacl)" if self.has_acl else ""
        return f"{self.path} {owner} and has mode {self.mode:04o}{more}"

    @property
    def repair(self) -> str:
        """The command that makes it root's."""
        path = shlex.quote(str(self.path))
        return f"chown root: {path} && chmod go-w {path}"


def check_owners(path: Path, root: Path = Path("/")) -> None:
    """Refuse, for root, a path that others can replace; anybody else works for themselves.

    Raises:
        LittlestHubError: the directory, its owner and mode, and what to do.
    """
    found = loose_step(path, root) if os.geteuid() == 0 else None
    if found:
        raise LittlestHubError(
            f"{path} cannot be used by root: {found.reason}, so other users can replace what is"
            " below it; expected only directories that belong to root and that nobody else may"
            " write to",
            f"{found.repair}; or choose another base directory, such as /opt/littlest-hub",
        )


def loose_step(path: Path, root: Path = Path("/")) -> LooseStep | None:
    """Return the first step on the way to a path, itself included, that others can change, if any.

    In a sticky directory such as /tmp, only the owner of an entry can rename it. If the path itself
    is such a directory, others can still add entries to it.

    Args:
        path: absolute; the part of it that does not exist is not examined.
        root: the machine's file system; this directory itself is examined only if it is "/".
    """
    steps = list(_steps(path, root))
    itself = steps[-1] if steps and os.path.lexists(root / path.relative_to("/")) else None
    for step in steps:
        status = step.lstat()
        mode = stat.S_IMODE(status.st_mode)
        # On some distributions, group root may write to directories of root. With an access
        # control list, these are not the permissions of the group, but of those in the list.
        has_acl = bool(mode & stat.S_IWGRP) and _has_acl(step)
        is_of_others = status.st_gid != 0 or has_acl
        is_writable = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and is_of_others)
        is_sticky = stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX and step != itself
        is_open = is_writable and not is_sticky and not stat.S_ISLNK(status.st_mode)
        if status.st_uid != 0 or is_open:
            return LooseStep(Path("/") / step.relative_to(root), status.st_uid, mode, has_acl)
    return None


def _has_acl(step: Path) -> bool:
    """Return whether an access control list says who may write to a file or directory (acl(5))."""
    try:
        os.getxattr(step, "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        return False
    return True


def _steps(path: Path, root: Path) -> Iterator[Path]:
    """Yield each directory and link that the kernel passes on the way to a path."""
    current, links = root, 0
    left = list(path.relative_to("/").parts)
    if root == Path("/"):
        yield root
    while left:
        name = left.pop(0)
        if name == "..":
            current = root if current == root else current.parent
            continue
        step = current / name
        if not os.path.lexists(step):
            return
        yield step
        if not step.is_symlink():
            current = step
            continue
        links += 1
        if links > _MOST_LINKS:
            return  # opening it fails
        target = step.readlink()
        if target.is_absolute():
            current = root
            target = target.relative_to("/")
        left = [*target.parts, *left]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
