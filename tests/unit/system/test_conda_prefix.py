"""Packages of a conda prefix that are copied elsewhere."""

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import conda_prefix

OLD, NEW = b"/opt/hub/releases/1", b"/opt/hub/environments/class"


def test_text_gets_the_new_prefix() -> None:
    assert conda_prefix.moved(b"#!%s/bin/python3\n" % OLD, OLD, NEW) == b"#!%s/bin/python3\n" % NEW


def test_a_binary_keeps_its_length_and_what_follows_a_string() -> None:
    data = b"\x7fELF\0" + OLD + b"/lib:" + OLD + b"\0" * 60 + b"other\0"
    moved = conda_prefix.moved(data, OLD, NEW)
    assert len(moved) == len(data)
    assert NEW + b"/lib:" + NEW + b"\0" in moved
    assert moved.endswith(b"\0other\0")


def test_a_binary_without_room_is_refused() -> None:
    with pytest.raises(LittlestHubError, match="no room"):
        conda_prefix.moved(b"\0" + OLD + b"\0next", OLD, NEW)


def test_what_a_package_needs_comes_with_it() -> None:
    depends = {"ipykernel": ["pyzmq >=25", "python"], "pyzmq": ["ipykernel"], "jupyterhub": []}
    assert sorted(conda_prefix.needed(["ipykernel"], depends)) == ["ipykernel", "python", "pyzmq"]
