"""A past for the statistics, written by the stack's own code with another clock.

    python3 simulated_statistics.py DIRECTORY DAYS PEOPLE STEP_S

It runs on a machine with a hub, where this repository is not. Nobody works at the weekend; on other
days, lectures of two groups begin at 10:00 and at 14:00, and some people work in the evening.
"""

import random
import sys
import time
from pathlib import Path

from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.recording import Recorder
from littlest_hub.stacks.stats.store.sample import Failure, Person, Sample, Server, Starts
from littlest_hub.stacks.stats.values import Values

GAP = (3, 12.0, 14.5)
"""Days ago, and the hours in which the hub was down."""
BEFORE_S = 2 * 3600
"""Time since the end of the past, if it is written on a machine."""
SINCE = "2026-01-01T00:00:00Z"
ENVIRONMENTS = ("", "class environment", "github.com/physics/mechanics")


def group_of(number: int) -> str:
    return "physics" if number % 2 else "chemistry"


def is_there(number: int, then: time.struct_time, chance: float) -> bool:
    """Return whether a person works at that time."""
    if then.tm_wday >= 5:
        return False
    hour = then.tm_hour + then.tm_min / 60
    begin = 10 if group_of(number) == "physics" else 14
    late = (number % 7) / 30
    return begin + late <= hour < begin + 2 - late or (
        19 <= hour < 22 and chance < 0.15 and number % 3 == 0
    )


def name_of(number: int) -> str:
    return f"student{number:03}"


def person(
    number: int, time_s: float, step_s: int, chances: random.Random, since: dict[str, str]
) -> Person:
    name = name_of(number)
    then = time.localtime(time_s)
    chance = random.Random(f"{number} {then.tm_yday}").random()
    here = is_there(number, then, chance)
    busy = 0.02 + (0.9 if chances.random() < 0.1 else 0)
    memory = int(150e6 + 700e6 * chance * chances.uniform(0.8, 1.2))
    environment = ENVIRONMENTS[number % 3]
    server = Server(True, memory, int(1000 * step_s * busy), environment)
    servers = [server] if here else []
    groups = frozenset({group_of(number)})
    return Person(name, since.get(name, SINCE), groups, time_s if here else 0, servers)


def simulate(directory: Path, days: int, people: int, step_s: int, now_s: float) -> int:
    """Write samples of days until now; return how many."""
    chances = random.Random(0)
    connection = database.open_to_write(directory)
    # Those of the hub, if a sampler has seen them.
    since = dict(connection.execute("SELECT name, since FROM person"))
    recorder, taken, running, pruned = Recorder(connection), 0, set[str](), 0.0
    for moment in range(int(now_s - days * 86400), int(now_s), step_s):
        then = time.localtime(moment)
        ago, begin, end = GAP
        if now_s - (ago + 1) * 86400 < moment <= now_s - ago * 86400 and (
            begin <= then.tm_hour + then.tm_min / 60 < end
        ):
            continue
        found = [person(number, moment, step_s, chances, since) for number in range(1, people + 1)]
        now_running = {each.name for each in found if each.servers}
        started = sorted(now_running - running)
        running = now_running
        failed = [name for name in started if chances.random() < 0.01]
        limits = (1.0, 2.5, 5.0, 10.0)
        durations = [chances.choices(limits, (5, 60, 30, 5))[0] for _ in started]
        starts = [Starts("success", "", {x: durations.count(x) for x in set(durations)})]
        if failed:
            starts.append(Starts("error", "", {30.0: len(failed)}))
        sample = Sample(
            moment,
            step_s,
            found,
            is_whole=taken % 15 == 0,
            waiting=max(0, len(started) - 4),
            starts=starts,
            failures=[
                Failure(name, moment * 1_000_000, "mkdir: No space left on device", "Disk full")
                for name in failed
            ],
        )
        recorder.record(sample)
        taken += 1
        if moment > pruned + 86400:
            recorder.prune(Values())
            pruned = moment
    connection.close()
    return taken


if __name__ == "__main__":
    place, days, people, step_s = sys.argv[1:]
    print(simulate(Path(place), int(days), int(people), int(step_s), time.time() - BEFORE_S))
