"""The probe of `doctor` for the stack."""

from __future__ import annotations

import time
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.stacks.stats.hub import STACK
from littlest_hub.stacks.stats.sampler.program import STATUS, Status
from littlest_hub.stacks.stats.store.database import damaged
from littlest_hub.stacks.stats.units import SAMPLER

_MISSED = 5
"""The most samples that may be missing before something is wrong."""


def samples(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that samples are taken, and report databases that were damaged."""
    layout = snapshot.layout
    directory = layout.on_disk(layout.stack_data(STACK))
    unit = f"{layout.stack_unit(STACK, SAMPLER)}.service"
    see = f"journalctl -u {unit} -n 20"
    try:
        status = Status.from_text((directory / STATUS).read_text())
    except FileNotFoundError:
        yield Finding(PROBLEM, STACK, "no sample was ever taken", see)
        return
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        yield Finding(PROBLEM, STACK, f"{directory / STATUS} cannot be read: {error}", see)
        return
    age_s = int(time.time()) - status.sampled_s
    if not status.sampled_s or age_s > _MISSED * status.every_s:
        since = f"for {age_s} s" if status.sampled_s else "at all"
        why = f": {status.problem}" if status.problem else ""
        yield Finding(PROBLEM, STACK, f"no sample was taken {since}{why}", see)
    else:
        yield Finding(OK, STACK, f"the last sample is {max(0, age_s)} s old")
    if found := damaged(directory):
        names = ", ".join(each.name for each in found)
        text = f"the database was damaged, and began anew; figures before are in {names}"
        command = f"rm {' '.join(str(each) for each in found)}   # if you do not need them"
        yield Finding(WARNING, STACK, text, command)
