"""Servers with volumes of groups: the groups of the moment decide, for everybody who uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.utils import isoformat

from littlest_hub.stacks.launch.group_volumes import helper, store
from littlest_hub.stacks.launch.records import digest_of
from littlest_hub.stacks.launch.server.spawner import with_launch
from tests.unit.stacks.launch.test_launch_spawner import (
    CONFIGURATION,
    ME,
    SETTINGS,
    SLURM,
    House,
    prepared,
    refused,
    values,
)

NAME = "physics.data"
WITH = replace(SETTINGS, group_volumes={"staff": 2})
READ, WRITTEN = replace(CONFIGURATION, mounts=NAME), replace(CONFIGURATION, mounts=f"{NAME}:rw")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An installation with a volume of the group physics."""
    place = tmp_path / "volumes"
    monkeypatch.setattr(store, "place_of", lambda _: place)
    found = House(tmp_path)
    file = found.layout.fragments / "65-launch.py"
    file.parent.mkdir(parents=True)
    file.write_text("GROUP_VOLUMES = {'staff': 2}\n")
    return found


def make(house: House, *, person: str = "b" * 64, is_written_by_all: bool = False) -> None:
    volume = store.GroupVolume(NAME, "physics", "bob", person, is_written_by_all, 0)
    helper.make(house.layout, volume, 2)


def server(house: House, what: Any, groups: Sequence[str] = ("physics",), **more: Any) -> Any:
    return house.server(house.approve(what), settings=WITH, groups=groups, **more)


def test_a_member_has_the_volume_to_read_and_others_cannot_choose_it(house: House) -> None:
    make(house)
    shown = values(prepared(server(house, READ)).properties, "BindReadOnlyPaths")
    path = store.place_of(house.layout) / NAME / "files"
    assert f"{path}:/run/jupyter/volumes/{NAME}" in shown
    assert f"you may only read {NAME}" in refused(server(house, WRITTEN))
    for groups in ((), ("chemistry",), ("guests", "*")):
        assert f"there is no volume '{NAME}' for you" in refused(server(house, READ, groups))


def test_a_volume_that_all_write_is_written(house: House) -> None:
    make(house, is_written_by_all=True)
    properties = prepared(server(house, WRITTEN)).properties
    assert any(each.endswith(f":/run/jupyter/volumes/{NAME}") for each in properties["BindPaths"])
    other = prepared(house.server(house.approve(), settings=WITH, groups=["physics"]))
    assert "BindPaths" not in other.properties or NAME not in str(other.properties["BindPaths"])


def test_its_owner_writes_and_nobody_who_gets_the_name_later(house: House) -> None:
    made = server(house, WRITTEN)
    owner = digest_of(ME, isoformat(made.user.orm_user.created))
    make(house, person=owner)
    assert prepared(made)
    later = house.server(house.approve(WRITTEN), settings=WITH, groups=["physics"])
    row = later.user.orm_user
    row.created = row.created.replace(year=2031)
    assert "you may only read" in refused(later)


def test_a_volume_that_was_deleted_is_in_no_server(house: House) -> None:
    make(house)
    assert prepared(server(house, READ))
    helper.delete(house.layout, NAME)
    assert f"there is no volume '{NAME}' for you (any more)" in refused(server(house, READ))


def test_without_the_setting_there_are_none(house: House) -> None:
    make(house)
    made = house.server(house.approve(READ), settings=SETTINGS, groups=["physics"])
    assert f"there is no volume '{NAME}'" in refused(made)
    assert with_launch(SLURM, WITH).launch_settings.group_volumes == {}, "nor in jobs"


def test_a_link_in_the_place_of_the_files_is_refused(house: House) -> None:
    make(house)
    files = store.place_of(house.layout) / NAME / "files"
    files.rmdir()
    files.symlink_to("/root")
    assert "is a link" in refused(server(house, READ))


def test_collaborators_need_the_right_to_it_too(house: House) -> None:
    make(house)
    made = server(house, replace(READ, share="carol"))
    made.user.db.add(orm.User(name="carol"))
    made.user.db.commit()
    assert "carol, who may use this server, may not have its volumes" in refused(made)
    carol = orm.User.find(made.user.db, "carol")
    carol.groups.append(orm.Group.find(made.user.db, "physics"))
    made.user.db.commit()
    assert made.launched()
