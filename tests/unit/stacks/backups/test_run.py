"""A run of real restic, as the nightly unit makes it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.backups.backup.run import _made
from tests.unit.stacks.backups.conftest import Scene


@pytest.mark.needs("restic", "root")
def test_a_file_that_is_larger_than_its_disk_holds_up_no_backup(scene: Scene) -> None:
    disk = os.statvfs(scene.home)
    written = scene.write("plan.txt", "read me")
    os.truncate(scene.write("holes.img", ""), disk.f_blocks * disk.f_frsize + 1)
    settings = replace(scene.settings, folders=[str(scene.homes)])

    made = _made(Layout(DEFAULT_BASE), scene.place, settings, scene.repository, print)

    listed = scene.repository.run("ls", made.snapshot, str(scene.home))
    assert str(written) in listed
    assert "holes.img" not in listed
    assert made.unread == []
