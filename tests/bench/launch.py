"""Measure launches beside what people type by hand (`make bench-launch`).

A repository asks for pandas and a wheel of its own. It is launched at a hub with the launch stack,
and its packages are installed by hand with `uv pip install` into a new environment. Both have the
same index and a cache with all packages. The two take turns on one machine.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from littlest_hub.layout import PackageSet
from tests.bench import rounds
from tests.bench.figures import OURS
from tests.client import Person
from tests.hub import Hub
from tests.launch_machine import PACKAGES, PAGE, START, LaunchMachine, launch_machine
from tests.machine import Machine

WANTED = "pandas"
CELL = "import pandas; print(pandas.DataFrame({'a': [6, 7]}).a.prod(), end='')"
ANSWER = "42"
TITLES = {
    "open_s": "link to an answer of the kernel: the environment is there, s",
    "commit_s": "the same after a commit that changes a notebook, s",
    "new_s": "link to an answer: a new environment, all packages are in the cache, s",
    "more_s": "what a new environment adds: resolved, built, started with, s",
    "hand_s": "the same packages by hand, `uv venv` and `uv pip install`, s",
    "ratio": "what it adds / by hand",
    "disk_mb": "disk for this environment, whose packages others have, MB",
    "form_ms": "the form's page, ms",
}
_HAND = "/home/boss/by-hand"
_TIMED = """\
import subprocess, sys, time
begun = time.monotonic()
for command in {commands!r}:
    subprocess.run(command, check=True, capture_output=True)
print(time.monotonic() - begun)
"""


class Launches:
    """One person who launches, and who installs by hand."""

    def __init__(self, machine: LaunchMachine, person: Person) -> None:
        self.machine, self.person = machine, person
        overlay = machine.hub.path("packages/overlays")
        found = machine.machine.run(["sh", "-c", f"ls -d {overlay}/*/*/{PackageSet.TOOLS}/bin/uv"])
        self.uv = found.stdout.split()[-1]

    def answered_s(self, name: str, decision: str = "launch") -> tuple[float, str]:
        """Return the time from the link to the answer of a kernel, and the log; stop the server."""
        begun = time.monotonic()
        log = self.machine.launch(self.person, name, decision, path="start.ipynb")
        self.person.await_server(server=name)
        with self.person.open_kernel(server=name) as kernel:
            if (answer := kernel.run(CELL)) != ANSWER:
                raise ValueError(f"{name}: the cell printed {answer!r}: {log[-500:]}")
        took_s = time.monotonic() - begun
        self.person.stop_server(server=name)
        return took_s, log

    def by_hand_s(self, requirements: str) -> float:
        """Return the time of an installation by hand into a new environment."""
        machine = self.machine.machine
        machine.put(f"{_HAND}/requirements.txt", requirements)
        machine.run(["chown", "-R", f"{self.person.name}:", _HAND])
        index = re.findall("http.*", machine.read("/etc/pip.conf"))[0]
        environment = f"{_HAND}/environment"
        python = self.machine.hub.path("hub/bin/python3")
        install = ["pip", "install", f"--default-index={index}"]
        install += ["--python", environment, "--requirement", f"{_HAND}/requirements.txt"]
        commands = [
            [self.uv, "venv", "--clear", "--python", python, environment],
            [self.uv, *install],
        ]
        program = _TIMED.format(commands=commands)
        return float(machine.run([python, "-c", program], user=self.person.name).stdout)

    def disk_mb(self) -> float:
        """Return the disk that environments and their packages take."""
        home = self.machine.place.home
        return int(self.machine.machine.run(["du", "-sk", str(home)]).stdout.split()[0]) / 1000

    def form_ms(self) -> float:
        """Return the time of the form's page, the median of ten."""
        times = []
        for _ in range(10):
            begun = time.monotonic()
            self.person.browser.get(PAGE).raise_for_status()
            times.append(time.monotonic() - begun)
        return statistics.median(times) * 1000

    def round(self, turn: int) -> dict[str, float]:
        """Return the figures of one round."""
        name, module = f"new{turn}", f"own{turn}"
        self.machine.wheel(module)
        requirements = f"{WANTED}\n{module}\nipykernel\n"
        self.machine.repository(name, {"requirements.txt": requirements, "start.ipynb": START})
        known = self.machine.repository(
            f"known{turn}", {"requirements.txt": f"{WANTED}\n", "start.ipynb": START}
        )
        by_hand_first = turn % 2
        hand_s = self.by_hand_s(requirements) if by_hand_first else 0.0
        before_mb = self.disk_mb()
        new_s, _ = self.answered_s(name)
        disk_mb = self.disk_mb() - before_mb
        hand_s = hand_s or self.by_hand_s(requirements)
        open_s, log = self.answered_s(f"known{turn}")
        known.commit({"requirements.txt": f"{WANTED}\n", "start.ipynb": f"{START}\n"})
        commit_s, later = self.answered_s(f"known{turn}", "update")
        for each in (log, later):
            if "nothing was built" not in each:
                raise ValueError(f"something was built: {each[-500:]}")
        return {
            "open_s": open_s,
            "commit_s": commit_s,
            "new_s": new_s,
            "more_s": new_s - open_s,
            "hand_s": hand_s,
            "ratio": (new_s - open_s) / hand_s,
            "disk_mb": disk_mb,
            "form_ms": self.form_ms(),
        }


@contextlib.contextmanager
def _launches(installer: Path) -> Iterator[Launches]:
    with (
        tempfile.TemporaryDirectory() as directory,
        Machine("bookworm", packages=PACKAGES) as machine,
    ):
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        with (
            launch_machine(hub, Path(directory), ["ipykernel", WANTED]) as launching,
            hub.person("boss", timeout_s=60) as person,
        ):
            launches = Launches(launching, person)
            # Both caches get all packages, and the one environment gets built.
            requirements = f"{WANTED}\n"
            launching.repository("first", {"requirements.txt": requirements, "start.ipynb": START})
            launches.answered_s("first")
            launches.by_hand_s(f"{requirements}ipykernel\n")
            yield launches


def main() -> int:
    """Measure, print, and write the figures."""
    options = rounds.parser(__doc__, "launch", 5, "bench-launch.json").parse_args()
    turns = count()
    with _launches(rounds.begin(options)) as launches:
        found = rounds.take_turns(options, [OURS], lambda _: launches.round(next(turns)))
    print(rounds.table("a launch", TITLES, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
