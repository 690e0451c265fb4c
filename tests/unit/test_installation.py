"""An installation as it is read from disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An image of a machine."""
    return Layout(DEFAULT_BASE, tmp_path)


def test_a_hub_without_a_directory_of_its_own_runs_as_root(layout: Layout) -> None:
    layout.on_disk(layout.state).mkdir(parents=True)
    assert installation.of_base(layout.base, layout.root) == layout
    prefix = layout.releases / "2026.11.0"
    assert installation.of_prefix(prefix, layout.root) == layout


@pytest.mark.needs("root")
@pytest.mark.parametrize(("uid", "user"), [(0, None), (65534, "nobody"), (54321, "54321")])
def test_the_owner_of_its_directory_is_the_user_that_the_hub_runs_as(
    layout: Layout, uid: int, user: str | None
) -> None:
    own = layout.on_disk(layout.hub_user_state)
    own.mkdir(parents=True)
    os.chown(own, uid, -1)
    found = installation.of_base(layout.base, layout.root)
    assert found.hub_user == user
    assert found.hub_state == (layout.hub_user_state if user else layout.state)


def test_a_checkout_is_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/usr")
    with pytest.raises(LittlestHubError, match="/usr cannot be used"):
        installation.of_this_release()


def test_the_release_is_that_of_the_interpreter_not_of_the_hub_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = tmp_path / "releases" / "2026.11.0"
    release.mkdir(parents=True)
    (tmp_path / "hub").symlink_to("releases/2026.11.0")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "hub"))
    assert installation.release_of_this_interpreter() == release
    assert installation.of_this_release().base == tmp_path


def test_the_links_of_an_image_lead_into_the_image(layout: Layout) -> None:
    units = layout.on_disk(layout.system_units)
    units.mkdir(parents=True)
    (units / "a.service").symlink_to(layout.unit_directory / "a.service")
    (units / "b.service").touch()
    linked = layout.on_disk(layout.unit_directory) / "a.service"
    assert installation.installed_unit(layout, "a.service") == linked
    assert installation.installed_unit(layout, "b.service") == units / "b.service"


def test_drop_ins_of_other_hubs_are_not_ours(layout: Layout) -> None:
    units = layout.on_disk(layout.system_units)
    ours = (
        "littlest-hub.announce.socket.d",
        "littlest-hub.service.d",
        "littlest-hub.user-.service.d",
        "littlest-hub.user@a.service.d",
    )
    for name in (*ours, "littlest-hub-2.service.d", "littlest-hub-2.a.service.d", "x.d"):
        (units / name).mkdir(parents=True)
    found = installation.drop_in_directories(layout)
    assert found == [layout.system_units / name for name in ours]


def test_fragments_are_in_order_and_hidden_files_are_none(layout: Layout) -> None:
    assert installation.fragment_files(layout) == installation.ignored_files(layout) == []
    fragments = layout.on_disk(layout.fragments)
    fragments.mkdir(parents=True)
    for name in ("20-b.py", "10-a.py", ".10-a.py.lock", "30-c.py.disabled", "notes"):
        (fragments / name).touch()
    assert installation.fragment_files(layout) == [fragments / "10-a.py", fragments / "20-b.py"]
    assert installation.ignored_files(layout) == [
        fragments / "30-c.py.disabled",
        fragments / "notes",
    ]
