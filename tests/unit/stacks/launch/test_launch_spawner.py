"""Servers that are launched: what somebody has approved starts, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from traitlets.config import Config

from littlest_hub.check import check_fragments
from littlest_hub.hub.environment_name import name_of
from littlest_hub.hub.launch import Launch, environment_file, parse_environment_file
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.client import NoAccountError
from littlest_hub.stacks.launch import server_name
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.configuration import (
    Caps,
    Configuration,
    FormError,
    form_of,
    of_form,
)
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.records import Records
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.sources import Sources
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.stacks.launch.server import prologue
from littlest_hub.stacks.launch.server.spawner import RefusedError, with_launch
from littlest_hub.stacks.launch.settings import OPTION, Settings
from littlest_hub.stacks.launch.volumes import Volume

REPOSITORY = Path(__file__).parents[4]
ME = pwd.getpwuid(os.getuid()).pw_name
KEY = "ab" * 32
SETTINGS = Settings(caps=Caps(memory_gb=8, processors=4, hours=12))
CONFIGURATION = Configuration(
    repository="https://github.com/org/repo",
    ref="main",
    commit="0123456789" * 4,
    path="week 1/größe.ipynb",
    name="course",
    memory_mb=2048,
    cpu_percent=150,
    minutes=90,
)


class House:
    """An installation in a directory, with people who have approved something."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "littlest-hub")
        self.place = Place.of(self.layout)
        self.place.home.parent.mkdir(parents=True)
        self.place.make()

    def approve(
        self, configuration: Configuration = CONFIGURATION, environment: str = KEY, who: str = ME
    ) -> str:
        """Approve a configuration, bring its files, and build its environment."""
        source = Sources(sources_of(self.layout)).place(
            configuration.repository, configuration.commit
        )
        (source / "files").mkdir(parents=True, exist_ok=True)
        if environment:
            kernel = self.place.environment(environment) / "share/jupyter/kernels/python3"
            kernel.mkdir(parents=True, exist_ok=True)
            (kernel / "kernel.json").write_text('{"argv": ["/env/python"]}')
            self.place.record(environment).write_text("{}")
        return self.records(who).approve(configuration, environment)

    def records(self, who: str = ME) -> Records:
        return Records(self.layout.stack_data("launch"), who, "2026-01-01")

    def server(
        self,
        id: Any = None,
        *,
        server: str = "course",
        who: str = ME,
        config: Config | None = None,
        settings: Settings = SETTINGS,
        spawner: type[Any] | str = UnitSpawner,
        groups: Sequence[str] = (),
        **more: Any,
    ) -> Any:
        """Return the spawner of a server as JupyterHub makes it, with an option."""
        db = orm.new_session_factory("sqlite:///:memory:")()
        row = orm.User(name=who, groups=[orm.Group(name=each) for each in groups])
        client = orm.OAuthClient(identifier="jupyterhub")
        db.add_all([row, orm.Spawner(name=server, user=row), client])
        db.commit()
        user = User(row, {"config": config or Config()})
        made = user._new_spawner(
            server,
            spawner_class=with_launch(spawner, settings),
            hub=Hub(),
            layout=self.layout,
            **more,
        )
        made.port, made.api_token = 1234, "a-secret"
        made.user_options = {} if id is None else {OPTION: id}
        return made


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def prepared(made: Any) -> Launch:
    launch = made._prepare(made._account())
    assert isinstance(launch, Launch)
    return launch


def values(properties: Mapping[str, Any], name: str) -> list[str]:
    found = properties[name]
    return [found] if isinstance(found, str) else list(found)


def told(launch: Launch) -> dict[str, str]:
    """Return what the prologue is told, as it arrives through systemd's file."""
    arrived = parse_environment_file(environment_file(launch.environment))
    found: dict[str, str] = json.loads(arrived[prologue.VARIABLE])
    return found


def refused(made: Any) -> str:
    """Return why a server is refused, before the queue and when its turn has come."""
    with pytest.raises(RefusedError) as error:
        asyncio.run(made.run_pre_spawn_hook())
    with pytest.raises(RefusedError):
        prepared(made)
    with pytest.raises(RefusedError):
        made.get_env()
    assert made._entry is None
    return str(error.value.jupyterhub_message)


# --- in a unit


def test_a_launch_has_its_limits_its_files_and_the_page_that_opens(house: House) -> None:
    launch = prepared(house.server(house.approve()))
    properties = launch.properties
    assert properties["MemoryMax"] == str(2 << 30)
    assert properties["CPUQuota"] == "150%"
    assert properties["RuntimeMaxSec"] == "5400"
    assert launch.environment["MEM_LIMIT"] == str(2 << 30)
    assert launch.environment["CPU_LIMIT"] == "1.5"
    page = "/lab/tree/week%201/gr%C3%B6%C3%9Fe.ipynb"
    assert launch.environment["JUPYTERHUB_DEFAULT_URL"] == page
    source = Sources(sources_of(house.layout)).place(CONFIGURATION.repository, CONFIGURATION.commit)
    assert f"-{source}/files:/run/jupyter/launch" in values(properties, "BindReadOnlyPaths")
    assert told(launch) == {
        "name": "course",
        "version": source.name,
        "source": "/run/jupyter/launch",
        "kernels": f"{house.place.environment(KEY)}/share/jupyter/kernels",
        "volumes": "",
    }


def test_a_launch_starts_as_its_person_with_the_prologue_before_the_server(house: House) -> None:
    id = house.approve()
    launch, usual = prepared(house.server(id)), prepared(house.server())
    count = len(usual.command)
    assert list(launch.command[-count:]) == list(usual.command)
    assert list(launch.command[:-count]) == [
        *usual.command[:2],
        "-m",
        "littlest_hub.stacks.launch.server.prologue",
    ]
    assert launch.account == usual.account
    assert launch.properties["User"] == usual.properties["User"]
    assert "ExecStartPre" not in launch.properties


def test_a_launch_sees_its_environment_and_no_other(house: House) -> None:
    properties = prepared(house.server(house.approve())).properties
    home, built = house.place.home, house.place.built
    empty = [each.partition(":")[0] for each in values(properties, "TemporaryFileSystem")]
    # Each of them by itself: systemd 247 closes the directories between two mounts.
    assert [str(home), str(built)] == empty[-2:]
    shown = [each for each in values(properties, "BindReadOnlyPaths") if str(home) in each]
    assert shown == [str(house.place.pythons), str(built / KEY)]
    assert not any(str(home) in each for each in values(properties, "InaccessiblePaths"))


@pytest.mark.parametrize("is_launched", [True, False])
def test_a_server_without_an_environment_sees_none(house: House, is_launched: bool) -> None:
    launch = prepared(house.server(house.approve(environment="") if is_launched else None))
    assert f"-{house.place.home}" in values(launch.properties, "InaccessiblePaths")
    if is_launched:
        assert told(launch)["kernels"] == ""
    else:
        assert prologue.VARIABLE not in launch.environment
        assert prologue.MODULE not in launch.command
        assert "RuntimeMaxSec" not in launch.properties


def test_limits_of_the_administrators_stay_where_they_are_stricter(house: House) -> None:
    config = Config()
    config.Spawner.mem_limit = "1G"
    config.SystemdSpawner.unit_extra_properties = {"CPUQuota": "100%", "RuntimeMaxSec": "1h"}
    launch = prepared(house.server(house.approve(), config=config))
    assert launch.properties["MemoryMax"] == str(1 << 30)
    assert launch.properties["CPUQuota"] == "100%"
    assert launch.properties["RuntimeMaxSec"] == "1h"
    assert launch.environment["MEM_LIMIT"] == str(1 << 30)


def test_a_launch_in_a_class_keeps_the_limits_of_the_class(house: House) -> None:
    config = Config({"AccountSpawner": {"limits": {"*": {"memory": "1G", "cpu": 3}}}})
    class_spawner = "littlest_hub.stacks.classroom.servers.AccountSpawner"
    launch = prepared(house.server(house.approve(), spawner=class_spawner, config=config))
    assert launch.properties["MemoryMax"] == str(1 << 30)
    assert launch.properties["CPUQuota"] == "150%"
    assert launch.environment["MEM_LIMIT"] == str(1 << 30)
    assert launch.environment["CPU_LIMIT"] == "1.5"


def test_a_launch_of_a_lent_account_keeps_its_views(house: House) -> None:
    config = Config()
    config.SystemdSpawner.dynamic_users = True
    id = house.approve(who="ada")
    launch = prepared(house.server(id, who="ada", config=config))
    views = values(launch.properties, "BindReadOnlyPaths")
    assert sum(each.endswith((":/etc/passwd", ":/etc/group")) for each in views) == 2
    assert launch.properties["DynamicUser"] == "yes"


def test_braces_and_percent_signs_of_a_path_are_no_placeholders(house: House) -> None:
    for path in ("{username}.md", "%h $HOME `id`.md", "\"quote'.md", "a?b#c.md"):
        id = house.approve(replace(CONFIGURATION, path=path))
        launch = prepared(house.server(id))
        arrived = parse_environment_file(environment_file(launch.environment))
        assert re.fullmatch(r"/lab/tree/[A-Za-z0-9%._~-]+", arrived["JUPYTERHUB_DEFAULT_URL"])
        words = launch.systemd_run(Path("/run/x.env"))
        assert not any("username" in word or "HOME" in word or "quote" in word for word in words)


def test_a_server_keeps_the_name_of_its_environment_until_it_is_started_again(
    house: House,
) -> None:
    class_spawner = "littlest_hub.stacks.classroom.servers.AccountSpawner"
    for spawner, usual in ((UnitSpawner, ""), (class_spawner, "class environment")):
        made = house.server(house.approve(), spawner=spawner)
        assert name_of(made) == usual
        made._join_queue = no_queue
        with pytest.raises((ConnectionError, NoAccountError)):
            asyncio.run(made.run_pre_spawn_hook())
        assert name_of(made) == "github.com/org/repo"
        # Another hub has its state only.
        other = house.server(house.approve(), spawner=spawner)
        other.load_state(made.get_state())
        assert name_of(other) == "github.com/org/repo"
        other.clear_state()
        assert name_of(other) == usual
        assert other.get_state().get("environment_name", "") == usual


def no_queue(_: int) -> None:
    raise ConnectionError


# --- refused, whatever route the request takes


@pytest.mark.parametrize(
    "id",
    ["0" * 64, "x", 7, ["a", "b"], "../" * 20, {"a": 1}, KEY.upper(), "a" * 63 + "\n", True],
)
def test_only_the_id_of_an_approved_configuration_starts(house: House, id: Any) -> None:
    house.approve()
    assert refused(house.server(id)).startswith("This launch is refused: ")


def test_what_somebody_else_has_approved_does_not_start(house: House) -> None:
    id = house.approve(who="mallory")
    assert "has approved no configuration" in refused(house.server(id))
    assert prepared(house.server(house.approve()))


def test_a_record_with_another_configuration_does_not_start(house: House) -> None:
    id = house.approve()
    other = house.approve(replace(CONFIGURATION, memory_mb=4096))
    (folder,) = house.layout.stack_data("launch").glob("people/*/approved")
    (folder / other).replace(folder / id)
    assert "contains" in refused(house.server(id))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"memory_mb": 9000}, "memory_gb: found '8.7891', expected a number from 0.25 to 8"),
        ({"cpu_percent": 401}, "processors"),
        ({"minutes": 721}, "hours"),
        ({"minutes": -5}, "hours"),
        ({"repository": "https://banned.example/org/repo"}, "banned.example"),
        ({"repository": "file:///etc"}, "repo"),
        ({"commit": ""}, "not one that a form can ask for"),
        ({"commit": "../../../../etc"}, "not one that a form can ask for"),
        ({"path": "../x"}, "path"),
        ({"path": "", "urlpath": "//evil.example"}, ""),
        ({"path": "", "urlpath": "a?clone=1"}, "urlpath"),
        ({"urlpath": "lab"}, "urlpath"),
        ({"name": "other"}, "that of a server other, not of course"),
        ({"name": "../x"}, "name"),
        ({"mounts": "data"}, "there is no volume 'data' for you"),
        ({"mounts": "../data"}, "there is no volume '../data' for you"),
        ({"share": "../boss"}, "share"),
    ],
)
def test_a_configuration_that_no_form_can_ask_for_does_not_start(
    house: House, changes: dict[str, Any], why: str
) -> None:
    """The service that writes records may be hijacked."""
    settings = replace(SETTINGS, policy=Policy(banned=("banned.example/*",)))
    id = house.approve(replace(CONFIGURATION, **changes))
    assert why in refused(house.server(id, settings=settings))


def test_caps_that_are_lowered_hold_from_then_on(house: House) -> None:
    id = house.approve()
    assert prepared(house.server(id))
    lowered = replace(SETTINGS, caps=Caps())
    assert "it cannot be chosen at this hub" in refused(house.server(id, settings=lowered))


def with_volume(house: House) -> Settings:
    directory = house.layout.base.parent / "data"
    directory.mkdir()
    return replace(SETTINGS, volumes={"data": Volume(str(directory), read=("physics",))})


def test_a_volume_is_in_the_servers_that_have_chosen_it_and_hidden_from_others(
    house: House,
) -> None:
    settings = with_volume(house)
    id = house.approve(replace(CONFIGURATION, mounts="data"))
    launch = prepared(house.server(id, settings=settings, groups=["physics"]))
    path = settings.volumes["data"].path
    assert f"{path}:/run/jupyter/volumes/data" in values(launch.properties, "BindReadOnlyPaths")
    assert told(launch)["volumes"] == "/run/jupyter/volumes"
    for other in (house.approve(), None):
        properties = prepared(house.server(other, settings=settings)).properties
        assert f"-{path}" in values(properties, "InaccessiblePaths")
        assert not any(path in each for each in properties.get("BindReadOnlyPaths", ()))


@pytest.mark.parametrize(
    "mounts",
    ["data:rw", "data:/etc", "data data", " data", "data:ro", "/etc:rw", "data\nBindPaths=/etc"],
)
def test_a_volume_that_no_form_can_ask_for_is_in_no_server(house: House, mounts: str) -> None:
    """The service that writes records may be hijacked."""
    settings = with_volume(house)
    id = house.approve(replace(CONFIGURATION, mounts=mounts))
    why = refused(house.server(id, settings=settings, groups=["physics"]))
    assert why.startswith("This launch is refused: ")
    assert settings.volumes["data"].path not in why


def test_who_has_left_a_group_has_lost_its_volumes_at_the_next_start(house: House) -> None:
    settings = with_volume(house)
    id = house.approve(replace(CONFIGURATION, mounts="data"))
    made = house.server(id, settings=settings, groups=["chemistry"])
    assert "there is no volume 'data' for you (any more)" in refused(made)
    again = "services/launch/?repo=https%3A%2F%2Fgithub.com%2Forg%2Frepo&amp;ref=main"
    with pytest.raises(RefusedError) as error:
        prepared(made)
    assert again in error.value.jupyterhub_html_message


def test_a_volume_that_has_become_a_link_is_in_no_server(house: House) -> None:
    settings = with_volume(house)
    path = Path(settings.volumes["data"].path)
    id = house.approve(replace(CONFIGURATION, mounts="data"))
    path.rmdir()
    path.symlink_to("/etc")
    assert f"{path} is a link" in refused(house.server(id, settings=settings, groups=["physics"]))


def test_only_a_server_with_a_name_is_launched(house: House) -> None:
    id = house.approve(replace(CONFIGURATION, name=""))
    assert prepared(house.server(id, server=server_name.random()))
    assert prepared(
        house.server(id, server=server_name.another("launch-bcdfghjk", ["launch-bcdfghjk"]))
    )
    assert "that of a server with a random name, not of course" in refused(house.server(id))
    assert "name of its own" in refused(house.server(id, server=""))
    assert "cannot be the name" in refused(house.server(id, server="../x"))


def test_an_environment_that_has_been_removed_is_built_again_by_the_launch_page(
    house: House,
) -> None:
    id = house.approve()
    house.place.record(KEY).unlink()
    made = house.server(id)
    assert refused(made).startswith("Its environment has been removed")
    with pytest.raises(RefusedError) as error:
        made.launched()
    form = form_of(CONFIGURATION)
    (link,) = re.findall('href="([^"]*)"', error.value.jupyterhub_html_message)
    assert link == form.url("/").replace("&", "&amp;")


def test_files_that_have_been_removed_keep_nobody_from_their_copy(house: House) -> None:
    id = house.approve()
    for each in sources_of(house.layout).glob("*/files"):
        each.rmdir()
    (shown,) = [
        each
        for each in values(prepared(house.server(id)).properties, "BindReadOnlyPaths")
        if each.endswith(":/run/jupyter/launch")
    ]
    assert shown.startswith("-")


def test_a_link_in_a_refusal_is_escaped(house: House) -> None:
    id = house.approve(replace(CONFIGURATION, path="\"'><script>.md"))
    house.place.record(KEY).unlink()
    with pytest.raises(RefusedError) as error:
        house.server(id).launched()
    assert "<script>" not in error.value.jupyterhub_html_message


# --- forms and configurations

numbers = st.integers(0, 5000)


@given(numbers, numbers, numbers)
def test_a_configuration_and_its_form_are_the_same(memory: int, percent: int, minutes: int) -> None:
    caps = Caps(memory_gb=1000, processors=1000, hours=1000)
    made = replace(CONFIGURATION, memory_mb=memory, cpu_percent=percent, minutes=minutes)
    try:
        found = of_form(form_of(made), Policy(), caps).at(made.commit)
    except FormError:
        assert 0 < memory < 256 or 0 < percent < 10 or 0 < minutes < 15
    else:
        assert found == made
    assert form_of(Configuration("https://a.example/b")) == Form(repo="https://a.example/b")


def test_other_spawners_are_refused_with_their_name() -> None:
    with pytest.raises(TypeError, match="SimpleLocalProcessSpawner cannot launch"):
        with_launch("jupyterhub.spawner.SimpleLocalProcessSpawner", SETTINGS)
    with pytest.raises(TypeError, match=r"TemplateSpawner cannot.* does not run as root"):
        with_launch(TemplateSpawner, SETTINGS)


# --- as a job


SLURM = "littlest_hub.stacks.slurm.spawner.SlurmSpawner"


def job(house: House, id: Any, partitions: dict[str, Any] | None = None) -> Any:
    config = Config({"SlurmSpawner": {"partitions": partitions or {}}})
    return house.server(id, spawner=SLURM, config=config, python="/shared/python3")


def test_a_job_has_the_limits_of_the_configuration(house: House) -> None:
    id = house.approve()
    partitions = {"main": {"hours": 8, "processors": 4, "memory_gb": 8}}
    for made in (job(house, id, partitions), job(house, id)):
        request = made.request_for(made.user_options)
        assert (request.minutes, request.processors, request.memory_mb) == (90, 2, 2048)
    made = job(house, None, partitions)
    assert made.request_for({}).memory_mb == 2048  # as usual
    assert made.request_for({"hours": "2"}).minutes == 120


@pytest.mark.parametrize("least", ["hours", "memory_gb", "processors"])
def test_a_job_is_refused_beyond_the_limits_of_its_partition(house: House, least: str) -> None:
    made = job(house, house.approve(), {"main": {least: 1}})
    with pytest.raises(Exception, match=f"{least}: expected") as error:
        made.request_for(made.user_options)
    assert getattr(error.value, "status_code", 0) == 400


def test_a_job_starts_with_the_prologue_and_sees_the_files_where_they_are(house: House) -> None:
    id = house.approve()
    made, usual = job(house, id), job(house, None)
    assert made._program() == [
        *("/shared/python3", "-I", "-m", "littlest_hub.stacks.launch.server.prologue"),
        *usual._program(),
    ]
    found = json.loads(made.get_env()[prologue.VARIABLE])
    assert found["source"].startswith(str(sources_of(house.layout)))
    assert prologue.VARIABLE not in usual.get_env()


def test_a_job_that_is_not_approved_is_not_submitted(house: House) -> None:
    made = job(house, "0" * 64)
    for start in (made._program, made.get_env, lambda: made.request_for(made.user_options)):
        with pytest.raises(RefusedError):
            start()


# --- the prologue


def run(home: Path, launch: dict[str, str] | str, **environment: str) -> dict[str, Any]:
    """Run the prologue with a server that prints its environment."""
    server = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    command = [sys.executable, "-m", prologue.MODULE, sys.executable, "-c", server, "--a", "$b"]
    text = launch if isinstance(launch, str) else json.dumps(launch)
    variables = {"HOME": str(home), prologue.VARIABLE: text, "JUPYTERHUB_DEFAULT_URL": "/lab/x"}
    done = subprocess.run(
        command,
        env={**os.environ, **variables, **environment},
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
def launch(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.ipynb").write_text("{}")
    kernel = tmp_path / "env" / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["/env/python"], "display_name": "Python 3"}')
    (tmp_path / "run").mkdir()
    (tmp_path / "home").mkdir()
    return {
        **{"name": "course", "version": "c0ffee", "source": str(tmp_path / "source")},
        "kernels": str(kernel.parent),
        "volumes": "",
    }


def test_the_server_begins_in_the_copy_with_the_kernels_of_the_environment(
    tmp_path: Path, launch: dict[str, str]
) -> None:
    home = tmp_path / "home"
    for _ in range(2):
        found = run(home, launch, JUPYTER_RUNTIME_DIR=str(tmp_path / "run"), JUPYTER_PATH="/x")
        assert found["JUPYTERHUB_ROOT_DIR"] == str(home / "launch" / "course")
        assert found["JUPYTERHUB_DEFAULT_URL"] == "/lab/x"
        own, other = found["JUPYTER_PATH"].split(":")
        assert (own, other) == (str(tmp_path / "run" / "launch-course"), "/x")
        # The environment gives nothing else: no extensions, no templates.
        assert [each.name for each in Path(own).iterdir()] == ["kernels"]
    specs = {
        file.parent.name: json.loads(file.read_text())["argv"][0]
        for file in Path(own).glob("kernels/*/kernel.json")
    }
    assert specs == {"python3": "/env/python", "littlest-hub": "python"}
    assert (home / "launch" / "course" / "a.ipynb").read_text() == "{}"


def test_a_link_in_the_copy_leads_to_the_volumes_and_replaces_nothing(
    tmp_path: Path, launch: dict[str, str]
) -> None:
    home, link = tmp_path / "home", tmp_path / "home/launch/course/volumes"
    with_volumes = {**launch, "volumes": "/run/jupyter/volumes"}
    run(home, with_volumes)
    assert link.readlink() == Path("/run/jupyter/volumes")
    run(home, launch)
    assert not link.is_symlink()
    link.mkdir()
    assert "is something else already" in run(home, with_volumes)["stderr"]
    assert link.is_dir()


def test_without_a_runtime_directory_kernels_are_in_the_home(
    tmp_path: Path, launch: dict[str, str]
) -> None:
    home = tmp_path / "home"
    found = run(home, launch, JUPYTER_RUNTIME_DIR="", JUPYTER_PATH="")
    assert found["JUPYTER_PATH"] == str(home / ".cache" / "littlest-hub" / "launch-course")


@pytest.mark.parametrize("problem", ["link", "source", "json", "kernels"])
def test_the_server_starts_whatever_fails(
    tmp_path: Path, launch: dict[str, str], problem: str
) -> None:
    home, told = tmp_path / "home", {**launch}
    if problem == "link":
        (home / "launch").symlink_to(tmp_path)
    elif problem in ("source", "kernels"):
        told[problem] = str(tmp_path / "missing")
    found = run(home, "{" if problem == "json" else told, JUPYTER_RUNTIME_DIR=str(tmp_path / "run"))
    assert found["stderr"]
    has_copy = problem in ("source", "kernels")
    assert found.get("JUPYTERHUB_ROOT_DIR", "") == (
        str(home / "launch" / "course") if has_copy else ""
    )
    if not has_copy:
        assert found["JUPYTERHUB_DEFAULT_URL"] == "/lab"


# --- fragments

FRAGMENT = """
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.settings import OPTION, Settings
from littlest_hub.stacks.launch.server.spawner import with_launch

c.RequestPolicy.user_options.update({OPTION: checked_id})
c.JupyterHub.spawner_class = with_launch(c.JupyterHub.spawner_class, Settings())
"""
OF_SLURM = 'c.JupyterHub.spawner_class = "littlest_hub.stacks.slurm.spawner.SlurmSpawner"\n'
OF_NOBODY = 'c.JupyterHub.spawner_class = "simple"\n'


@pytest.mark.parametrize(
    ("before", "is_accepted"), [("", True), (OF_SLURM, True), (OF_NOBODY, False)]
)
def test_check_accepts_a_fragment_that_makes_a_launching_spawner(
    house: House, before: str, is_accepted: bool
) -> None:
    house.layout.fragments.mkdir()
    (house.layout.fragments / "50-before.py").write_text(before)
    (house.layout.fragments / "60-launch.py").write_text(FRAGMENT)
    problems = [str(each) for each in check_fragments(house.layout).problems]
    if is_accepted:
        assert problems == []
    else:
        (problem,) = problems
        assert "cannot launch: expected UnitSpawner or SlurmSpawner" in problem
