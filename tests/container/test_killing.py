"""SIGKILL at any moment of an installation, upgrade, rollback or reload: the old or the new serves.

LITTLEST_HUB_KILLS=30 sets the number of random moments (`make test-kills`); LITTLEST_HUB_SEED=…
repeats a run.
"""

import os
import random
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from littlest_hub import __version__
from tests import releases
from tests.client import Kernel
from tests.container.test_upgrading import NEXT, active, installed, present, working
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.server import Server

KILLS = int(os.environ.get("LITTLEST_HUB_KILLS", "1"))
SEED = int(os.environ.get("LITTLEST_HUB_SEED", time.time_ns()))

# $1: when, in seconds after its start, or as a line that it prints. $2: which processes, "all" or a
# part of a command line. Then the command; its processes are of the same session.
KILLER = r"""
when=$1 whom=$2
shift 2
setsid "$@" >/tmp/said 2>&1 &
leader=$!
case "$when" in
    [0-9]*) sleep "$when" ;;
    *) until grep -q "$when" /tmp/said || ! kill -0 $leader 2>/dev/null; do sleep 0.02; done ;;
esac
if [ "$whom" = all ]; then
    kill -KILL -$leader 2>/dev/null
else
    for process in /proc/[0-9]*; do
        id=${process#/proc/}
        case "$(tr '\0' ' ' <$process/cmdline 2>/dev/null)" in
            *killer*) ;;
            *"$whom"*) kill -KILL $id 2>/dev/null ;;
        esac
    done
fi
wait $leader 2>/dev/null
while kill -0 -$leader 2>/dev/null; do sleep 0.05; done
"""
WHOM = ("all", "littlest_hub install", "-Linux-x86_64.sh")


def kill(machine: Server, when: str, whom: str, command: Sequence[str]) -> str:
    """Run a command and kill it; return its output once all of its processes have ended."""
    machine.put("/tmp/killer", KILLER)
    machine.run(["sh", "/tmp/killer", when, whom, *command], check=False, timeout_s=300)
    return machine.read("/tmp/said")


def moments(steps: Sequence[str], whole_s: float, seed: int) -> list[str]:
    """Return each named step, and random moments up to its usual end."""
    chosen = random.Random(seed)
    print(f"LITTLEST_HUB_SEED={SEED}, {KILLS} kills within {whole_s:.1f} s")
    return [*steps, *(f"{chosen.uniform(0, whole_s):.3f}" for _ in range(KILLS))]


def serves(hub: Hub, kernel: Kernel, versions: set[str]) -> None:
    """Assert that one of the releases serves, complete, with everything that was running."""
    assert active(hub) in versions
    assert hub.answers()
    tomllib.loads(hub.machine.read(str(hub.layout.routes)))
    assert kernel.run("x + 1") == "42"


def duration(hub: Hub, command: Sequence[str]) -> float:
    started = time.monotonic()
    hub.machine.run(command, timeout_s=300)
    return time.monotonic() - started


@pytest.mark.row(18)
def test_a_killed_installation_is_made_good_by_the_next_one(installer: Path) -> None:
    with Machine() as machine:
        script = machine.copy(installer, f"/var/tmp/{installer.name}")
        started = time.monotonic()
        hub = Hub.install(machine, installer)
        whole_s = time.monotonic() - started
        for number, when in enumerate(moments(["Setting paths"], whole_s, SEED)):
            machine.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])
            whom = WHOM[number % len(WHOM)]
            said = kill(machine, when, whom, ["bash", script, "-b"])
            present_now = machine.run(["ls", "-A", "/opt"]).stdout
            again = machine.run(["bash", script, "-b"], check=False, timeout_s=300)
            if again.returncode:
                # It had finished before it was killed.
                assert "already exists" in again.stderr, (when, whom, said, again.stderr)
            assert hub.answers(), (when, whom, present_now)


@pytest.mark.row(18)
def test_a_killed_upgrade_leaves_one_of_the_two(installer: Path) -> None:
    following = releases.build(NEXT)
    with installed(installer) as hub, working(hub) as (_, kernel):
        script = hub.machine.copy(following, f"/var/tmp/{following.name}")
        rollback = [hub.path("hub/bin/littlest-hub"), "rollback"]
        command = ["bash", script, "-b"]
        whole_s = duration(hub, command)
        hub.machine.run(rollback)
        steps = ["Switching from", "Copying the database", "Watching it"]
        # After a kill at the first, an upgrade is undone from its record.
        steps = steps if KILLS > 1 else steps[:1]
        for number, when in enumerate(moments(steps, whole_s, SEED + 1)):
            whom = WHOM[number % len(WHOM)]
            # As new: the release is unpacked again.
            hub.machine.run(["rm", "-rf", hub.path(f"releases/{NEXT}")])
            said = kill(hub.machine, when, whom, command)
            print(f"{when} {whom}: {active(hub)} {present(hub)}")
            serves(hub, kernel, {__version__, NEXT})
            if number % 3 == 0 or active(hub) == NEXT:
                again = hub.machine.run([*command, "-u"], check=False, timeout_s=300)
                assert again.returncode == 0, (when, whom, said, again.stdout, again.stderr)
                serves(hub, kernel, {NEXT})
                hub.machine.run(rollback)
                serves(hub, kernel, {__version__})


@pytest.mark.long
@pytest.mark.row(18)
def test_a_killed_rollback_leaves_one_of_the_two(installer: Path) -> None:
    with installed(installer) as hub, working(hub) as (_, kernel):
        hub.machine.install(releases.build(NEXT))
        command = [hub.path("hub/bin/littlest-hub"), "rollback"]
        whole_s = duration(hub, command)
        ends = [__version__, NEXT]
        for number, when in enumerate(moments(["Switching to"], whole_s, SEED + 2)):
            whom = ("all", "littlest-hub rollback")[number % 2]
            before = active(hub)
            kill(hub.machine, when, whom, command)
            print(f"{when} {whom}: {before} -> {active(hub)}")
            serves(hub, kernel, set(ends))
            if number % 3 == 0:
                hub.machine.run(command)
                serves(hub, kernel, set(ends))


@pytest.mark.row(18)
def test_a_killed_reload_changes_nothing_or_everything(installer: Path) -> None:
    with installed(installer) as hub, working(hub) as (_, kernel):
        whole_s = duration(hub, ["systemctl", "reload", hub.layout.hub_service])
        for number, when in enumerate(moments(["0.5"], whole_s, SEED + 3)):
            said = f"number {number}"
            hub.write_fragment(
                "70-said.py", f'c.JupyterHub.template_vars = {{"announcement": "{said}"}}\n'
            )
            reload = ["systemctl", "reload", hub.layout.hub_service]
            kill(hub.machine, when, "littlest_hub reload", reload)
            serves(hub, kernel, {__version__})
            hub.reload()
            eventually(hub.answers, 60, "the login page")
            assert hub.status().startswith("JupyterHub answers")
