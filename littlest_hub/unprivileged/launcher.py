"""Starts a user server as its user, for a hub that is not root and cannot do that itself.

The unit of the server runs it (services/unprivileged.py). What to run the hub has left in a file
that this user may read and nobody else; no process of root's ever opens it.
"""

from __future__ import annotations

import json
import os
import shlex
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ORDER = "LITTLEST_HUB_LAUNCH"
"""Variable of the environment that holds the rest, as JSON."""

# acl(5) as an extended attribute, the kernel's include/uapi/linux/posix_acl{,_xattr}.h: a version,
# then tag, rights and id of each entry, in this order.
_ACL = "system.posix_acl_access"
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ, _WRITE = 4, 2


def main() -> None:
    """Become what the file that is our argument says."""
    words = shlex.split(Path(sys.argv[1]).read_text())
    environment = {**os.environ, **dict(word.split("=", 1) for word in words)}
    order = json.loads(environment.pop(ORDER))
    if order["directory"]:
        os.chdir(order["directory"])
    os.execve(order["command"][0], order["command"], environment)


def order(command: Sequence[str], directory: str) -> Mapping[str, str]:
    """What is added to the environment for `main`.

    Args:
        command: program, as an absolute path, and arguments.
        directory: where to run it; "": where systemd does, at home.
    """
    return {ORDER: json.dumps({"command": list(command), "directory": directory})}


def leave(file: Path, text: str, uid: int) -> None:
    """Have a file that one other user may read, in a directory of ours that all may pass through.

    Raises:
        OSError: there is no room, or there are no access control lists.
    """
    file.parent.chmod(0o711)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        os.setxattr(out.fileno(), _ACL, _readable_for(uid))
        out.write(text)


def _readable_for(uid: int) -> bytes:
    entries = (
        (_OWNER, _READ | _WRITE, _NOBODY),
        (_USER, _READ, uid),
        (_GROUP, 0, _NOBODY),
        (_MASK, _READ, _NOBODY),
        (_OTHER, 0, _NOBODY),
    )
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


if __name__ == "__main__":
    main()
