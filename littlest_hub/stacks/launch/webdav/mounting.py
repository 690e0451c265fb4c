"""Root's part of mounting a folder, before the unit's program: a device, and a mount of it.

    python -m littlest_hub.stacks.launch.webdav.mounting DIRECTORY FILE

systemd keeps the device, and what is in the file, for the unit's program, which has no rights.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from littlest_hub.system import fuse, sd_daemon

MODULE = "littlest_hub.stacks.launch.webdav.mounting"
DEVICE, ORDER = "fuse", "order"
"""Names of the device and of the order among the unit's descriptors."""


def main() -> None:
    """Mount a directory."""
    path, file = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        order = file.read_bytes()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(exist_ok=True)
        device = fuse.mount_read_only(path, "webdav")
    except OSError as error:
        is_missing = not fuse.DEVICE.exists() or error.errno in (errno.ENODEV, errno.ENXIO)
        why = "this machine has no FUSE" if is_missing else f"it cannot be mounted: {error}"
        sd_daemon.notify(f"STATUS={why}")
        sys.exit(why)
    sd_daemon.store(device, DEVICE)
    memory = os.memfd_create(ORDER)
    os.write(memory, order)
    sd_daemon.store(memory, ORDER)


if __name__ == "__main__":
    main()
