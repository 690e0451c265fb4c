"""Default access control lists: which modes files get that are made in a directory (acl(5)).

They apply in place of the umask. Written as the kernel has them, because setfacl(1) is missing on
many machines.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct

_NAME = "system.posix_acl_default"
# linux/posix_acl_xattr.h: a version, then a tag, permissions and a number for each entry.
_VERSION = 2
_OWNER, _GROUP, _OTHERS = 0x01, 0x04, 0x20
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
    text = b"".join(struct.pack("<HHI", tag, mode, _NO_ID) for tag, mode in entries)
    os.setxattr(directory, _NAME, struct.pack("<I", _VERSION) + text)


def remove_default(directory: int) -> None:
    """Let the umask decide again."""
    with contextlib.suppress(OSError):
        os.removexattr(directory, _NAME)


def is_unsupported(error: OSError) -> bool:
    """Return whether the filesystem has no access control lists."""
    return error.errno == errno.ENOTSUP
