"""The probe of `doctor` for announce."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.stacks.announce.announcement import FILE, read


def announcement(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the announcement can be read."""
    directory = snapshot.layout.stack_data("announce")
    try:
        found = read(directory)
    except PermissionError:
        raise
    except (ValueError, OSError) as error:
        text = f"{directory / FILE} cannot be read, so pages show no announcement: {error}"
        again = f"rm {directory / FILE}   # and write the announcement again"
        yield Finding(PROBLEM, "announce", text, again)
    else:
        yield Finding(OK, "announce", f"banner: {found.banner or 'none'}")
