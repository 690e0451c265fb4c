"""The first step of a backup, with root's rights: a backup of the hub, for the one of everything.

The second step talks to the network and reads files of users, so it has fewer rights.
"""

from __future__ import annotations

import subprocess
import sys

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.repository.creation import point_at
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.units import HUB
from littlest_hub.system.files import replacing

TIMEOUT_S = 1800


def main() -> int:
    """Prepare a backup; if the hub cannot be copied, the rest is backed up all the same."""
    layout = installation.of_this_release()
    try:
        prepare(layout, with_hub=HUB in sys.argv[1:])
    except LittlestHubError as error:
        print(f"littlest-hub: {error}", file=sys.stderr)
    return 0


def prepare(layout: Layout, *, with_hub: bool) -> None:
    """Let the unit write to the repository, and write the backup of the hub if it is asked for.

    Raises:
        LittlestHubError: the hub could not be copied, or the fragment is not valid.
    """
    place = Place.of(layout)
    place.make()
    point_at(place, fragment.read(layout))
    if not with_hub:
        return
    # If this fails, no earlier copy shall pass for that of today.
    place.hub.unlink(missing_ok=True)
    command = [f"{layout.hub}/bin/littlest-hub", "backup", "--secrets", "-"]
    with replacing(place.hub) as temporary:
        temporary.touch(mode=0o600)
        with open(temporary, "wb") as out:
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, timeout=TIMEOUT_S
                )
            except subprocess.TimeoutExpired:
                raise LittlestHubError(
                    f"the hub's own backup took more than {TIMEOUT_S} s"
                ) from None
        if done.returncode:
            raise LittlestHubError("the hub's own backup failed; the reason is above")


if __name__ == "__main__":
    sys.exit(main())
