"""Access control lists of directories (acl(5)): who may enter one, and what is made in it.

Default lists say which modes files get that are made in a directory, in place of the umask. Written
as the kernel has them, because setfacl(1) is missing on many machines.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Set
from pathlib import Path

_NAME = "system.posix_acl_default"
_ACCESS = "system.posix_acl_access"
# linux/posix_acl_xattr.h: a version, then a tag, permissions and a number for each entry.
_VERSION = 2
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF


def set_default(directory: int, owner: int, group: int, others: int) -> None:
    """Decide the permissions of what is made in a directory from now on.

    Args:
        directory: descriptor of it.
        owner: permissions, such as 0o7.
        group: permissions of the group that the file gets.
        others: permissions of all others.

    Raises:
        OSError: the filesystem has no such lists (ENOTSUP), or forbids it.
    """
    entries = ((_OWNER, owner), (_GROUP, group), (_OTHERS, others))
    text = b"".join(_ENTRY.pack(tag, mode, _NO_ID) for tag, mode in entries)
    os.setxattr(directory, _NAME, struct.pack("<I", _VERSION) + text)


def remove_default(directory: int) -> None:
    """Let the umask decide again."""
    with contextlib.suppress(OSError):
        os.removexattr(directory, _NAME)


def admit(directory: Path, users: Set[int]) -> None:
    """Let exactly these users and the owner enter and list a directory, in one step.

    Args:
        directory: a directory, not a link to one.
        users: their numbers.

    Raises:
        OSError: the filesystem has no such lists (ENOTSUP), or none of this length (ENOSPC); then
            everything is as it was.
    """
    entries = [(_OWNER, 0o7, _NO_ID), *((_USER, 0o5, uid) for uid in sorted(users))]
    entries += [(_GROUP, 0, _NO_ID), (_MASK, 0o5, _NO_ID), (_OTHERS, 0, _NO_ID)]
    text = b"".join(_ENTRY.pack(*entry) for entry in entries)
    os.setxattr(directory, _ACCESS, struct.pack("<I", _VERSION) + text, follow_symlinks=False)


def admit_everybody(directory: Path) -> None:
    """Let everybody enter and list a directory, and nobody but its owner change it."""
    with contextlib.suppress(OSError):  # it has no list
        os.removexattr(directory, _ACCESS, follow_symlinks=False)
    directory.chmod(0o755)


def admitted(directory: Path) -> set[int] | None:
    """Return the users whom a directory admits besides its owner; None: everybody, or some groups.

    Raises:
        OSError: there is no such directory.
    """
    if directory.lstat().st_mode & 0o007:
        return None
    try:
        text = os.getxattr(directory, _ACCESS, follow_symlinks=False)
    except OSError:
        return None
    entries = list(_ENTRY.iter_unpack(text[struct.calcsize("<I") :]))
    if any(mode for tag, mode, _ in entries if tag not in (_OWNER, _USER, _MASK)):
        return None
    return {number for tag, _, number in entries if tag == _USER}


def is_unsupported(error: OSError) -> bool:
    """Return whether the filesystem has no access control lists."""
    return error.errno == errno.ENOTSUP
