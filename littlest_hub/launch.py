"""Starts a user server as its user, for a hub that is not root and cannot do that itself.

The unit of the server runs it (services/unprivileged.py). What to run the hub has written down in a
file that this user may read and nobody else, as JSON; no process of root's ever opens it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# acl(5) as an extended attribute, the kernel's include/uapi/linux/posix_acl{,_xattr}.h: a version,
# then tag, rights and id of each entry, in this order.
_ACL = "system.posix_acl_access"
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ, _WRITE = 4, 2


def main() -> None:
    """Become what the file that is our argument says."""
    order = json.loads(Path(sys.argv[1]).read_text())
    environ = {**os.environ, **order["environ"]}
    if order["directory"]:
        os.chdir(order["directory"])
    os.execvpe(order["command"][0], order["command"], environ)


def leave(
    file: Path, uid: int, command: Sequence[str], environ: Mapping[str, str], directory: str = ""
) -> None:
    """Write down what to run, readable for that user and for us.

    Args:
        file: where; in a directory that is ours, and that others only pass through.
        uid: whose server.
        command: program and arguments.
        environ: what is added to the environment that systemd gives it.
        directory: where to run it; "": where systemd does, at home.

    Raises:
        OSError: there is no room, or no access control lists.
    """
    order = {"command": list(command), "environ": dict(environ), "directory": directory}
    file.parent.chmod(0o711)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        os.setxattr(out.fileno(), _ACL, _readable_for(uid))
        json.dump(order, out)


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
