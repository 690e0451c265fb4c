"""Launcher of user servers for a hub that is not root; the server's unit runs it as the user.

The hub writes command and environment to a file that only this user and the hub can read; root
never opens it. The unit: `littlest_hub.units.unprivileged`.
"""

from __future__ import annotations

import json
import os
import shlex
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCH = "LITTLEST_HUB_LAUNCH"
"""Environment variable with command and directory, as JSON."""

# acl(5) as an extended attribute (the kernel's include/uapi/linux/posix_acl{,_xattr}.h): a version,
# then tag, permissions and id of each entry, in this order.
_ACL = "system.posix_acl_access"
_VERSION, _NO_ID = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ, _WRITE = 4, 2


def main() -> None:
    """Replace this process by the command in the file that is our argument."""
    words = shlex.split(Path(sys.argv[1]).read_text())
    environment = {**os.environ, **dict(word.split("=", 1) for word in words)}
    launch = json.loads(environment.pop(LAUNCH))
    if launch["directory"]:
        os.chdir(launch["directory"])
    os.execve(launch["command"][0], launch["command"], environment)


def launch_variables(command: Sequence[str], directory: str) -> Mapping[str, str]:
    """Return the variables that `main` reads.

    Args:
        command: absolute path of the program, and arguments.
        directory: its working directory; "": the one of the unit, the user's home.
    """
    return {LAUNCH: json.dumps({"command": list(command), "directory": directory})}


def write_for_user(file: Path, text: str, uid: int) -> None:
    """Write a file that one other user can read; make its directory, ours, passable for all.

    Raises:
        OSError: the disk is full, or the file system has no access control lists.
    """
    file.parent.chmod(0o711)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        os.setxattr(out.fileno(), _ACL, _readable_for(uid))
        out.write(text)


def _readable_for(uid: int) -> bytes:
    entries = (
        (_OWNER, _READ | _WRITE, _NO_ID),
        (_USER, _READ, uid),
        (_GROUP, 0, _NO_ID),
        (_MASK, _READ, _NO_ID),
        (_OTHER, 0, _NO_ID),
    )
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


if __name__ == "__main__":
    main()
