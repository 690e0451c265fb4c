"""The capacity follows from measurements, and is unknown without them."""

from contextlib import closing
from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.stats import capacity
from littlest_hub.stacks.stats.capacity import Capacity, Machine
from littlest_hub.stacks.stats.pages import report
from littlest_hub.stacks.stats.pages.period import Period
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.reading import Figures
from littlest_hub.stacks.stats.store.recording import HOUR_S, Recorder
from littlest_hub.stacks.stats.store.sample import Person, Sample, Server
from littlest_hub.stacks.stats.values import Values
from littlest_hub.system import cgroups

NOON_S = 1_795_003_200 // HOUR_S * HOUR_S
MB = 10**6
MACHINE = Machine(8000 * MB, 4, 1200 * MB, 200 * MB)
"""6000 MB are left for servers."""
STEP_S = 60


def capacity_of(directory: Path, *samples: Sample, machine: Machine = MACHINE) -> Capacity:
    """Return the capacity after these samples."""
    with closing(database.open_to_write(directory)) as connection:
        recorder = Recorder(connection)
        for sample in samples:
            recorder.record(sample)
    with closing(database.open_to_read(directory)) as connection:
        return capacity.read(Figures(connection), machine, NOON_S, NOON_S + 10 * HOUR_S)


def hour(
    number: int, name: str, megabytes: int | None, share: float, *, works: bool
) -> list[Sample]:
    """Return samples of an hour in which a person's server needs memory and processors."""
    found = []
    for time_s in range(NOON_S + number * HOUR_S, NOON_S + (number + 1) * HOUR_S, STEP_S):
        memory = None if megabytes is None else megabytes * MB
        cpu_ms = None if megabytes is None else int(share * STEP_S * 1000)
        person = Person(
            name, "", frozenset(), time_s if works else 0, [Server(True, memory, cpu_ms)]
        )
        found.append(Sample(time_s, STEP_S, [person]))
    return found


def test_people_who_work_are_limited_by_memory_or_by_processors(tmp_path: Path) -> None:
    idle, busy = hour(0, "ida", 60, 0, works=False), hour(1, "bo", 300, 0.5, works=True)
    found = capacity_of(tmp_path, *idle, *busy)
    assert found.left_bytes == 6000 * MB
    assert found.idle_servers == 100
    assert [each.people for each in found.limits] == [100, 20, 8]
    assert found.people_who_work == 8
    many = Machine(MACHINE.memory_bytes, 64, MACHINE.others_bytes, None)
    assert capacity.Capacity(many, found.idle, found.busy).people_who_work == 20


def test_what_was_not_measured_is_unknown(tmp_path: Path) -> None:
    found = capacity_of(tmp_path)
    assert (found.idle_servers, found.people_who_work) == (None, None)
    # Less than an hour of servers, and a server that is no unit of this machine.
    short = hour(0, "ida", 60, 0, works=False)[:30]
    found = capacity_of(tmp_path, *short, *hour(1, "slurm", None, 0, works=True))
    assert (found.idle_servers, found.people_who_work) == (None, None)
    shown = report.of_capacity(found, Period.of("month", Values(), NOON_S))
    assert shown.shown_summary["People who can work at a time"] == "unknown"
    assert shown.to_json()["summary"]["Idle servers at a time"] is None


def test_the_rest_is_known_if_one_kind_was_measured(tmp_path: Path) -> None:
    found = capacity_of(tmp_path, *hour(0, "ida", 60, 0, works=False))
    assert (found.idle_servers, found.people_who_work) == (100, None)
    unknown = Machine(MACHINE.memory_bytes, 4, None, None)
    assert Capacity(unknown, found.idle, found.busy).idle_servers is None


def test_a_full_machine_serves_nobody_and_not_less(tmp_path: Path) -> None:
    full = Machine(8000 * MB, 4, 7900 * MB, None)
    found = capacity_of(tmp_path, *hour(0, "ida", 60, 0, works=False), machine=full)
    assert found.idle_servers == 0


def test_all_units_but_user_servers_are_the_rest_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(Path("/opt/littlest-hub"))
    users = "littlest.slice/littlest-hub.slice/littlest-hub-users.slice"
    needs = {
        "system.slice": 500,
        "system.slice/littlest-hub.service": 200,
        "system.slice/littlest-hub-proxy.service": 30,
        "system.slice/littlest-hubbub.service": 7,
        "littlest.slice": 900,
        users: 880,
    }
    for name, megabytes in needs.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        # Files that the kernel can drop are not needed.
        (tmp_path / name / "memory.current").write_text(f"{(megabytes + 10) * MB}\n")
        (tmp_path / name / "memory.stat").write_text(f"anon 1\ninactive_file {10 * MB}\n")
    monkeypatch.setattr(cgroups, "_VERSION_2", (str(tmp_path),))
    found = capacity.measure(layout)
    assert (found.others_bytes, found.hub_bytes) == (520 * MB, 230 * MB)
    assert found.memory_bytes > 0
    assert found.processors >= 1
    monkeypatch.setattr(cgroups, "_VERSION_2", (str(tmp_path / "missing"),))
    found = capacity.measure(layout)
    assert (found.others_bytes, found.hub_bytes) == (None, None)
