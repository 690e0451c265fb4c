"""Records of launches: whole or not there, each person's own, and worthless to a stranger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import records
from littlest_hub.stacks.launch.configuration import Caps, Configuration
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.records import Records, approved, checked_id, kept_environments
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.settings import Settings

REPOSITORY = Path(__file__).parents[4]
SINCE, KEY = "2026-01-01T00:00:00Z", "ab" * 32
CONFIGURATION = Configuration(
    "https://github.com/org/repo", "main", "0123456789" * 4, name="course"
)
texts = st.text(max_size=20)
numbers = st.integers(0, 9)


def of_alice(directory: Path) -> Records:
    return Records(directory, "alice", SINCE)


class Histories(RuleBasedStateMachine):
    """Any order of what a person does; each step is read by a service that has just started."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.approved: dict[str, Configuration] = {}
        self.unasked: list[str] = []
        self.launches: dict[str, str] = {}
        self.begun: dict[str, tuple[str, str]] = {}
        self.typed = Form()

    @property
    def records(self) -> Records:
        return of_alice(self.directory)

    @rule(path=texts, has_name=st.booleans())
    def approve(self, path: str, has_name: bool) -> None:
        configuration = replace(CONFIGURATION, path=path, name="course" if has_name else "")
        self.approved[self.records.approve(configuration)] = configuration

    @rule(number=numbers)
    def do_not_ask(self, number: int) -> None:
        id = f"{number:064x}"
        self.records.do_not_ask(id)
        self.unasked = [*(each for each in self.unasked if each != id), id]

    @rule()
    def ask_again(self) -> None:
        self.records.ask_again()
        self.unasked = []

    @rule(number=numbers, server=texts)
    def launch(self, number: int, server: str) -> None:
        id = f"{number:064x}"
        name = self.records.begin(id, server)
        assert name not in self.begun
        self.begun[name] = (id, server)
        assert self.records.start(name)
        assert not self.records.start(name)
        self.launches[server] = id

    @rule(repo=texts, name=texts)
    def type_something(self, repo: str, name: str) -> None:
        self.typed = Form(repo=repo, name=name)
        self.records.remember(self.typed)

    @rule()
    def remove_servers(self) -> None:
        kept = set(list(self.launches)[::2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "NEW_S", -1)
            self.records.keep(kept)
        self.launches = {name: id for name, id in self.launches.items() if name in kept}

    @invariant()
    def are_as_they_were_written(self) -> None:
        found = self.records
        assert found.unasked == tuple(self.unasked)
        assert found.launches == self.launches
        assert found.typed == self.typed
        for id, configuration in self.approved.items():
            assert found.approved(id).configuration == configuration
        for name, (id, server) in list(self.begun.items())[-3:]:
            begun = found.begun(name)
            assert begun
            assert (begun.configuration, begun.server) == (id, server)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


@given(owner=st.text(min_size=1, max_size=60), other=st.text(min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_whatever_a_person_is_called_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, owner: str, other: str
) -> None:
    directory = tmp_path_factory.mktemp("records")
    id = Records(directory / "data", owner, SINCE).approve(CONFIGURATION)
    assert [each.name for each in directory.iterdir()] == ["data"]
    (place,) = (directory / "data" / "people").iterdir()
    assert len(place.name) == 64
    assert approved(directory / "data", owner, id).configuration == CONFIGURATION
    if other != owner:
        with pytest.raises(LittlestHubError, match="has approved no configuration"):
            approved(directory / "data", other, id)


@pytest.mark.parametrize("owner", ["", "a" * 256, "\udc80"])
def test_what_cannot_be_a_user_has_no_records(tmp_path: Path, owner: str) -> None:
    with pytest.raises(LittlestHubError, match="is no name of a user"):
        Records(tmp_path, owner, SINCE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    ["", "../" * 21 + "x", "A" * 64, "a" * 63, "a" * 64 + "\n", None, 7, {}, ["a" * 64] * 2],
)
def test_only_an_id_is_accepted_as_the_option_of_a_server(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        checked_id(value)
    with pytest.raises(LittlestHubError):
        approved(tmp_path, "alice", value)  # type: ignore[arg-type]
    assert checked_id([KEY]) == checked_id(KEY) == KEY


def _other_content(file: Path) -> None:
    record = json.loads(file.read_text())
    record["configuration"] = replace(CONFIGURATION, path="evil.ipynb").canonical
    file.write_text(json.dumps(record))


def _link(file: Path) -> None:
    target = file.rename(file.with_name("elsewhere"))
    file.symlink_to(target)


def _linked_directory(file: Path) -> None:
    target = file.parent.rename(file.parent.with_name("elsewhere"))
    file.parent.symlink_to(target)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _huge(file: Path) -> None:
    file.write_text(" " * (1 << 20) + file.read_text())


def _deep(file: Path) -> None:
    file.write_text("[" * 200_000)


def _no_key(file: Path) -> None:
    file.write_text(file.read_text().replace('"environment": ""', '"environment": "../../etc"'))


@pytest.mark.parametrize(
    "change", [_other_content, _link, _linked_directory, _pipe, _huge, _deep, _no_key]
)
def test_the_spawner_believes_no_record_that_a_hijacked_service_has_changed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    id = of_alice(tmp_path).approve(CONFIGURATION)
    (file,) = tmp_path.glob("people/*/approved/*")
    change(file)
    with pytest.raises(LittlestHubError, match="record"):
        approved(tmp_path, "alice", id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"unasked": ["x"], "begun": {}, "launches": {}, "typed": {}}',
        "null",
        "[" * 9999,
    ],
)
def test_after_damage_people_are_asked_again(tmp_path: Path, text: str) -> None:
    of_alice(tmp_path).do_not_ask(KEY)
    (file,) = tmp_path.glob("people/*/state.json")
    file.write_text(text)
    assert of_alice(tmp_path).unasked == ()
    of_alice(tmp_path).do_not_ask(KEY)
    assert of_alice(tmp_path).unasked == (KEY,)


def test_somebody_who_gets_the_name_of_a_removed_user_inherits_nothing(tmp_path: Path) -> None:
    before = of_alice(tmp_path)
    id = before.approve(CONFIGURATION)
    before.do_not_ask(id)
    before.remember(Form(repo="secret"))
    later = Records(tmp_path, "alice", "2026-06-01T00:00:00Z")
    assert later.unasked == ()
    assert later.typed == Form()
    with pytest.raises(LittlestHubError, match="has approved no"):
        later.approved(id)


def test_the_hub_may_read_what_is_approved_and_nothing_else(tmp_path: Path) -> None:
    found = of_alice(tmp_path)
    found.begin(found.approve(CONFIGURATION), "course")
    (state,) = tmp_path.glob("people/*/state.json")
    (file,) = tmp_path.glob("people/*/approved/*")
    assert state.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_mode & 0o777 == 0o644


def test_an_environment_is_not_lost_when_the_same_is_approved_again(tmp_path: Path) -> None:
    id = of_alice(tmp_path).approve(CONFIGURATION, KEY)
    of_alice(tmp_path).approve(CONFIGURATION)
    assert approved(tmp_path, "alice", id).environment == KEY
    of_alice(tmp_path).approve(CONFIGURATION, "")
    assert approved(tmp_path, "alice", id).environment == ""


def test_a_launch_is_forgotten_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = of_alice(tmp_path).begin(KEY, "course")
    assert of_alice(tmp_path).begun(name)
    assert of_alice(tmp_path).begun("0" * 32) is None
    monkeypatch.setattr(records, "BEGUN_S", 0)
    assert of_alice(tmp_path).begun(name) is None


def test_what_servers_were_started_with_outlives_hundreds_of_other_approvals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_APPROVED", 3)
    found = of_alice(tmp_path)
    first = found.approve(CONFIGURATION, KEY)
    assert found.start(found.begin(first, "course"))
    others = [found.approve(replace(CONFIGURATION, path=f"{number}.md")) for number in range(9)]
    assert found.approved(first).environment == KEY
    assert found.approved(others[-1])
    assert len(list(tmp_path.glob("people/*/approved/*"))) <= 4
    assert kept_environments(tmp_path) == {KEY}
    # JupyterHub may not have heard of the server yet.
    found.keep([])
    assert kept_environments(tmp_path) == {KEY}
    monkeypatch.setattr(records, "NEW_S", -1)
    found.keep([])
    assert kept_environments(tmp_path) == frozenset()


WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.records import Records
records = Records(Path(sys.argv[1]), "alice", sys.argv[2])
for number in range(10**6):
    id = records.approve(Configuration("https://github.com/org/repo", path=str(number)))
    records.do_not_ask(id)
    print(id, flush=True)
"""


def test_a_service_that_is_killed_leaves_whole_records(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    program = [sys.executable, "-c", WRITER, str(tmp_path), SINCE]
    done: list[str] = []
    for number in (1, 4, 9):
        with subprocess.Popen(
            program, env=environment, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout
            done += [running.stdout.readline().strip() for _ in range(number)]
            running.send_signal(signal.SIGKILL)
        for id in done:
            assert approved(tmp_path, "alice", id)
        unasked = of_alice(tmp_path).unasked
        assert set(done) <= set(unasked)


def test_settings_reach_the_service_as_they_are() -> None:
    found = Settings(
        title="Physics",
        policy=Policy(banned=("*/evil/*",), hosts=("gitlab.local",), https_only=False),
        caps=Caps(memory_gb=4),
        prepared={"Week 1": Form(repo="gh/org/week1/main", path="a.ipynb")},
        documentation={"How to launch": "https://docs.example.org/"},
        credits={"The Institute": "", "Funding": "https://example.org/f"},
        hubs={"Other": "https://other.example.org/hub/"},
        address="https://hub.example.org/jupyter/",
    )
    assert Settings.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    "fields",
    [
        {"documentation": {"Help": "javascript:alert(1)"}},
        {"hubs": {"Other": "https://other.example.org"}},
        {"address": "hub.example.org/"},
        {"credits": {"Them": "data:text/html,x"}},
    ],
)
def test_an_address_that_would_run_in_the_page_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**fields)  # type: ignore[arg-type]
