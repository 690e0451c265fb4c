"""Volumes: who may choose which, what a unit sees of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.launch import volumes
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.volumes import Volume, checked, mounts, offered, properties

DATA = Volume("/srv/data", read=("physics",), write=("staff",))
FINANCE = Volume("/srv/finance", write=("finance",))
OPEN = Volume("/srv/open", read=("*",))
ALL = {"data": DATA, "finance": FINANCE, "open": OPEN}


def test_groups_decide_what_is_offered_and_who_may_write() -> None:
    assert offered(ALL, ["physics", "*"]) == {"data": False, "open": False}
    assert offered(ALL, ["staff", "*"]) == {"data": True, "open": False}
    assert offered(ALL, ["physics", "finance"]) == {"data": False, "finance": True}
    assert offered(ALL, ["*"]) == {"open": False}
    assert offered(ALL, ["guests"]) == {}
    assert offered({"x": Volume("/srv/x")}, ["*"]) == {}


def test_a_choice_has_one_spelling() -> None:
    choice = {"data": True, "open": False}
    for text in ("open data:rw", "data:rw,open:ro", "  data:rw   open "):
        assert checked(text, choice) == "data:rw open"
    assert mounts("data:rw open") == [("data", True), ("open", False)]
    assert checked("", choice) == ""


@pytest.mark.parametrize(
    "text",
    [
        "finance",
        "data:rw",
        "data:rwx",
        "data:",
        "data data",
        "data data:ro",
        "../data",
        "/srv/data",
        "data:/etc",
        "data:ro:/etc",
        "Data",
        "data\0",
        "data\nInaccessiblePaths=/",
        "*",
        "%h",
        "${HOME}",
        "daten-ü",
        "https://dav.example.org/files",
        "file:///etc",
        "s3:bucket",
        ":local:/etc",
        "data,copy_links:/etc",
        "\\\\server\\share",
        "data#x",
        "da\u200bta",
    ],
)
def test_what_is_not_offered_is_refused_in_any_spelling(text: str) -> None:
    with pytest.raises(LittlestHubError):
        checked(text, {"data": False})


def test_a_volume_of_others_is_refused_as_one_that_does_not_exist() -> None:
    said = []
    for name in ("finance", "nothing"):
        with pytest.raises(LittlestHubError) as error:
            checked(name, offered(ALL, ["physics"]))
        said.append(error.value.message.replace(name, "X"))
    assert said[0] == said[1]


def test_a_link_may_name_volumes_several_times() -> None:
    assert Form.of_query({"mount": ["data", "", "open:rw"]}).mount == "data open:rw"


def test_a_unit_sees_the_chosen_ones_and_no_other() -> None:
    found = properties("data open:rw", ALL)
    assert found["InaccessiblePaths"] == ["-/srv/data", "-/srv/finance", "-/srv/open"]
    assert found["BindReadOnlyPaths"] == ["/srv/data:/run/jupyter/volumes/data"]
    assert found["BindPaths"] == ["/srv/open:/run/jupyter/volumes/open"]
    assert properties("", ALL) == {"InaccessiblePaths": found["InaccessiblePaths"]}
    assert properties("", {}) == {}


def test_a_directory_that_others_could_replace_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "srv/data").mkdir(parents=True)
    volumes.refuse_replaceable(DATA, tmp_path)
    (tmp_path / "srv/open").symlink_to(tmp_path / "srv/data")
    with pytest.raises(LittlestHubError, match="is a link"):
        volumes.refuse_replaceable(OPEN, tmp_path)
    with pytest.raises(LittlestHubError, match="No such file"):
        volumes.refuse_replaceable(FINANCE, tmp_path)
    (tmp_path / "srv/finance").write_text("")
    with pytest.raises(LittlestHubError, match="is no directory"):
        volumes.refuse_replaceable(FINANCE, tmp_path)


@pytest.mark.needs("root")
def test_a_volume_below_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "srv/data").mkdir(parents=True)
    (tmp_path / "srv").chmod(0o777)
    with pytest.raises(LittlestHubError, match="could put a link there"):
        volumes.refuse_replaceable(DATA, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"Data": {"path": "/srv/data"}},
        {"data": "/srv/data"},
        {"data": {"read": ["physics"]}},
        {"data": {"path": "/srv/data", "groups": ["physics"]}},
        {"data": {"path": "/srv/data", "read": "physics"}},
        {"data": {"path": "/srv/data", "write": [""]}},
        *({"data": {"path": path}} for path in ("/", "/srv", "/usr/share/x", "/etc/x", "srv/data")),
        *({"data": {"path": path}} for path in ("/srv/../etc", "/srv/a b", "/srv/a:/b", "/srv/'x")),
        {"data": {"path": ["/srv/data"]}},
        ["data"],
    ],
)
def test_a_wrong_volume_is_named_and_makes_no_settings(wrong: Any) -> None:
    found = record_of({"VOLUMES": wrong}, Values)
    assert [name for name, _ in found.problems()] == ["VOLUMES"]


def test_a_prepared_launch_may_have_any_volume_of_the_fragment() -> None:
    prepared = {"Week 1": {"repo": "gh/org/repo", "mount": "data:rw"}}
    variables = {
        "VOLUMES": {"data": {"path": "/srv/data", "write": ["staff"]}},
        "PREPARED": prepared,
    }
    assert record_of(variables, Values).problems() == []
    del variables["VOLUMES"]
    assert [name for name, _ in record_of(variables, Values).problems()] == ["PREPARED"]
