"""Findings of `doctor` about stacks."""

import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING
from littlest_hub.doctor.journal import JournalEntry
from littlest_hub.doctor.servers import failed_starts
from littlest_hub.doctor.services import unit_states
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.doctor.stacks import stacks
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.announce.announcement import FILE
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.table import Account, Table

ANNOUNCE = EnabledStack("announce", port=15003, fragments=("55-announce.py",))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A base directory with announce."""
    layout = Layout(tmp_path)
    for directory in (layout.state, layout.fragments, layout.releases / "1.0"):
        directory.mkdir(parents=True)
    layout.hub.symlink_to("releases/1.0")
    enabled.write_record(layout, {"announce": ANNOUNCE})
    enabled.make_directory(layout, ANNOUNCE)
    (layout.fragments / "55-announce.py").touch()
    return layout


def found(layout: Layout) -> list[tuple[str, str, str]]:
    return [(each.severity, each.subject, each.text) for each in stacks(Snapshot(layout))]


def test_a_stack_that_is_whole_is_in_order(layout: Layout) -> None:
    assert found(layout) == [(OK, "announce", "is enabled"), (OK, "announce", "banner: none")]


def test_what_is_missing_of_a_stack_is_named(layout: Layout) -> None:
    (layout.fragments / "55-announce.py").unlink()
    layout.stack_token("announce").unlink()
    (layout.stack_data("announce") / FILE).write_text("{")
    assert [(each, text.partition(" ")[2]) for each, _, text in found(layout)] == [
        (PROBLEM, "is missing"),
        (PROBLEM, "is missing"),
        (OK, "enabled"),
        (
            PROBLEM,
            "cannot be read, so pages show no announcement: Expecting property name"
            " enclosed in double quotes: line 1 column 2 (char 1)",
        ),
    ]


def test_a_stack_that_the_release_does_not_have_is_named(layout: Layout) -> None:
    enabled.write_record(layout, {"gone": EnabledStack("gone")})
    assert found(layout) == [(PROBLEM, "gone", "is enabled, and the release does not have it")]
    layout.stacks_record.write_text("[]")
    assert "is damaged" in found(layout)[0][2]


def test_the_account_that_a_stack_has_made_for_a_user_is_in_the_command(layout: Layout) -> None:
    enabled.write_record(layout, {"class": EnabledStack("class")})
    enabled.make_directory(layout, EnabledStack("class"))
    people = Table().with_account("zoe@uni", Account("zoe-uni", 2001, "/home/zoe-uni"))
    table.file_of(layout).parent.mkdir(parents=True, exist_ok=True)
    table.file_of(layout).write_text(people.to_text())
    line = "Unhandled error starting zoe@uni's server: [Errno 28] No space left on device"
    snapshot = Snapshot(layout)
    now_us = int(time.time() * 1e6)
    entry = JournalEntry(now_us, layout.hub_service, "python3", line, 3)
    snapshot.__dict__["journal"] = [entry]
    (finding,) = failed_starts(snapshot)
    assert finding.subject == "zoe@uni's server"
    assert "df -h ~zoe-uni" in str(finding.command)


def test_a_change_that_was_killed_is_named(layout: Layout) -> None:
    layout.unfinished_change.touch()
    assert found(layout)[0][0] == WARNING


@pytest.mark.parametrize(
    ("service", "socket", "expected"),
    [
        ("inactive", "active", {(OK, "starts when it is needed"), (OK, "is active")}),
        (
            "inactive",
            "inactive",
            {(PROBLEM, "is inactive"), (WARNING, "does not start at the next boot")},
        ),
        ("failed", "active", {(PROBLEM, "is failed"), (OK, "is active")}),
    ],
)
def test_a_unit_that_is_down_is_a_problem(
    layout: Layout, service: str, socket: str, expected: set[tuple[str, str]]
) -> None:
    names = [layout.stack_unit("announce", suffix) for suffix in (".socket", ".service")]
    snapshot = Snapshot(layout)
    snapshot.is_booted, snapshot.is_foreground, snapshot.stack_units = True, False, names
    states = zip(names, (socket, service), strict=True)
    loaded = {"LoadState": "loaded"}
    snapshot.units = {name: {**loaded, "ActiveState": state} for name, state in states}
    snapshot.units[names[1]]["UnitFileState"] = "linked"
    snapshot.journal = []
    of_stack = [each for each in unit_states(snapshot) if each.subject in names]
    assert {(each.severity, each.text) for each in of_stack} == expected


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["Traceback", "ModuleNotFoundError: No module named 'x'"], "No module named 'x'"),
        ([], "Failed with result 'exit-code'."),
    ],
)
def test_a_service_that_fails_again_and_again_says_why_though_it_runs_at_the_moment(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, said: list[str], reason: str
) -> None:
    name = layout.stack_unit("announce", ".service")
    ends = ["Main process exited, code=exited, status=1/FAILURE", "Failed with result 'exit-code'."]
    lines = [
        ("systemd", f"Starting {name}..."),
        *(("python3", text) for text in said),
        *(("systemd", f"{name}: {text}") for text in ends),
        ("systemd", f"Started {name}."),
        ("python3", "I listen"),
    ]
    printed = [
        json.dumps({"MESSAGE": text, "_COMM": program, "__REALTIME_TIMESTAMP": number})
        for number, (program, text) in enumerate(lines)
    ]
    newest_first = "\n".join(reversed(printed))
    monkeypatch.setattr("littlest_hub.doctor.snapshot.output_of", lambda *_: newest_first)
    snapshot = Snapshot(layout)
    snapshot.is_booted, snapshot.is_foreground, snapshot.stack_units = True, False, [name]
    started = datetime.now().replace(microsecond=0) - timedelta(days=6)
    shown = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NRestarts": "7",
        "Result": "success",
        "ActiveEnterTimestamp": f"{started:%a %Y-%m-%d %H:%M:%S} CET",
    }
    snapshot.units = {name: shown}
    (finding,) = (each for each in unit_states(snapshot) if each.subject == name)
    assert finding.severity == WARNING
    assert finding.text.startswith(f"runs since {started}, after it was restarted 7 times")
    assert finding.text.endswith(reason)
    later = started + timedelta(seconds=1)
    assert f'journalctl -u {name} --until "{later}"' in finding.command
    shown["ActiveEnterTimestamp"] = f"{started - timedelta(days=2):%a %Y-%m-%d %H:%M:%S} CET"
    (finding,) = (each for each in unit_states(snapshot) if each.subject == name)
    assert finding.severity == OK, "a restart is no news for ever"


def test_the_work_of_a_timer_that_takes_long_is_in_order(layout: Layout) -> None:
    timed, other = (layout.stack_unit(name, "-run.service") for name in ("backups", "announce"))
    timer = timed.replace(".service", ".timer")
    snapshot = Snapshot(layout)
    snapshot.is_booted, snapshot.is_foreground = True, False
    snapshot.stack_units = [timed, timer, other]
    snapshot.journal = []
    states = {timed: "activating", other: "activating", timer: "active"}
    snapshot.units = {
        name: {"LoadState": "loaded", "ActiveState": state, "UnitFileState": "enabled"}
        for name, state in states.items()
    }
    told = {each.subject: (each.severity, each.text) for each in unit_states(snapshot)}
    assert told[timed] == (OK, "runs at the moment")
    assert told[other] == (WARNING, "is starting at the moment")
