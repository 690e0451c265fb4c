"""Probes of `doctor` on the cluster."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot, output_of

_COMMANDS = ("sbatch", "scancel", "sinfo", "squeue")
# sinfo(1), "NODE STATE CODES", in its short form. * is a node that does not answer.
_LOST = re.compile(r"^(down|drain|drng|fail|failg|inval|unk|no_respond)|\*$")


def cluster(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that this machine can submit jobs, and that there are nodes to run them."""
    if missing := [each for each in _COMMANDS if shutil.which(each) is None]:
        text = f"not found: {', '.join(missing)}; this machine cannot submit jobs"
        yield Finding(PROBLEM, "slurm", text, "sudo apt install slurm-client   # or the like")
        return
    yield from munge(output_of("munge", "--no-input"))
    answers = [*controller(output_of("scontrol", "ping"))]
    yield from answers
    # Without the controller, sinfo lists none.
    if all(each.severity == OK for each in answers):
        yield from nodes(output_of("sinfo", "--noheader", "--Node", "--format=%N %t"))


def munge(credential: str) -> Iterator[Finding]:
    """Report whether munge signs messages of this machine to Slurm."""
    if credential.startswith("MUNGE:"):
        yield Finding(OK, "munge", "signs")
    else:
        text = "does not sign, and Slurm accepts nothing unsigned"
        yield Finding(PROBLEM, "munge", text, "systemctl status munge")


def controller(pinged: str) -> Iterator[Finding]:
    """Report whether one of the controllers answers."""
    if re.search(r"\bis UP\b", pinged):
        yield Finding(OK, "slurmctld", "answers")
    else:
        text = "does not answer: servers run on, and none can be started"
        yield Finding(PROBLEM, "slurmctld", text, "scontrol ping")


def is_lost(state: str) -> bool:
    """Return whether a node with this state, in its short form, runs no jobs."""
    return bool(_LOST.search(state.strip()))


def nodes(listed: str) -> Iterator[Finding]:
    """Report nodes that run no jobs.

    Args:
        listed: a line with name and state for each node and partition.
    """
    states = dict(line.split(maxsplit=1) for line in listed.splitlines() if " " in line.strip())
    lost = sorted(name for name, state in states.items() if is_lost(state))
    if not states:
        yield Finding(PROBLEM, "nodes", "sinfo lists none", "sinfo")
    elif lost:
        severity = PROBLEM if len(lost) == len(states) else WARNING
        names = ", ".join([*lost[:5], *(["…"] if lost[5:] else [])])
        text = f"{len(lost)} of {len(states)} run no jobs: {names}"
        yield Finding(severity, "nodes", text, "sinfo --list-reasons")
    else:
        yield Finding(OK, "nodes", f"{len(states)} run jobs")
