"""Measure 220 servers on one machine, 60 of them with kernels that compute (`make bench-people`).

The servers start a few at a time: with the class stack by its command `class start`, and at stock
JupyterHub with SystemdSpawner and JupyterLab by requests to its API. Both stop asking for servers,
and for kernels, when the machine runs out of memory. The sides take turns, and the other side's
machine does not exist meanwhile: each has the whole memory.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from littlest_hub.hub.spawn_queue import default_concurrent_starts
from tests.bench import rounds
from tests.bench.classroom import COMMAND, Student, bundled, equip
from tests.bench.figures import OURS
from tests.bench.measures import pages, people
from tests.bench.sides import SIDES, HubSide
from tests.bench.usage import cpu_s, settle, usage

TITLES = {
    "ready": "servers that started",
    "failed": "servers that did not",
    "unasked": "not asked for, because memory ran out",
    "started_s": "first request to the last server, s",
    "each_s": "the same, for each server, s",
    "start_cpu_s": "processor time of a start: server, hub, and proxy, s",
    "idle_mib": "all idle servers, MiB",
    "server_mib": "one of them, MiB",
    "taken_mib": "memory that the machine has less, for each server, MiB",
    "hub_mib": "hub and proxy, MiB",
    "idle_cpu_s": "processor time in a minute in which nobody works: all servers, s",
    "idle_hub_cpu_s": "the same: hub and proxy, s",
    "pages_p99_ms": "pages at 100 a second, while all servers are idle: p99, ms",
    "pages_failed": "the same: failed",
    "answered": "people whose kernel answered",
    "unanswered": "people whose kernel did not",
    "kernels_s": "first login to the last answer of a kernel, s",
    "wait_s": "a login to the answer, median, s",
    "kernel_mib": "memory that a kernel with numpy adds, MiB",
    "all_mib": "all servers with these kernels, MiB",
    "busy_p99_ms": "pages at 5 a second, while these kernels compute: p99, ms",
    "busy_failed": "the same: failed",
    "broken": "kernels that did not finish",
    "lost": "servers that do not run any more",
    "unfinished": "turns that ended early",
}
NONE = (
    "failed",
    "unasked",
    "pages_failed",
    "unanswered",
    "busy_failed",
    "broken",
    "lost",
    "unfinished",
)
"""Figures that must be 0 at our side."""
GROUP = "class"
KERNELS_AT_ONCE = 5
"""Number of people who log in, and wait for a kernel, at the same time."""
IDLE_S = SETTLED_S = 60
PATIENCE_S = 3600
"""Time limit of all starts together."""
COMPUTING_S = 30
"""Time for which each kernel computes; other kernels and the measurement make it longer."""
CELL_PATIENCE_S = 300
BUSY_PAGES_PER_S, BUSY_PAGES_S = 5, 20
"""More would need a processor of their own, which the kernels leave to nobody."""
CELL = f"""\
import time, numpy
until, square = time.monotonic() + {COMPUTING_S}, numpy.ones((200, 200))
while time.monotonic() < until:
    total = (square @ square).sum()
print(int(total))
"""
ANSWER = "8000000"
_PID = "/run/class-start.pid"


@dataclass(frozen=True)
class Wave:
    """The outcome of servers that were started a few at a time."""

    ready: Sequence[str]
    """Names of the people whose servers run."""
    failures: Mapping[str, str]
    """The reasons why others do not, by name."""
    seconds: float


def wave_of(printed: str, seconds: float) -> Wave:
    """Return what `class start --json` has printed."""
    members = json.loads(printed)["members"]
    return Wave(
        [each["name"] for each in members if each["outcome"] in ("started", "runs")],
        {
            each["name"]: each["reason"] or each["outcome"]
            for each in members
            if each["outcome"] in ("failed", "locked")
        },
        seconds,
    )


def available_mib(meminfo: str) -> float:
    """Return the memory that new programs can have, by the text of /proc/meminfo."""
    line = next(each for each in meminfo.splitlines() if each.startswith("MemAvailable:"))
    return int(line.split()[1]) / 1024


@dataclass
class Crowd:
    """The people of one side, in one turn."""

    side: HubSide
    passwords: Mapping[str, str] = field(repr=False)
    kernels: int
    """Number of people whose kernels compute."""
    at_a_time: int
    """Number of servers that start at the same time."""
    floor_mib: float
    """The memory that must stay available."""
    figures: dict[str, float] = field(default_factory=dict)
    """The figures so far."""

    def measure(self) -> None:
        """Start all servers, leave them idle, then let some people compute."""
        memory = self._available_mib()
        before_s = self._hub_cpu_s()
        wave = self._start_by_command() if self.side.name == OURS else self._start_by_api()
        for name, reason in wave.failures.items():
            rounds.say(f"{self.side.name}: {name}: {reason[:300]}")
        ready, failed = len(wave.ready), len(wave.failures)
        self.figures |= {
            "ready": ready,
            "failed": failed,
            "unasked": len(self.passwords) - ready - failed,
            "started_s": wave.seconds,
        }
        if not ready:
            raise AssertionError("no server has started")
        self._measure_idle(wave, memory, before_s)
        found = pages(self.side)
        self.figures |= {name: found[name] for name in ("pages_p99_ms", "pages_failed")}
        with contextlib.ExitStack() as until_over:
            self._measure_kernels(wave, until_over)
        self.figures["lost"] = ready - len(usage(self.side.machine, self.side.servers))

    def _start_by_command(self) -> Wave:
        """Start the servers with the product's command; Ctrl-C ends it when memory runs out."""
        api, machine = self.side.api, self.side.machine
        api("POST", f"groups/{GROUP}")
        api("POST", f"groups/{GROUP}/users", json={"users": [*self.passwords]})
        command = [COMMAND, "class", "start", GROUP, "--json", "--at-a-time", str(self.at_a_time)]
        recorded = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', _PID, *command]
        with ThreadPoolExecutor(1) as pool:
            begun, is_told = time.monotonic(), False
            running = pool.submit(machine.run, recorded, check=False, timeout_s=PATIENCE_S)
            while wait([running], timeout=0.2).not_done:
                if not is_told and not self.has_room():
                    kill = machine.run(["sh", "-c", f"kill -INT $(cat {_PID})"], check=False)
                    is_told = kill.returncode == 0
            done, took_s = running.result(), time.monotonic() - begun
        if not done.stdout:
            raise AssertionError(f"`class start` exited with {done.returncode}: {done.stderr}")
        return wave_of(done.stdout, took_s)

    def _start_by_api(self) -> Wave:
        begun = time.monotonic()
        found = self.side.start_in_waves([*self.passwords], self.at_a_time, self.has_room)
        return Wave(
            [name for name, each in found.items() if not each.failure],
            {name: each.failure for name, each in found.items() if each.failure},
            time.monotonic() - begun,
        )

    def _measure_idle(self, wave: Wave, memory: float, before_s: float) -> None:
        """Measure the servers without people, once they have settled.

        Args:
            wave: how they started.
            memory: the available memory before that.
            before_s: the processor time of hub and proxy before that.
        """
        machine, count = self.side.machine, len(wave.ready)
        settle(machine, self.side.servers, timeout_s=SETTLED_S)
        hub_s = self._hub_cpu_s() - before_s
        used = [*usage(machine, self.side.servers).values()]
        if not used:
            raise AssertionError("no server runs any more")
        core = usage(machine, self.side.hub_unit, self.side.proxy_unit).values()
        idle_mib = sum(each.pss_mib for each in used)
        self.figures |= {
            "each_s": wave.seconds / count,
            "start_cpu_s": (sum(each.cpu_s for each in used) + hub_s) / count,
            "idle_mib": idle_mib,
            "server_mib": idle_mib / len(used),
            "taken_mib": (memory - self._available_mib()) / count,
            "hub_mib": sum(each.pss_mib for each in core),
        }
        servers_s, hub_s = cpu_s(machine, self.side.servers), self._hub_cpu_s()
        begun = time.monotonic()
        time.sleep(IDLE_S)
        minutes = (time.monotonic() - begun) / 60
        self.figures |= {
            "idle_cpu_s": (cpu_s(machine, self.side.servers) - servers_s) / minutes,
            "idle_hub_cpu_s": (self._hub_cpu_s() - hub_s) / minutes,
        }

    def _measure_kernels(self, wave: Wave, until_over: contextlib.ExitStack) -> None:
        """Let people log in and open kernels, then let all of these compute at once."""
        students = [
            Student(name, self.passwords[name], has_server=True)
            for name in wave.ready[: self.kernels]
        ]
        begun = time.monotonic()
        with ThreadPoolExecutor(KERNELS_AT_ONCE) as pool:
            came = pool.map(lambda each: self._attend(each, until_over), students)
        here = [each for each, is_here in zip(students, came, strict=True) if is_here]
        took_s = time.monotonic() - begun
        for each in here:
            if each.failure:
                rounds.say(f"{self.side.name}: {each.name}: {each.failure[:300]}")
        well = [each for each in here if not each.failure]
        self.figures |= {"answered": len(well), "unanswered": len(here) - len(well)}
        if not well:
            return
        used = usage(self.side.machine, self.side.servers).values()
        all_mib = sum(each.pss_mib for each in used)
        self.figures |= {
            "kernels_s": took_s,
            "wait_s": statistics.median(each.seconds for each in well),
            "kernel_mib": (all_mib - self.figures["idle_mib"]) / len(well),
            "all_mib": all_mib,
        }
        self._measure_computing(well)

    def _attend(self, student: Student, until_over: contextlib.ExitStack) -> bool:
        """Let somebody log in and open a kernel; return whether there was room for it."""
        if not self.has_room():
            return False
        student.attend(self.side.url, until_over)
        return True

    def _measure_computing(self, students: Sequence[Student]) -> None:
        with ThreadPoolExecutor(len(students)) as pool:
            cells = [pool.submit(compute, each) for each in students]
            time.sleep(2)  # until all of them compute
            found = pages(self.side, BUSY_PAGES_S, BUSY_PAGES_PER_S)
        problems = [each.result() for each in cells]
        for student, problem in zip(students, problems, strict=True):
            if problem:
                rounds.say(f"{self.side.name}: {student.name}: {problem[:300]}")
        self.figures |= {
            "busy_p99_ms": found["pages_p99_ms"],
            "busy_failed": found["pages_failed"],
            "broken": sum(bool(each) for each in problems),
        }

    def has_room(self) -> bool:
        """Return whether the machine has memory for another program."""
        return self._available_mib() > self.floor_mib

    def _available_mib(self) -> float:
        # The machine's memory is the host's.
        return available_mib(Path("/proc/meminfo").read_text())

    def _hub_cpu_s(self) -> float:
        return cpu_s(self.side.machine, self.side.hub_unit, self.side.proxy_unit)


def compute(student: Student) -> str:
    """Run a cell that computes, and return why it did not finish, or ""."""
    assert student.kernel
    try:
        printed = student.kernel.run(CELL, timeout_s=CELL_PATIENCE_S).strip()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if printed == ANSWER else f"the cell printed {printed!r}"


def turn(options: argparse.Namespace, installer: Path, wheels: Path, name: str) -> rounds.Figures:
    """Set up one side, and return its figures; if something fails, those that it has."""
    names = people(options.people)
    rounds.say(f"setting up {name} …")
    with SIDES[name](installer, names) as side:
        assert isinstance(side, HubSide)
        passwords = equip(side, wheels, names)
        crowd = Crowd(side, passwords, options.kernels, options.at_a_time, options.keep_free)
        try:
            crowd.measure()
        except rounds.FAILURES as error:
            rounds.say(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:1000]}")
        crowd.figures["unfinished"] = int("lost" not in crowd.figures)
        return crowd.figures


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = rounds.parser(__doc__, "people", 2, "bench-people.json")
    add = made.add_argument
    add("--people", type=int, default=220, metavar="N", help="how many servers (%(default)s)")
    add("--kernels", type=int, default=60, metavar="N", help="how many compute (%(default)s)")
    add(
        "--at-a-time",
        type=int,
        default=default_concurrent_starts(),
        metavar="N",
        help="how many servers start at the same time (%(default)s, as the hub allows here)",
    )
    add(
        "--keep-free",
        type=float,
        default=2048,
        metavar="MIB",
        help="ask for no more when less memory is available (%(default)s)",
    )
    return made


def main() -> int:
    """Measure, print, and write the figures; return 1 if anything failed at our side."""
    options = parser().parse_args()
    installer = rounds.begin(options)
    with bundled() as wheels:
        measure = functools.partial(turn, options, installer, wheels)
        found = rounds.take_turns(options, [OURS, "stock"], measure)
    about = f"{options.people} people, {options.kernels} compute"
    print(rounds.table(about, TITLES, found, "ours / stock"))
    return int(any(each.get(name) for each in found[OURS] for name in NONE))


if __name__ == "__main__":
    sys.exit(main())
