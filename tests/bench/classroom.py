"""Measure a class of 50 students who arrive within minutes (`make bench-class`).

Each student logs in with a password, starts a server, and runs a cell with numpy: at a hub with the
class stack, and at stock JupyterHub with SystemdSpawner and JupyterLab. The sides take turns on
machines of the same image, on the same processors.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from construct import bundle
from construct.cache import Cache
from tests.bench import rounds
from tests.bench.figures import OURS
from tests.bench.measures import people
from tests.bench.sides import SIDES, HubSide
from tests.bench.upstream import PREFIX, REPOSITORY
from tests.bench.usage import settle, usage
from tests.client import Kernel, Person, RefusedError
from tests.container.conftest import EVERYBODY

STUDENTS = 50
ARRIVALS_S = 150
"""Time from the first arrival to the last; one after the other, at equal distances."""
PATIENCE_S = 180
"""Time that a student waits for a server."""
CELL = "import numpy\nprint(int(numpy.arange(1000).reshape(10, 100).sum()))"
ANSWER = "499500"
TITLES = {
    "failed": "students without an answer",
    "last_s": "first arrival to last answer, s",
    "wait_s": "a student's arrival to the answer, median, s",
    "longest_s": "the same, the longest, s",
    "class_mib": "all servers with their kernels, MiB",
    "idle_mib": "an idle server without a kernel, MiB",
}
COMMAND = "/opt/littlest-hub/hub/bin/littlest-hub"
_BUNDLE = "/srv/class-environment.tar"
_PATIENCE_S = 600
"""Time limit of a step of setting up."""


@dataclass
class Student:
    """One student, and how the class went for them."""

    name: str
    password: str = field(repr=False)
    has_server: bool = False
    """Whether somebody has started the server before."""
    seconds: float = 0
    """From arrival to the answer."""
    failure: str = ""
    kernel: Kernel | None = field(default=None, repr=False)

    def attend(self, url: str, until_over: contextlib.ExitStack) -> None:
        """Log in, start a server, and run the cell; the kernel stays until the class is over."""
        arrived = time.monotonic()
        try:
            person = until_over.enter_context(Person(url, self.name, self.password, timeout_s=60))
            person.log_in()
            if self.has_server:
                person.await_server(timeout_s=PATIENCE_S)
            else:
                person.start_server(timeout_s=PATIENCE_S)
            self.kernel = until_over.enter_context(person.open_kernel())
            until_over.callback(_end, person, self.kernel)
            if (printed := self.kernel.run(CELL, timeout_s=PATIENCE_S).strip()) != ANSWER:
                self.failure = f"the cell printed {printed!r}"
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
        self.seconds = time.monotonic() - arrived


def _end(person: Person, kernel: Kernel) -> None:
    """End a kernel, if its server still runs."""
    with contextlib.suppress(httpx.HTTPError, RefusedError):
        person.end_kernel(kernel.id)


def attended(side: HubSide, passwords: Mapping[str, str]) -> dict[str, float]:
    """Hold one class, and return its figures."""
    students = [Student(name, password) for name, password in passwords.items()]
    with contextlib.ExitStack() as until_over:
        begun = time.monotonic()
        with ThreadPoolExecutor(len(students)) as doors:
            for place, student in enumerate(students):
                due = begun + place * ARRIVALS_S / len(students)
                time.sleep(max(0, due - time.monotonic()))
                doors.submit(student.attend, side.url, until_over)
        last_s = time.monotonic() - begun
        with_kernels = [each.pss_mib for each in usage(side.machine, side.servers).values()]
    for student in students:
        if student.failure:
            rounds.say(f"{side.name}: {student.name}: {student.failure[:300]}")
    settle(side.machine, side.servers)
    idle = [each.pss_mib for each in usage(side.machine, side.servers).values()]
    side.stop_servers([*passwords])
    waits = [each.seconds for each in students if not each.failure]
    return {
        "failed": sum(bool(each.failure) for each in students),
        "last_s": last_s,
        "wait_s": statistics.median(waits) if waits else float("nan"),
        "longest_s": max(waits, default=float("nan")),
        "class_mib": sum(with_kernels),
        "idle_mib": statistics.mean(idle) if idle else float("nan"),
    }


def equip(side: HubSide, wheels: Path, names: Sequence[str]) -> Mapping[str, str]:
    """Give the side numpy for kernels, ours by the class stack; return passwords by name.

    Args:
        side: a hub whose machine has accounts of these names.
        wheels: what `bundled` returns.
        names: of the students.
    """
    machine = side.machine
    path = machine.copy(wheels, _BUNDLE)
    if side.name == OURS:
        place = "/opt/littlest-hub/environments"
        # The machine's root is an overlay, on which another overlay cannot have its upper layer.
        machine.run(["mkdir", place])
        machine.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=2G", "tmpfs", place])
        machine.put("/opt/littlest-hub/jupyterhub_config.d/20-everybody.py", EVERYBODY)
        machine.run([COMMAND, "enable", "class", "--yes"], timeout_s=_PATIENCE_S)
        machine.run([COMMAND, "environment", "import", path], timeout_s=_PATIENCE_S)
    else:
        machine.run(["mkdir", "/srv/wheels"])
        machine.run(["tar", "-xf", path, "-C", "/srv/wheels", "--strip-components=1"])
        pip = [f"{PREFIX}/bin/python3", "-m", "pip", "install", "--no-index"]
        machine.run([*pip, "--find-links=/srv/wheels/wheels", "numpy"], timeout_s=_PATIENCE_S)
    passwords = {name: secrets.token_urlsafe() for name in names}
    lines = "".join(f"{name}:{password}\n" for name, password in passwords.items())
    machine.run(["chpasswd"], input=lines)
    return passwords


@contextlib.contextmanager
def bundled() -> Iterator[Path]:
    """Yield the packages for kernels, in one file."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = bundle.find(REPOSITORY, "class-environment")
        yield bundle.build(REPOSITORY, wanted, Path(scratch), Cache())


@contextlib.contextmanager
def _sides(installer: Path) -> Iterator[dict[str, tuple[HubSide, Mapping[str, str]]]]:
    with contextlib.ExitStack() as cleanup:
        wheels = cleanup.enter_context(bundled())
        sides, names = {}, people(STUDENTS)
        for name in (OURS, "stock"):
            rounds.say(f"setting up {name} …")
            side = cleanup.enter_context(SIDES[name](installer, names))
            assert isinstance(side, HubSide)
            sides[name] = (side, equip(side, wheels, names))
        yield sides


def main() -> int:
    """Measure, print, and write the figures."""
    options = rounds.parser(__doc__, "classroom", 3, "bench-class.json").parse_args()
    with _sides(rounds.begin(options)) as sides:
        found = rounds.take_turns(options, [*sides], lambda name: attended(*sides[name]))
    print(rounds.table(f"a class of {STUDENTS}", TITLES, found, "ours / stock"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
