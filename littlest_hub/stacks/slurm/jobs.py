"""Jobs and partitions of Slurm: the output of its commands, and the meaning of states."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

SQUEUE_FORMAT = "%i|%T|%B|%S|%e|%P|%l|%r"
"""squeue(1): number, state, node of the script, start, end, partition, time limit, reason; a reason
is any text."""
_NOTHING = ("", "n/a", "N/A", "NONE", "Unknown")


class Phase(Enum):
    """The meaning of a job's state for its server (squeue(1), "JOB STATE CODES")."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """A state that this program does not know; the server is assumed to be alive."""


_PHASES = {
    Phase.WAITING: (
        "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT"
    ),
    Phase.RUNNING: "RUNNING SUSPENDED RESIZING SIGNALING STAGE_OUT STOPPED",
    Phase.ENDED: (
        "BOOT_FAIL CANCELLED COMPLETED COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED"
        " REVOKED TIMEOUT"
    ),
}
_PHASE_OF = {state: phase for phase, states in _PHASES.items() for state in states.split()}

_ENDS = {
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "somebody cancelled it, or Slurm did",
    "COMPLETED": "the server ended by itself",
    "DEADLINE": "its deadline has passed",
    "FAILED": "the server ended with an error",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it took more memory than it asked for",
    "PREEMPTED": "Slurm gave its resources to a job of higher priority",
    "TIMEOUT": "its time limit was reached",
}
# While its last processes end, a job is COMPLETING, and only its reason may tell why.
_ENDS_BY_REASON = {
    "NodeDown": _ENDS["NODE_FAIL"],
    "NonZeroExitCode": _ENDS["FAILED"],
    "OutOfMemory": _ENDS["OUT_OF_MEMORY"],
    "TimeLimit": _ENDS["TIMEOUT"],
}
# squeue(1), "JOB REASON CODES": those that tell people who wait something.
_REASONS = {
    "BeginTime": "it starts later",
    "Dependency": "another job has to end first",
    "InvalidAccount": "its account does not exist any more",
    "InvalidQOS": "its quality of service (QOS) does not exist any more",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "it is held",
    "NodeDown": "a node that it needs is down",
    # A sentence of slurmctld, up to its first comma.
    "Nodes required for job are DOWN": "the nodes that it needs are down or reserved",
    "PartitionDown": "the partition is closed",
    "PartitionNodeLimit": "the partition does not have what it asks for",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "Priority": "others are before it",
    "ReqNodeNotAvail": "a node that it needs is reserved or down",
    "Reservation": "its reservation has not begun",
    "Resources": "all machines are in use",
}
# Limits of accounts and of qualities of service; the first that matches counts.
_LIMITS = (
    (r"AssocGrp\w+|\w*Max\w*PerAccount(Limit)?", "your group uses as much as it may"),
    (r"(Assoc|QOS)?Max(Jobs|Submit)\w*", "you have as many jobs as you may"),
    (r"\w*Max\w*Per(Job|Node)(Limit)?", "it asks for more than you may have"),
    (r"\w*Max\w*PerUser(Limit)?", "you use as much as you may"),
    (r"QOSGrp\w+", "all jobs of its quality of service (QOS) use as much as they may"),
)


@dataclass(frozen=True)
class Job:
    """One job, as squeue shows it."""

    number: str
    state: str
    """Slurm's word for it, in capitals, such as PENDING."""
    node: str = ""
    """The node that runs its script; "": none yet."""
    start: str = ""
    """The past or expected start, 2026-11-29T15:04:05 in the cluster's time; "": unknown."""
    end: str = ""
    """The end of its time limit; "": unknown."""
    partition: str = ""
    limit_minutes: int | None = None
    """Its time limit; None: it has none, or one that this program does not understand."""
    reason: str = ""
    """Slurm's word for the reason of the wait."""

    @property
    def phase(self) -> Phase:
        return _PHASE_OF.get(self.state, Phase.UNKNOWN)

    def ends_at(self) -> datetime | None:
        """Return when its time limit ends it; None: unknown, or never."""
        try:
            # Slurm's commands print the time of this machine.
            return datetime.fromisoformat(self.end).astimezone()
        except ValueError:
            return None

    def why_waiting(self) -> str:
        """Return a sentence for the person who waits."""
        word = self.reason.partition(",")[0].strip(" ()_")
        why = _limit(word) or _REASONS.get(word, "")
        if not why and word.isprintable() and word != "None":
            why = word
        parts = [f"Job {self.number} waits in the queue"]
        if why:
            parts.append(f": {why}")
        if self.start:
            parts.append(f". It is expected to start at {self.start.replace('T', ' ')}")
        return "".join(parts)

    def progress(self) -> tuple[str, int]:
        """Return how far the start of its server is: a sentence, and a percentage."""
        if self.phase is Phase.WAITING:
            return self.why_waiting(), 10
        return f"Job {self.number} runs on {self.node}: the server starts", 60

    @property
    def is_unexplained(self) -> bool:
        """Whether the job is ending and Slurm has yet to say why."""
        return self.state == "COMPLETING" and self.reason not in _ENDS_BY_REASON

    def why_ended(self) -> str:
        """Return why the job has ended, as a part of a sentence."""
        if self.state == "COMPLETING":
            other = "it was cancelled, or the server ended by itself"
            return _ENDS_BY_REASON.get(self.reason, other)
        return _ENDS.get(self.state, f"Slurm calls its state {self.state}")


def _limit(word: str) -> str:
    """Return what a reason says about a limit; "": it is another one."""
    return next((why for limit, why in _LIMITS if re.fullmatch(limit, word)), "")


def parse_squeue(text: str) -> dict[str, Job]:
    """Parse what squeue prints with `SQUEUE_FORMAT`: jobs by number.

    Raises:
        ValueError: a line has another format.
    """
    return {job.number: job for job in map(_job, text.splitlines()) if job}


def _job(line: str) -> Job | None:
    if not line.strip():
        return None
    fields = [field.strip() for field in line.split("|", 7)]
    if len(fields) != 8 or not re.fullmatch(r"\d+", fields[0]) or not fields[1].isupper():
        raise ValueError(f"squeue prints {line[:80]!r}")
    number, state, node, start, end, partition, limit, reason = fields
    node, start, end = ("" if each in _NOTHING else each for each in (node, start, end))
    limit_minutes = None
    # Such as Partition_Limit: a job that waits may have none yet.
    with suppress(ValueError):
        limit_minutes = minutes(limit)
    return Job(number, state, node, start, end, partition, limit_minutes, reason)


def parse_number(text: str) -> str:
    """Return the number that `sbatch --parsable` prints: NUMBER or NUMBER;CLUSTER.

    Raises:
        ValueError: the text has another format.
    """
    found = re.fullmatch(r"(\d+)(;\S+)?", text.strip())
    if not found:
        raise ValueError(f"sbatch prints {text[:80]!r}")
    return found[1]


@dataclass(frozen=True)
class Partition:
    """A partition of the cluster, as sinfo shows it."""

    name: str
    is_default: bool
    is_up: bool
    most_minutes: int | None
    """The longest time limit; None: unlimited."""
    processors: int
    """Number on its largest node."""
    memory_mb: int
    """Amount on its largest node."""
    gpus: int
    """Number on its largest node."""


def most_minutes(partitions: Sequence[Partition], name: str) -> float:
    """Return the longest time limit in a partition; infinite: unlimited; 0: there is none."""
    for partition in partitions:
        if partition.name == name:
            return math.inf if partition.most_minutes is None else partition.most_minutes
    return 0


SINFO_FORMAT = "%R|%a|%l|%c|%m|%G|%P"
"""sinfo(1): partition, availability, time limit, processors, memory in MB, generic resources, and
the partition again, with * if it is the default. One line for each kind of node."""


def parse_sinfo(text: str) -> list[Partition]:
    """Parse what sinfo prints with `SINFO_FORMAT`; nodes of several kinds count as the largest.

    Raises:
        ValueError: a line has another format.
    """
    found: dict[str, Partition] = {}
    for each in _partitions(text):
        other = found.get(each.name, each)
        found[each.name] = Partition(
            each.name,
            each.is_default,
            each.is_up,
            each.most_minutes,
            max(each.processors, other.processors),
            max(each.memory_mb, other.memory_mb),
            max(each.gpus, other.gpus),
        )
    return sorted(found.values(), key=lambda partition: not partition.is_default)


def _partitions(text: str) -> Iterator[Partition]:
    for line in filter(str.strip, text.splitlines()):
        try:
            name, available, limit, processors, memory, resources, shown = line.strip().split("|")
            yield Partition(
                name,
                is_default=shown.endswith("*"),
                is_up=available == "up",
                most_minutes=minutes(limit),
                # "4+": nodes of different sizes in one line, at least 4.
                processors=int(processors.rstrip("+")),
                memory_mb=int(memory.rstrip("+")),
                gpus=sum(
                    int(number) for number in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", resources)
                ),
            )
        except ValueError as error:
            raise ValueError(f"sinfo prints {line[:80]!r}: {error}") from error


def minutes(text: str) -> int | None:
    """Parse a time limit as Slurm prints it, [DAYS-]HOURS:MINUTES:SECONDS; None: unlimited.

    Raises:
        ValueError: the text has another format.
    """
    if text in ("infinite", "UNLIMITED"):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if not found:
        raise ValueError(f"expected [DAYS-][HOURS:]MINUTES:SECONDS, found {text!r}")
    days, hours, whole, seconds = (int(each or 0) for each in found.groups())
    return (days * 24 + hours) * 60 + whole + (seconds > 0)
