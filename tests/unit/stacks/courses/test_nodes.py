"""Courses in servers that are jobs on other machines, and who may enter the exchange there."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from traitlets.config import Config

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.layout import DEFAULT_BASE, SERVER_PACKAGES, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.courses import jupyter, place, prologue, records, sharing
from littlest_hub.stacks.courses.command import after_enable
from littlest_hub.stacks.courses.course import ARCHIVED, READY, Course, Student
from littlest_hub.stacks.courses.hub import with_courses
from littlest_hub.stacks.courses.units import reconciliation
from littlest_hub.system import acl
from tests.capabilities import missing
from tests.unit import unit_files

REPOSITORY = Path(__file__).parents[4]
ME = pwd.getpwuid(os.getuid()).pw_name
PS131 = Course("ps131", 15010, stage=READY, instructors=(ME,)).with_roster([Student("nobody")])
OTHER = Course("other", 15011, stage=READY, instructors=("nobody",))
SLURM = "littlest_hub.stacks.slurm.spawner.SlurmSpawner"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An installation with two courses, and its exchange."""
    # The directory of tests may be below one that everybody may write to.
    monkeypatch.setattr(sharing, "loose_step", lambda path: None)
    exchange = tmp_path / "exchange"
    for name in (PS131.name, OTHER.name):
        (exchange / name).mkdir(parents=True)
    monkeypatch.setattr(place, "exchange", lambda layout: exchange)
    layout = Layout(DEFAULT_BASE, root=tmp_path / "root")
    with records.changing(layout):
        for course in (PS131, OTHER):
            records.put(layout, course)
    return layout


# --- who may enter


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "directory"
    directory.mkdir()
    try:
        acl.admit(directory, set())
    except OSError as error:
        missing(f"no access control lists here: {error}")
    return directory


def test_a_directory_admits_its_owner_and_exactly_the_named_users(directory: Path) -> None:
    assert acl.admitted(directory) == set()
    for users in ({70001, 70002}, {70002}, set[int]()):
        acl.admit(directory, users)
        assert acl.admitted(directory) == users
        assert directory.stat().st_mode & 0o707 == 0o700


@pytest.mark.needs("root", "setpriv")
def test_the_kernel_keeps_out_whoever_is_not_admitted(directory: Path) -> None:
    (directory / "outbound").mkdir(mode=0o755)
    for each in directory.parents:
        if each.owner() == "root" and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o011)
    acl.admit(directory, {70001})

    def list_as(uid: int) -> int:
        identity = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        command = ["setpriv", *identity, "ls", str(directory / "outbound")]
        return subprocess.run(command, capture_output=True).returncode

    assert list_as(70001) == 0
    assert list_as(70002) != 0


def test_a_directory_that_everybody_or_a_group_may_enter_admits_not_only_some(
    directory: Path,
) -> None:
    acl.admit(directory, {70001})
    directory.chmod(0o755)
    assert acl.admitted(directory) is None
    other = directory / "of-a-group"
    other.mkdir()
    other.chmod(0o750)
    assert acl.admitted(other) is None


def test_a_course_admits_the_accounts_of_its_people_and_nobody_when_it_is_closed(
    layout: Layout, directory: Path
) -> None:
    found = place.exchange(layout) / PS131.name
    sharing.admit_all(layout)
    assert acl.admitted(found) == {os.getuid(), pwd.getpwnam("nobody").pw_uid}
    sharing.admit(layout, PS131.with_roster([Student("without-an-account-here")]))
    assert acl.admitted(found) == {os.getuid()}
    sharing.admit(layout, replace(PS131, stage=ARCHIVED))
    assert acl.admitted(found) == set()


def test_the_exchange_is_shared_whole_or_not_at_all(
    layout: Layout, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = place.exchange(layout)

    def admitted() -> list[set[int] | None]:
        return [acl.admitted(exchange / each.name) for each in (PS131, OTHER)]

    def few(course: Course) -> set[int]:
        return {70000} if course == OTHER else {*range(70000, 90000)}

    with monkeypatch.context() as patch:
        patch.setattr(sharing, "accounts", few)
        with pytest.raises(LittlestHubError, match="20000 people"):
            sharing.begin(layout)
    assert admitted() == [None, None]
    assert exchange.stat().st_mode & 0o777 == 0o755
    assert not sharing.is_shared(layout)

    sharing.begin(layout)
    assert None not in admitted()
    assert exchange.stat().st_mode & 0o777 == 0o711
    assert sharing.is_shared(layout)

    sharing.forget(layout)
    sharing.admit_everybody(layout)
    assert admitted() == [None, None]
    assert exchange.stat().st_mode & 0o777 == 0o755


def test_a_list_that_the_file_system_does_not_take_is_refused_and_nobody_else_is_admitted(
    layout: Layout, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing.admit(layout, PS131)
    before = acl.admitted(place.exchange(layout) / PS131.name)
    monkeypatch.setattr(sharing, "accounts", lambda course: {*range(70000, 90000)})
    with pytest.raises(LittlestHubError, match="cannot be for 20000 people alone"):
        sharing.admit(layout, PS131)
    assert acl.admitted(place.exchange(layout) / PS131.name) == before
    monkeypatch.setattr(sharing, "accounts", lambda course: {70000})
    monkeypatch.setattr(place, "exchange", lambda layout: Path("/sys"))
    with pytest.raises(LittlestHubError, match="has no access control lists"):
        sharing.admit(layout, Course("kernel", 1, stage=READY))


@pytest.mark.needs("systemd-analyze")
def test_root_may_admit_people_each_minute_only_if_the_exchange_is_shared(
    layout: Layout, tmp_path: Path
) -> None:
    def rights() -> str:
        return next(iter(reconciliation(layout))).text()

    assert "CAP_FOWNER" not in rights()
    assert "course nodes" in " ".join(after_enable(layout, EnabledStack("courses")))
    sharing.begin(layout)
    assert "CAP_FOWNER" in rights()
    assert "course nodes" not in " ".join(after_enable(layout, EnabledStack("courses")))
    written = unit_files.write(reconciliation(layout), tmp_path)
    assert unit_files.complaints(written.values(), "courses-") == []
    unit_files.exposes_at_most(written["littlest-hub.courses-rosters.service"], 1.9)


# --- the spawner


def job(layout: Layout, who: str = ME) -> Any:
    """Return the spawner of a server as JupyterHub makes it."""
    db = orm.new_session_factory("sqlite:///:memory:")()
    row = orm.User(name=who)
    db.add_all([row, orm.Spawner(name="", user=row), orm.OAuthClient(identifier="jupyterhub")])
    db.commit()
    made = User(row, {"config": Config()})._new_spawner(
        "",
        spawner_class=with_courses(SLURM, 100),
        hub=Hub(),
        layout=layout,
        python="/shared/python3",
    )
    made.api_token = "a-secret"
    return made


def test_a_job_is_told_the_courses_of_its_user_once_the_exchange_is_shared(layout: Layout) -> None:
    def shown(who: str) -> list[str]:
        told = json.loads(job(layout, who).get_env()[prologue.VARIABLE])
        assert told["exchange"] == str(place.exchange(layout))
        assert told["submission_mb"] == 100
        courses: list[str] = told["courses"]
        return courses

    assert shown(ME) == shown("nobody") == []
    sharing.begin(layout)
    assert shown(ME) == ["ps131"]
    assert shown("nobody") == ["other", "ps131"]
    assert shown("stranger") == []


def test_a_job_begins_with_the_prologue_of_the_release_on_its_node(layout: Layout) -> None:
    command = job(layout)._program()
    assert command[:4] == ["/shared/python3", "-I", "-m", prologue.MODULE]
    assert command[4:7] == ["/shared/python3", "-I", "-m"]


def test_a_spawner_that_is_neither_a_unit_nor_a_job_is_refused() -> None:
    with pytest.raises(TypeError, match="SimpleLocalProcessSpawner cannot show courses"):
        with_courses("jupyterhub.spawner.SimpleLocalProcessSpawner", 100)
    with pytest.raises(TypeError, match="TemplateSpawner cannot show courses"):
        with_courses(TemplateSpawner, 100)


# --- the prologue


def run(home: Path, shown: Mapping[str, Any] | str, **environment: str) -> dict[str, Any]:
    """Run the prologue with a server that prints its environment."""
    server = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    command = [sys.executable, "-m", prologue.MODULE, sys.executable, "-c", server, "--a", "$b"]
    text = shown if isinstance(shown, str) else json.dumps(shown)
    done = subprocess.run(
        command,
        env={**os.environ, "HOME": str(home), prologue.VARIABLE: text, **environment},
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    found, arguments = json.loads(done.stdout)
    assert arguments == ["--a", "$b"]
    assert prologue.VARIABLE not in found
    return {**found, "stderr": done.stderr}


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, Any]:
    exchange = tmp_path / "exchange"
    for name in ("ps131", "later", "other"):
        (exchange / name).mkdir(parents=True)
    return {"exchange": str(exchange), "courses": ["ps131"], "submission_mb": 7}


def test_a_server_on_a_node_has_links_to_its_own_courses(
    tmp_path: Path, shown: dict[str, Any]
) -> None:
    found = run(tmp_path, shown, JUPYTER_CONFIG_PATH="/site")
    links = Path(found[place.EXCHANGE])
    assert links == tmp_path / ".cache" / "littlest-hub" / "exchange"
    assert [each.resolve() for each in links.iterdir()] == [tmp_path / "exchange" / "ps131"]
    assert found[place.SUBMISSION] == "7"
    assert found["PATH"].startswith(f"{place.PROGRAMS}:")
    assert found["JUPYTER_CONFIG_PATH"] == f"{place.STUDENT_SETTINGS}:/site"
    assert found["stderr"] == ""

    run(tmp_path, {**shown, "courses": ["later", "ps131"]})
    assert {each.name for each in links.iterdir()} == {"later", "ps131"}

    found = run(tmp_path, {**shown, "courses": []})
    assert [*links.iterdir()] == []
    assert place.EXCHANGE not in found
    assert found["JUPYTER_CONFIG_PATH"].endswith("/others")


def test_a_course_that_the_node_does_not_share_is_named(
    tmp_path: Path, shown: dict[str, Any]
) -> None:
    found = run(tmp_path, {**shown, "courses": ["elsewhere"]})
    assert f"{tmp_path}/exchange/elsewhere is not there for you" in found["stderr"]
    assert found[place.EXCHANGE]


@pytest.mark.parametrize("problem", ["json", "home", "file"])
def test_a_server_on_a_node_starts_whatever_fails(
    tmp_path: Path, shown: dict[str, Any], problem: str
) -> None:
    home = tmp_path / "home"
    home.touch() if problem == "home" else home.mkdir()
    if problem == "file":
        (home / ".cache").touch()
    found = run(home, "{" if problem == "json" else shown)
    assert found["stderr"]
    assert place.EXCHANGE not in found
    assert found["JUPYTER_CONFIG_PATH"].endswith("/others")


def test_nbgrader_in_a_terminal_is_that_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(SERVER_PACKAGES, str(tmp_path))
    (tmp_path / "server").mkdir()
    jupyter.use_packages()
    assert sys.path[-1] == str(tmp_path / "server")
