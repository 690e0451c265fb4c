"""Values of the launch stack's fragment: what they become, and which are refused."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.layout import Layout
from littlest_hub.manifest.plain_values import parse, record_of
from littlest_hub.stacks.launch import permissions
from littlest_hub.stacks.launch.fragment import FRAGMENT, Values
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.resolver import settings as resolver
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.system.files import write

ROOT = Path(__file__).parents[4]
STOCK = ROOT / "jupyterhub_config.d" / FRAGMENT


def values(**variables: Any) -> Values:
    return record_of(variables, Values)


def test_the_stock_fragment_has_the_usual_values() -> None:
    found = parse(STOCK.read_text(), Values)
    assert found.problems() == []
    assert (found.settings(), found.policy) == (Settings(), Values().policy)
    assert {name.upper() for name in Values.__dataclass_fields__} == {
        line.partition(" = ")[0]
        for line in STOCK.read_text().splitlines()
        if " = " in line
        if line[0].isupper()
    }


def explained(page: str, heading: str) -> list[str]:
    """Return the names in the first column of the first table below a heading of a page."""
    text = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2]
    rows = re.search(r"\|---.*\n((?:\|.*\n)+)", text)
    assert rows
    return [
        name for row in rows[1].splitlines() for name in re.findall("`(.+?)`", row.split("|")[1])
    ]


def test_each_value_and_each_field_of_a_link_is_explained_once() -> None:
    values = sorted(name.upper() for name in Values.__dataclass_fields__)
    assert sorted(explained("how-to/launch.md", "What you decide")) == values
    links = sorted(each.name for each in fields(Form))
    assert sorted(explained("reference/launch.md", "Fields of a link")) == links


def test_values_become_settings_of_the_hub_and_of_the_resolver(tmp_path: Path) -> None:
    found = values(
        ALLOWED=["gitlab.physics.lan/*"],
        HOSTS=["gitlab.physics.lan"],
        NETWORKS=["10.1.2.0/24"],
        CHANNELS={"own": "https://conda.physics.lan/own"},
        MEMORY_GB=4,
        PREPARED={"Week 1": {"repo": "https://gitlab.physics.lan/a/b", "memory_gb": "2"}},
    )
    assert found.problems() == []
    settings = found.settings()
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.prepared["Week 1"].memory_gb == "2"
    file = tmp_path / "resolver.json"
    write(file, json.dumps(permissions.of_resolver(found, "3.13.5")))
    read = resolver.read(file)
    assert (read.policy, read.networks, read.pythons) == (
        settings.policy,
        ("10.1.2.0/24",),
        ("3.13",),
    )
    assert read.channels == {"own": "https://conda.physics.lan/own"}


def test_cleaning_may_keep_what_the_fragment_says(tmp_path: Path) -> None:
    found = permissions.of_cleaning(Layout(tmp_path), values(DISK_GB=2.5))
    assert found == {"budget_bytes": 2_500_000_000, "kept": []}


@pytest.mark.parametrize(
    ("variables", "name", "text"),
    [
        ({"ALLOWED": "github.com/*"}, "ALLOWED", "expected a list of texts"),
        ({"ALLOWED": ["https://github.com/physics/*"]}, "ALLOWED", "expected HOST/PATH"),
        ({"ALLOWED": ["github.com"]}, "ALLOWED", "expected HOST/PATH"),
        ({"ALLOWED": ["github.com/physics/"]}, "ALLOWED", "expected HOST/PATH"),
        ({"BANNED": ["github.com/physics/a.git"]}, "BANNED", "expected HOST/PATH"),
        ({"HOSTS": ["https://gitlab.physics.lan"]}, "HOSTS", "expected a host"),
        ({"NETWORKS": ["10.1.2.0/33"]}, "NETWORKS", "no network"),
        ({"NETWORKS": ["intranet"]}, "NETWORKS", "no network"),
        ({"MEMORY_GB": "4"}, "MEMORY_GB", "expected a number"),
        ({"MEMORY_GB": True}, "MEMORY_GB", "expected a number"),
        ({"HOURS": -1}, "HOURS", "expected a number"),
        ({"DISK_GB": 0}, "DISK_GB", "expected a number from 1"),
        ({"BUILDS_PER_PERSON": 0}, "BUILDS_PER_PERSON", "expected 1 or more"),
        ({"CHANNELS": ["conda-forge"]}, "CHANNELS", "expected addresses by name"),
        ({"CHANNELS": {"own": "/srv/channel"}}, "CHANNELS", "is no address of a channel"),
        ({"CA_FILE": "ca.pem"}, "CA_FILE", "expected an absolute path"),
        ({"ADDRESS": "https://hub.org"}, "ADDRESS", "expected a slash"),
        ({"HUBS": {"Other": "https://hub.org"}}, "HUBS", "expected a slash"),
        ({"CREDITS": {"Us": "javascript:alert(1)"}}, "CREDITS", "expected https://"),
        ({"TITLE": "two\nlines"}, "TITLE", "expected a text"),
        ({"PREPARED": {"A": {"repository": "x"}}}, "PREPARED", "'repository' is no field"),
        ({"PREPARED": {"A": {"repo": "https://localhost/x"}}}, "PREPARED", "no name in the public"),
        ({"PREPARED": {"A": "https://github.com/a/b"}}, "PREPARED", "fields of the form"),
        (
            {"PREPARED": {"A": {"repo": "https://github.com/a/b", "memory_gb": "2"}}},
            "PREPARED",
            "it cannot be chosen at this hub",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    variables: dict[str, Any], name: str, text: str
) -> None:
    ((found, problem),) = values(**variables).problems()
    assert found == name
    assert text in problem
