"""Processor time and memory of a machine's units."""

from __future__ import annotations

from dataclasses import dataclass

from tests.eventually import NotInTimeError, eventually
from tests.server import Server

# Memory as PSS: memory shared by several processes is divided among them (proc_pid_smaps(5)).
_MEMORY = """
for group; do
    find "/sys/fs/cgroup$group" -name cgroup.procs -exec cat {} + |
        sed 's|.*|/proc/&/smaps_rollup|' | xargs --no-run-if-empty cat 2>/dev/null |
        awk '/^Pss:/ { sum += $2 } /^Pss_Anon:/ { own += $2 } END { print sum + 0, own + 0 }'
done
"""
_IDLE = 0.02
"""Share of one processor below which units are idle."""


@dataclass(frozen=True)
class Usage:
    """Usage of one unit, with all of its processes."""

    cpu_s: float
    """Processor seconds since its start."""
    pss_mib: float
    anonymous_mib: float
    """The part that is not pages of files, which a machine short of memory cannot reclaim."""


def usage(machine: Server, *patterns: str) -> dict[str, Usage]:
    """Return the usage of all running units by name."""
    units = _shown(machine, "Id,ControlGroup,CPUUsageNSec", *patterns)
    units = [unit for unit in units if unit.get("ControlGroup")]
    groups = [unit["ControlGroup"] for unit in units]
    sums = machine.run(["sh", "-c", _MEMORY, "sh", *groups]).stdout.splitlines()
    return {
        unit["Id"]: Usage(int(unit["CPUUsageNSec"]) / 1e9, *(int(kib) / 1024 for kib in of.split()))
        for unit, of in zip(units, sums, strict=True)
    }


def memory_mib(machine: Server, *patterns: str) -> float:
    """Return the memory of all running units together, with those that end meanwhile left out.

    It needs no count of processor time, which units of systemd-run(1) may not have.
    """
    shown = _shown(machine, "ControlGroup", *patterns)
    groups = [unit["ControlGroup"] for unit in shown if unit.get("ControlGroup")]
    sums = machine.run(["sh", "-c", _MEMORY, "sh", *groups], check=False).stdout.splitlines()
    return sum(int(of.split()[0]) for of in sums) / 1024


def cpu_s(machine: Server, *patterns: str) -> float:
    """Return the processor seconds of all of them since their starts."""
    shown = _shown(machine, "CPUUsageNSec", *patterns)
    return sum(int(unit["CPUUsageNSec"]) for unit in shown if unit["CPUUsageNSec"].isdigit()) / 1e9


def settle(machine: Server, *patterns: str, timeout_s: float = 20) -> bool:
    """Wait until they are idle, or for so many seconds, and return whether they are."""
    last_s = cpu_s(machine, *patterns)

    def is_idle() -> bool:
        nonlocal last_s
        before_s, last_s = last_s, cpu_s(machine, *patterns)
        return last_s - before_s < _IDLE

    try:
        return eventually(is_idle, timeout_s, "idle units", interval_s=1)
    except NotInTimeError:
        return False


def _shown(machine: Server, properties: str, *patterns: str) -> list[dict[str, str]]:
    show = machine.systemctl("show", f"--property={properties}", *patterns).stdout
    return parse_properties(show)


def parse_properties(shown: str) -> list[dict[str, str]]:
    """Return what `systemctl show` prints of several units."""
    blocks = (block for block in shown.split("\n\n") if block.strip())
    return [dict(line.split("=", 1) for line in block.split("\n") if line) for block in blocks]
