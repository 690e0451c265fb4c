"""Known vulnerabilities against pinned versions: the comparison, and what is pinned today."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from construct import advisories, advisory_list
from construct.__main__ import parser, run
from construct.builder import ROOT
from littlest_hub.errors import LittlestHubError

pytestmark = pytest.mark.unit

ENTRY = """\
- id: CVE-2026-1
  package: {package}
  affected: [{affected}]
  fixed: "{fixed}"
  date: 2026-01-02
  source: https://example.org/CVE-2026-1
  about: opens doors
"""


def listed(
    folder: Path,
    package: str = "jupyterhub",
    affected: str = '"<99"',
    *,
    fixed: str = "99.0",
    more: str = "",
) -> Path:
    """A list with one entry."""
    path = folder / "advisories.yaml"
    path.write_text(ENTRY.format(package=package, affected=affected, fixed=fixed) + more)
    return path


@pytest.mark.row(17)
def test_every_advisory_against_a_pinned_version_has_an_answer() -> None:
    assert "none unanswered" in advisories.refuse_affected(ROOT)


@pytest.mark.row(17)
def test_an_affected_pin_is_refused_with_both_versions_and_the_source(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError) as refused:
        advisories.refuse_affected(ROOT, listed(tmp_path))
    pinned = next(pin for pin in advisories.pins(ROOT) if pin.package == "jupyterhub")
    assert (
        f"environment.yml, construct/wheels.lock: jupyterhub {pinned.version} has CVE-2026-1"
        " (opens doors), fixed in 99.0; https://example.org/CVE-2026-1" in refused.value.message
    )


@pytest.mark.row(17)
def test_a_release_is_not_built_with_a_known_vulnerability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advisory_list, "LIST", listed(tmp_path))
    arguments = parser().parse_args(["--release", "--output", str(tmp_path / "dist")])
    with pytest.raises(LittlestHubError, match="CVE-2026-1"):
        run(arguments)
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("package", ["traefik", "python-fastjsonschema", "openssl", "libzlib"])
def test_wheels_and_native_packages_are_compared_by_their_names_for_conda(
    tmp_path: Path, package: str
) -> None:
    with pytest.raises(LittlestHubError, match=f": {package} "):
        advisories.refuse_affected(ROOT, listed(tmp_path, package))


@pytest.mark.parametrize(
    ("affected", "version", "is_affected"),
    [
        ('"<3.6.10"', "3.6.9", True),
        ('"<3.6.10"', "3.6.10", False),
        ('"<3.6.19", ">=3.7,<3.7.3"', "3.7.2", True),
        ('"<3.6.19", ">=3.7,<3.7.3"', "3.6.20", False),
        ('"<=6.1"', "6.1.0", True),
        ('"<6.1"', "6.0.0b2", True),
        ('"<2026.10"', "2026.9.30", True),
    ],
)
def test_versions_are_compared_as_packaging_does(
    tmp_path: Path, affected: str, version: str, is_affected: bool
) -> None:
    (entry,) = advisory_list.read(listed(tmp_path, affected=affected))
    assert entry.affects(version) == is_affected


def test_an_affected_version_with_an_answer_passes_and_the_answer_is_shown(tmp_path: Path) -> None:
    told = advisories.refuse_affected(ROOT, listed(tmp_path, more="  answer: nobody uses it\n"))
    assert "answer: nobody uses it" in told


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ({"affected": ""}, r"\.yaml:3: \[0\]\.affected: found \[\], expected a value"),
        ({"affected": '"under 3"'}, "CVE-2026-1: Invalid specifier"),
        ({"fixed": "soon"}, "CVE-2026-1: Invalid version"),
        (
            {"more": "  severity: high\n"},
            r"\.yaml:8: \[0\]\.severity: found the key 'severity', expected one of: id",
        ),
        ({"more": "  answer: [none]\n"}, r"\[0\]\.answer: found \['none'\], expected text"),
    ],
)
def test_an_entry_that_cannot_be_compared_is_named(
    tmp_path: Path, mistake: dict[str, str], reason: str
) -> None:
    with pytest.raises(LittlestHubError, match=reason):
        advisory_list.read(listed(tmp_path, **mistake))


def test_entries_are_unique_and_no_fixed_version_is_affected() -> None:
    entries = advisory_list.read()
    assert len({entry.id for entry in entries}) == len(entries)
    assert not [entry.id for entry in entries if entry.fixed and entry.affects(entry.fixed)]


def test_a_pin_that_goes_back_to_a_vulnerable_version_is_refused(tmp_path: Path) -> None:
    for name in ("construct", "recipe"):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = (ROOT / "environment.yml").read_text()
    earlier = re.sub(r" traefik ==\S+", " traefik ==3.7.12", text)
    (tmp_path / "environment.yml").write_text(earlier)
    with pytest.raises(LittlestHubError, match=r"traefik 3\.7\.12 has CVE-2026-114656 .* 3\.7\.13"):
        advisories.refuse_affected(tmp_path)


def test_the_release_ships_the_list_with_names_of_the_package_index(tmp_path: Path) -> None:
    shipped = json.loads(advisory_list.to_json(listed(tmp_path, package="python-tzdata")))
    assert shipped["newest"] == "2026-01-02"
    (entry,) = shipped["advisories"]
    assert entry["package"] == "tzdata"
    assert entry["affected"] == ["<99"]
