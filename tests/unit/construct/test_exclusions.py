"""Files left out of wheels: the list, and the checks that keep it true."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from construct import exclusions, wheels
from construct.condapkg import SITE_PACKAGES
from construct.exclusions import Exclusion
from littlest_hub.errors import LittlestHubError
from tests.unit.construct.test_wheels import make_wheel

ROOT = Path(__file__).parents[3]
LIST = ROOT / "recipe" / "exclusions.yaml"
FILES = {
    "thing/__init__.py": b"",
    "thing/tests/__init__.py": b"",
    "thing/tests/deep/test_it.py": b"assert True\n",
    "thing/page/a.js": b"let a;\n",
    "thing/page/more/b.js": b"let b;\n",
    "thing-1.0.data/data/share/thing/page/a.js": b"let a;\n",
    "thing-1.0.data/data/share/thing/page/more/b.js": b"let b;\n",
    "thing-1.0.data/data/share/thing/page/c.js": b"let c;\n",
    "thing-1.0.data/data/share/thing/sources/c.scss": b"",
}


def entry(*paths: str, twin: str = "") -> Exclusion:
    return Exclusion("thing", paths, "why", "proof", twin)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_entry_names_a_pinned_wheel_and_existing_tests() -> None:
    lock = wheels.read_lock((ROOT / "construct" / "wheels.lock").read_text())
    pinned = {wheels.conda_name(each.name) for each in lock}
    entries = exclusions.read(LIST)
    assert entries
    for each in entries:
        assert each.package in pinned
        for proof in each.proof.split(", "):
            assert (ROOT / proof).is_file(), f"{each.package}: {proof}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": None}, r"\.yaml:2: \[0\]\.paths: found nothing, expected a list"),
        ({"paths": []}, r"\[0\]\.paths: found \[\], expected a value"),
        ({"why": ""}, r"\[0\]\.why: found '', expected a value"),
        ({"proof": ""}, r"\[0\]\.proof: found '', expected a value"),
        ({"since": "2026"}, "found the key 'since', expected one of: package, paths"),
        (
            {"paths": ["a/*", "b/*"], "twin": "share/a"},
            r"\[0\]\.paths: found .*, expected one folder for a twin",
        ),
        (
            {"paths": ["a/*.js"], "twin": "share/a"},
            r"\[0\]\.paths: found .*, expected one folder for a twin",
        ),
    ],
)
def test_an_invalid_entry_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    whole = {"package": "thing", "paths": ["thing/tests/*"], "why": "tests", "proof": "a test"}
    path = tmp_path / "exclusions.yaml"
    path.write_text(yaml.safe_dump([whole]))
    assert exclusions.read(path)[0].paths == ("thing/tests/*",)
    path.write_text(yaml.safe_dump([{**whole, **change}]))
    with pytest.raises(LittlestHubError, match=message):
        exclusions.read(path)


def test_excluded_files_are_in_no_folder_and_in_no_record(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    wheel = make_wheel(tmp_path, "thing", FILES)
    wheels.unpack(wheel, tree, [entry("thing/tests/*"), entry("share/thing/sources/*")])
    site = tree / SITE_PACKAGES
    assert not (site / "thing" / "tests").exists()
    assert not (tree / "share" / "thing" / "sources").exists()
    assert (site / "thing" / "__init__.py").exists()
    assert files_below(tree / "share") == {
        "thing/page/a.js",
        "thing/page/c.js",
        "thing/page/more/b.js",
    }
    with (site / "thing-1.0.dist-info" / "RECORD").open() as stream:
        recorded = {(site / row[0]).resolve() for row in csv.reader(stream)}
    assert recorded == {path.resolve() for path in tree.rglob("*") if path.is_file()}


def test_a_pattern_without_a_match_fails_the_build_and_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", FILES)
    with pytest.raises(LittlestHubError, match=r"no file of thing matches thing/benchmarks/\*"):
        wheels.unpack(wheel, tmp_path / "tree", [entry("thing/tests/*", "thing/benchmarks/*")])


def test_a_duplicate_folder_becomes_a_link_to_its_twin(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    wheel = make_wheel(tmp_path, "thing", FILES)
    wheels.unpack(wheel, tree, [entry("thing/page/*", twin="share/thing/page")])
    link = tree / SITE_PACKAGES / "thing" / "page"
    assert str(link.readlink()) == "../../../../share/thing/page"
    assert (link / "more" / "b.js").read_bytes() == b"let b;\n"


def test_a_twin_with_other_content_fails_the_build(tmp_path: Path) -> None:
    changed = {**FILES, "thing/page/more/b.js": b"let another;\n"}
    wheel = make_wheel(tmp_path, "thing", changed)
    with pytest.raises(LittlestHubError, match=r"thing/page/more/b\.js of thing is not as in"):
        wheels.unpack(wheel, tmp_path / "tree", [entry("thing/page/*", twin="share/thing/page")])
