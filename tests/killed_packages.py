"""SIGKILL at random moments of `packages add` and `remove`: the old or the new packages serve.

After each kill the hub answers, a running kernel goes on, and the packages in use are those from
before or from after the change, none of them altered. The same command, run again, completes it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests import wheels
from tests.client import Kernel
from tests.container.conftest import EVERYBODY
from tests.container.test_killing import duration, kill
from tests.hub import Hub, build_installer
from tests.machine import Machine

SHELF = "/srv/wheels"
NAMES = ("shy", "timid")


def main() -> int:
    """Kill so many changes; return 1 if one of them left something broken."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.killed_packages")
    parser.add_argument("--kills", type=int, default=30, metavar="N", help="(30)")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="repeats a run")
    parser.add_argument("--installer", type=Path, metavar="PATH", help="(default: build it)")
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    moments = random.Random(options.seed)
    with Machine("bookworm") as machine, tempfile.TemporaryDirectory() as scratch:
        installer = (options.installer or build_installer()).resolve()
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        machine.run(["mkdir", SHELF])
        for file in (wheels.make(Path(scratch), "timid"), wheels.make(Path(scratch), "shy")):
            machine.copy(file, f"{SHELF}/{file.name}")
        changes = [_command(hub, "add", f"--from={SHELF}"), _command(hub, "remove")]
        usual_s = [duration(hub, change) for change in changes]
        print(f"add takes {usual_s[0]:.1f} s, remove {usual_s[1]:.1f} s")
        with hub.person() as person:
            person.start_server()
            with person.open_kernel() as kernel:
                kernel.run("x = 41")
                broken = sum(
                    not _kill(hub, kernel, changes, number, moments.uniform(0, usual_s[number % 2]))
                    for number in range(options.kills)
                )
    print(f"{options.kills} killed, {broken} broken")
    return 1 if broken else 0


def _command(hub: Hub, *words: str) -> list[str]:
    return [hub.path("hub/bin/littlest-hub"), "packages", *words, *NAMES]


def _kill(hub: Hub, kernel: Kernel, changes: Sequence[list[str]], number: int, at_s: float) -> bool:
    """Kill one change, then run it again; return whether nothing was broken."""
    is_removal = number % 2
    old, new = (list(NAMES), []) if is_removal else ([], list(NAMES))
    kill(hub.machine, f"{at_s:.3f}", "all", changes[is_removal])
    found = _present(hub)
    wrong = []
    if found not in (old, new):
        wrong.append(f"present: {found}")
    if not hub.answers():
        wrong.append("the hub does not answer")
    if (answer := kernel.run("x + 1")) != "42":
        wrong.append(f"the kernel says {answer!r}")
    again = hub.machine.run(changes[is_removal], check=False)
    if _present(hub) != new or "Traceback" in again.stderr:
        wrong.append(f"run again: {again.stderr}, {_present(hub)}")
    examined = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor", "--json"], check=False)
    findings = json.loads(examined.stdout)["findings"]
    wrong += [
        str(each["text"])
        for each in findings
        if each["subject"] == "packages" and each["severity"] != "ok"
    ]
    state = "new" if found == new else "old"
    what = "remove" if is_removal else "add"
    print(f"{number + 1} {what} at {at_s:.2f} s: {'; '.join(wrong) or state}", flush=True)
    return not wrong


def _present(hub: Hub) -> list[str]:
    listed = hub.machine.run(_command(hub, "list", "--json")[: -len(NAMES)]).stdout
    return sorted(each["name"] for each in json.loads(listed)["packages"])


if __name__ == "__main__":
    sys.exit(main())
