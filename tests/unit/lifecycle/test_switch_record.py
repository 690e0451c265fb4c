"""The record of the last switch between releases."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.lifecycle import switch_record
from littlest_hub.lifecycle.switch_record import ServingRelease, Switch
from littlest_hub.lifecycle.unit_files import GeneratedFiles
from littlest_hub.lifecycle.upgrade import installed_releases

pytestmark = pytest.mark.unit

FILES = GeneratedFiles({"littlest-hub.service": "[Service]\n"}, None)
OLD = ServingRelease("releases/2026.11.0", "2026.11.0", FILES)
NEW = ServingRelease("releases/2026.11.1", "2026.11.1")
DONE = Switch("upgrade", OLD, NEW, is_done=True)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(DEFAULT_BASE, tmp_path)
    layout.on_disk(layout.state).mkdir(parents=True)
    return layout


def test_a_record_reads_back_as_it_was_written(layout: Layout) -> None:
    switch = Switch("rollback", NEW, OLD, earlier=DONE)
    switch_record.record(layout, switch)
    assert switch_record.read(layout) == switch
    assert layout.on_disk(layout.switch_record).stat().st_mode & 0o777 == 0o600
    switch_record.record(layout, None)
    assert switch_record.read(layout) is None


def test_the_hub_can_read_the_record_if_it_is_not_root(layout: Layout) -> None:
    switch_record.record(layout._replace(hub_user="lhub"), DONE)
    assert layout.on_disk(layout.switch_record).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verb": "upgrade", "from": null}', "\0"])
def test_a_record_that_is_damaged_is_none(layout: Layout, text: str) -> None:
    layout.on_disk(layout.switch_record).write_text(text)
    assert switch_record.read(layout) is None


def test_the_hub_finds_both_versions_where_it_looks_for_them(layout: Layout) -> None:
    # hub/database.py reads these keys; it may be of another release.
    switch_record.record(layout, DONE)
    record = json.loads(layout.on_disk(layout.switch_record).read_text())
    assert record["from"]["version"] == OLD.version
    assert record["to"]["version"] == NEW.version
    assert record["is_done"] is True


def test_each_step_of_a_switch_is_one_line_in_the_log(layout: Layout) -> None:
    switch_record.log(layout, DONE, "begun")
    switch_record.log(layout, DONE, "failed: no port\nThe journal's last lines:\n")
    lines = layout.on_disk(layout.upgrade_log).read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "upgrade 2026.11.0 -> 2026.11.1 begun",
        "upgrade 2026.11.0 -> 2026.11.1 failed: no port",
    ]


def test_the_releases_are_listed_with_their_roles_for_people_and_for_programs(
    layout: Layout,
) -> None:
    for version in ("2026.11.0", "2026.11.1", "2026.12.0"):
        prefix = layout.on_disk(layout.releases / version)
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin/python3").touch()
        (prefix / "conda-meta").mkdir()
        (prefix / f"conda-meta/littlest-hub-{version}-0.json").touch()
    layout.on_disk(layout.hub).symlink_to("releases/2026.11.1")
    switch_record.record(layout, DONE)
    found = list(installed_releases(layout))
    assert list(map(str, found)) == [
        "2026.11.0    rollback leads here",
        "2026.11.1    active",
        "2026.12.0    unused",
    ]
    assert json.loads(json.dumps(asdict(found[0]))) == {
        "name": "2026.11.0",
        "version": "2026.11.0",
        "is_active": False,
        "is_previous": True,
        "servers": [],
    }
