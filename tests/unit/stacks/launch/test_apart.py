"""Servers that do not run as their owner: shared ones, temporary ones, those of guests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm

from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.launch.configuration import Configuration, FormError, of_form
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.guests import names
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.server.spawner import RefusedError
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.stacks.launch.volumes import Volume
from tests.unit.stacks.launch.test_launch_spawner import (
    CONFIGURATION,
    ME,
    SETTINGS,
    House,
    prepared,
    refused,
    values,
)

SHARED = replace(CONFIGURATION, share="bob")
TEMPORARY = replace(CONFIGURATION, temporary=True)
GUEST = "guest-bcdfghjkmnpq"
OFFERED = {"Offered": Form("https://github.com/org/repo", "main")}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_shared_server_has_an_account_and_a_home_of_its_own(house: House) -> None:
    launch = prepared(house.server(house.approve(SHARED)))
    assert launch.account is None
    assert launch.properties["DynamicUser"] == "yes"
    assert launch.properties["ProtectHome"] == "tmpfs"
    home = f"littlest-hub-homes/{ME}_x2fcourse"
    assert launch.properties["StateDirectory"] == home
    assert launch.environment["HOME"] == f"/var/lib/{home}"
    other = prepared(house.server(house.approve(replace(SHARED, name="two")), server="two"))
    assert other.properties["User"] != launch.properties["User"]
    usual = prepared(house.server(house.approve()))
    assert "DynamicUser" not in usual.properties


def test_a_temporary_server_has_its_home_in_memory(house: House) -> None:
    launch = prepared(house.server(house.approve(TEMPORARY)))
    assert launch.properties["DynamicUser"] == "yes"
    assert "StateDirectory" not in launch.properties
    assert launch.environment["HOME"] == "/run/jupyter/home"
    mounts = values(launch.properties, "TemporaryFileSystem")
    assert "/run/jupyter/home:mode=1777,nosuid,nodev,size=2G" in mounts
    assert mounts.index("/run/jupyter/home:mode=1777,nosuid,nodev,size=2G") > [
        each.partition(":")[0] for each in mounts
    ].index("/run/jupyter")


@pytest.mark.parametrize("configuration", [SHARED, TEMPORARY])
def test_the_server_of_an_administrator_never_becomes_root_if_others_use_it(
    house: House, configuration: Configuration
) -> None:
    id = house.approve(configuration)
    made = house.server(id)
    made.disable_user_sudo = False  # as the class stack does for administrators
    properties = prepared(made).properties
    assert properties["NoNewPrivileges"] == "yes"
    assert properties["CapabilityBoundingSet"] == ""


def test_limits_that_are_lowered_hold_for_what_was_shared_before(house: House) -> None:
    id = house.approve(SHARED)
    settings = replace(SETTINGS, collaborators=0)
    assert "cannot be shared at this hub" in refused(house.server(id, settings=settings))
    settings = replace(SETTINGS, is_temporary_possible=False)
    id = house.approve(TEMPORARY)
    assert "no temporary servers" in refused(house.server(id, settings=settings))


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (Form("gh/org/repo", temporary="yes", share="bob", name="x"), "share"),
        (Form("gh/org/repo", temporary="yes", mount="data:rw"), "mount"),
        (Form("gh/org/repo", temporary="no"), "temporary"),
        (Form("gh/org/repo", share="bob"), "name"),
    ],
)
def test_what_contradicts_itself_is_refused(form: Form, field: str) -> None:
    settings = Settings(volumes={"data": Volume("/srv/data", write=("*",))})
    choices = settings.choices_for("alice", [])
    with pytest.raises(FormError) as error:
        of_form(form, settings.policy, settings.caps, choices)
    assert [*error.value.problems] == [field]


# --- guests


def test_a_guest_starts_what_is_offered_and_nothing_else(house: House) -> None:
    settings = replace(SETTINGS, guests=2, prepared=OFFERED)
    id = house.approve(TEMPORARY, who=GUEST)
    assert prepared(house.server(id, who=GUEST, settings=settings))
    for other in (
        CONFIGURATION,
        replace(TEMPORARY, ref="other"),
        replace(TEMPORARY, repository="https://github.com/org/other"),
        replace(TEMPORARY, built="alpha"),
    ):
        id = house.approve(other, who=GUEST)
        assert "guests may launch only" in refused(house.server(id, who=GUEST, settings=settings))
    id = house.approve(SHARED, who=GUEST)
    assert "cannot be shared" in refused(house.server(id, who=GUEST, settings=settings))
    id = house.approve(TEMPORARY, who=GUEST)
    for none in (replace(settings, guests=0), replace(settings, prepared={})):
        assert "guests may launch only" in refused(house.server(id, who=GUEST, settings=none))


def test_a_guest_has_no_server_that_was_not_launched(house: House) -> None:
    settings = replace(SETTINGS, guests=2, prepared=OFFERED)
    made = house.server(None, who=GUEST, settings=settings, server="")
    with pytest.raises(RefusedError, match="guests may launch only"):
        asyncio.run(made.run_pre_spawn_hook())


def test_everybodys_volumes_are_not_those_of_guests() -> None:
    volumes = {
        "open": Volume("/srv/open", read=("*",)),
        "public": Volume("/srv/public", read=("guests",), write=("guests",)),
    }
    settings = Settings(volumes=volumes, guests=1)
    assert settings.choices_for(GUEST, ["physics"]).volumes == {"public": False}
    assert settings.choices_for("alice", []).volumes == {"open": False}


def test_names_of_guests_are_told_from_those_of_people() -> None:
    assert names.is_guest(names.new())
    assert names.new() != names.new()
    for name in ("guest", "guest-1", "guest-alice", f"{GUEST}x", "Guest-bcdfghjkmnpq"):
        assert not names.is_guest(name)


def test_wrong_values_about_guests_and_classes_are_named() -> None:
    prepared_one = {"Week 1": {"repo": "gh/org/repo"}}
    named = {"Week 1": {"repo": "gh/org/repo", "name": "week1"}}
    for wrong in (
        {"GUESTS": -1},
        {"GUESTS": True},
        {"COLLABORATORS": "all"},
        {"ONE_CLICK": {"class": ["Week 2"]}, "PREPARED": prepared_one},
        {"ONE_CLICK": {"class": ["Week 1"]}, "PREPARED": prepared_one},
        {"ONE_CLICK": {"class": "Week 1"}, "PREPARED": named},
        {"ONE_CLICK": ["Week 1"], "PREPARED": named},
    ):
        found = record_of(wrong, Values).problems()
        assert [name for name, _ in found] == [next(iter(wrong))], wrong
    right = {"ONE_CLICK": {"class": ["Week 1"]}, "PREPARED": named}
    found_values = record_of(right, Values)
    assert found_values.problems() == []
    settings = found_values.settings()
    assert Settings.from_json(settings.to_json()) == settings


# --- access beside a launch


def test_a_server_that_is_started_in_another_way_is_its_owners_alone(house: House) -> None:
    made = house.server(house.approve(SHARED))
    db, bob = made.user.db, orm.User(name="bob")
    db.add(bob)
    db.commit()
    made.apply_shares()
    assert db.query(orm.Share).count() == 1
    made.user_options = {}
    with pytest.raises(ConnectionError):  # what follows the judgment is the queue
        asyncio.run(_until_the_queue(made))
    assert db.query(orm.Share).count() == 0


async def _until_the_queue(made: Any) -> None:
    def join(_: int) -> None:
        raise ConnectionError

    made._join_queue = join
    await made.run_pre_spawn_hook()


def test_a_volume_that_a_collaborator_may_not_have_is_not_in_a_shared_server(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    volumes = {"data": Volume(str(tmp_path / "data"), read=("physics",))}
    settings = replace(SETTINGS, volumes=volumes)
    id = house.approve(replace(SHARED, mounts="data"))
    made = house.server(id, settings=settings, groups=["physics"])
    assert "bob, who may use this server, may not have its volumes" in refused(made)
    group = made.user.db.query(orm.Group).one()
    bob = orm.User(name="bob", groups=[group])
    made.user.db.add(bob)
    made.user.db.commit()
    assert prepared(made)
    bob.groups = []
    made.user.db.commit()
    assert "bob, who may use this server, may not have its volumes" in refused(made)


@pytest.mark.needs("root")
def test_the_home_of_a_shared_server_stays_when_its_owner_logs_out_everywhere(
    house: House,
) -> None:
    house.layout.home_owners.mkdir(parents=True)
    made = house.server(house.approve(SHARED))
    asyncio.run(made._claim_home())
    made.user.orm_user.cookie_id = "another"
    made.user.db.commit()
    stopped: list[str] = []

    async def stop() -> None:
        stopped.append("stopped")

    made._stop_unit = stop
    asyncio.run(made._claim_home())
    assert stopped == [], "the home is still theirs"
    made.user.orm_user.created = datetime(2020, 1, 1)
    asyncio.run(made._claim_home())
    assert stopped == ["stopped"], "the home of somebody who had the name before"
