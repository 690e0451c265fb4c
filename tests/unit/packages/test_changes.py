"""Changes of packages: whatever fails leaves the present overlay, lists and wheels in use."""

import os
import shutil
import subprocess
import sys

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay, overlays_of
from littlest_hub.layout import PackageSet
from littlest_hub.lifecycle import release
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.packages import changes, overlay, requirements
from littlest_hub.packages.listing import listing
from tests import wheels
from tests.unit.packages.here import Installation

FRAGMENT = """\
import shy
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "a password of 25 letters"
c.Authenticator.allow_all = True
"""

USER = """
import sys
from littlest_hub.system.import_path import append_packages
append_packages(sys.argv[1], "hub")
import shy
print(shy.VERSION, flush=True)
sys.stdin.read()
"""


def test_packages_are_added_with_what_they_need_and_removed_with_it(here: Installation) -> None:
    wheels.make(here.wheels, "shy", requires=["timid"])
    wheels.make(here.wheels, "timid", "3.1")
    assert [*here.add("shy").lines()] == ["+ shy 1.0  (hub)", "+ timid 3.1  (hub)"]
    assert (here.overlay / "hub/timid.py").is_file()
    assert any((here.overlay / "hub/__pycache__").iterdir()), "they are not compiled"
    assert [each.text for each in requirements.read(here.layout)[PackageSet.HUB]] == ["shy"]
    assert [*here.remove("shy").lines()] == ["- shy 1.0  (hub)", "- timid 3.1  (hub)"]
    assert active_overlay(here.layout, here.prefix) is None


@pytest.mark.long
def test_user_servers_may_read_packages_whatever_the_umask(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    umask = os.umask(0o077)
    try:
        here.add("shy", to=PackageSet.SERVER)
    finally:
        os.umask(umask)
    module = here.overlay / "server" / "shy.py"
    above = [each for each in module.parents if each.is_relative_to(here.layout.packages)]
    assert {each.stat().st_mode & 0o777 for each in above} == {0o755}
    assert module.stat().st_mode & 0o444 == 0o444


def test_what_a_power_failure_left_of_an_overlay_is_built_again(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    name, module = here.overlay.name, (here.overlay / "hub/shy.py").read_bytes()
    here.remove("shy")
    directory = overlays_of(here.layout, here.prefix)
    shutil.rmtree(directory / name)
    left = directory / f".building-{name}" / "hub"
    left.mkdir(parents=True)
    (left / "shy.py").write_text("half a mod")
    here.add("shy")
    assert here.overlay.name == name
    assert (here.overlay / "hub/shy.py").read_bytes() == module


@pytest.mark.long
def test_a_set_costs_the_others_nothing(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    wheels.make(here.wheels, "tool", entry_points="[console_scripts]\nhammer = tool:main\n")
    here.add("shy", to=PackageSet.SERVER)
    here.add("tool", to=PackageSet.TOOLS)
    assert sorted(each.name for each in here.overlay.iterdir()) == ["lock.json", "server", "tools"]
    assert not (here.overlay / "server/tool.py").exists()
    assert os.access(here.overlay / "tools/bin/hammer", os.X_OK)


@pytest.mark.long
def test_scripts_of_packages_for_hub_and_servers_are_not_installed(here: Installation) -> None:
    wheels.make(here.wheels, "shy", entry_points="[console_scripts]\npip = shy:main\n")
    here.add("shy")
    assert not (here.overlay / "hub/bin").exists()
    assert not [*overlay.altered(here.layout, here.overlay)]


def test_everybody_may_read_the_packages_whatever_the_umask(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    before = os.umask(0o077)
    try:
        here.add("shy")
    finally:
        os.umask(before)
    modes = {f"{each.stat().st_mode & 0o777:o}" for each in here.overlay.rglob("*")}
    assert modes <= {"755", "444", "555"}
    assert here.overlay.stat().st_mode & 0o777 == 0o755


def test_a_hostile_wheel_changes_nothing(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    wheels.make(here.wheels, "evil", files={"own/patched.py": ""})
    here.add("shy")
    before = here.overlay
    with pytest.raises(LittlestHubError, match="belongs to a package of the release"):
        here.add("evil")
    assert here.overlay == before
    assert [each.text for each in requirements.read(here.layout)[PackageSet.HUB]] == ["shy"]
    assert not [*overlays_of(here.layout, here.prefix).glob(".*")]


def test_a_fragment_finds_the_packages_and_keeps_them_from_being_removed(
    here: Installation,
) -> None:
    wheels.make(here.wheels, "shy")
    fragment = here.layout.fragments / "20-shy.py"
    fragment.write_text(FRAGMENT)
    here.add("shy")
    before = here.overlay
    with pytest.raises(LittlestHubError, match=rf"{fragment}:1: .*shy"):
        here.remove("shy")
    assert here.overlay == before
    assert listing(here.layout, here.prefix).pending == ()


def test_a_change_that_the_check_refuses_leaves_no_overlay_and_no_wheel(
    here: Installation,
) -> None:
    wheels.make(here.wheels, "shy")
    wheels.make(here.wheels, "bold")
    here.add("shy")
    before = here.files
    (here.layout.fragments / "20-wrong.py").write_text("c.JupyterHub.no_such_setting = 1\n")
    with pytest.raises(LittlestHubError, match="no_such_setting"):
        here.add("bold")
    assert here.files == before


@pytest.mark.long
def test_what_an_edited_list_lacks_is_asked_for_again(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    (here.layout.packages / "hub.txt").write_text("# my list\n")
    assert listing(here.layout, here.prefix).pending
    assert not [*here.add("shy").lines()]
    assert not listing(here.layout, here.prefix).pending
    assert (here.layout.packages / "hub.txt").read_text() == "# my list\nshy\n"


def test_the_package_of_a_stack_that_is_enabled_is_not_removed(here: Installation) -> None:
    points = "[littlest_hub.stacks]\nshy = shy:MANIFEST\n"
    wheels.make(here.wheels, "shy", entry_points=points)
    here.add("shy")
    enabled.write_record(here.layout, {"shy": EnabledStack("shy")})
    with pytest.raises(LittlestHubError, match="the stack shy is enabled") as refused:
        here.remove("shy")
    assert "littlest-hub disable shy" in str(refused.value.hint)
    assert (here.overlay / "hub/shy.py").is_file()
    enabled.write_record(here.layout, {})
    here.remove("shy")
    assert active_overlay(here.layout, here.prefix) is None


@pytest.mark.long
def test_a_package_that_an_enabled_stack_needs_is_not_removed(here: Installation) -> None:
    wheels.make(here.wheels, "uv")
    here.add("uv", to=PackageSet.TOOLS)
    # It was there before the stack, so its record does not have it.
    enabled.write_record(here.layout, {"launch": EnabledStack("launch")})
    with pytest.raises(LittlestHubError, match="launch is enabled, and needs uv") as refused:
        here.remove("uv")
    assert "littlest-hub disable launch" in str(refused.value.hint)
    assert [each.name for each in requirements.read(here.layout)[PackageSet.TOOLS]] == ["uv"]
    enabled.write_record(here.layout, {})
    here.remove("uv")
    assert active_overlay(here.layout, here.prefix) is None


def test_without_a_network_what_was_added_before_stays_and_one_of_several_is_removed(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    shutil.rmtree(here.wheels)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wheels.make(here.wheels, "bold")
    assert [*here.add("bold").lines()] == ["+ bold 1.0  (hub)"]
    kept = here.layout.wheels / "shy-1.0-py3-none-any.whl"
    before = kept.read_bytes()
    wheels.make(here.layout.wheels, "shy", files={"shy.py": "evil = True\n"})
    with pytest.raises(LittlestHubError, match="not the file that an earlier lock names"):
        here.remove("bold")
    kept.write_bytes(before)
    assert [*here.remove("bold").lines()] == ["- bold 1.0  (hub)"]
    assert (here.overlay / "hub/shy.py").is_file()


@pytest.mark.long
def test_what_only_the_overlay_has_is_removed(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    (here.layout.packages / "hub.txt").write_text("")
    assert [*here.remove("shy").lines()] == ["- shy 1.0  (hub)"]
    assert active_overlay(here.layout, here.prefix) is None


@pytest.mark.long
def test_what_the_release_has_is_asked_for_and_adds_nothing(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    assert not [*here.add("packaging").lines()], "the release of this test has packaging"
    assert not listing(here.layout, here.prefix).pending
    assert [*here.remove("packaging").lines()] == []
    assert active_overlay(here.layout, here.prefix) is None


@pytest.mark.long
def test_a_package_that_stays_is_not_moved_without_a_need(here: Installation) -> None:
    wheels.make(here.wheels, "timid", "1.0")
    wheels.make(here.wheels, "shy", requires=["timid"])
    here.add("shy")
    wheels.make(here.wheels, "timid", "2.0")
    wheels.make(here.wheels, "bold")
    assert [*here.add("bold").lines()] == ["+ bold 1.0  (hub)"]
    wheels.make(here.wheels, "proud", requires=["timid>=2"])
    assert [*here.add("proud").lines()] == ["+ proud 1.0  (hub)", "  timid 1.0 -> 2.0  (hub)"]


@pytest.mark.long
def test_overlays_in_use_stay_and_others_go(here: Installation) -> None:
    for name in ("shy", "bold", "proud"):
        wheels.make(here.wheels, name)
    here.add("shy")
    first = here.overlay
    use = "from littlest_hub.system.import_path import append_packages as use; import sys;"
    use += (
        f"use({str(first)!r}, 'hub'); import shy; print(shy.VERSION, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", use], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdin
        assert server.stdout.readline() == "1.0\n"
        here.add("bold")
        here.add("proud")
        assert first.is_dir(), "a server uses it"
        server.stdin.close()
    here.add("proud>=1", to=PackageSet.SERVER)
    assert not first.exists()


def test_what_a_killed_change_leaves_is_removed_by_the_next_one(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    left = overlays_of(here.layout, here.prefix) / ".building-0123"
    (left / "hub").mkdir(parents=True)
    here.add("shy")
    assert not left.exists()


def test_altered_files_are_found_and_built_again(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    file = here.overlay / "hub/shy.py"
    file.chmod(0o644)
    file.write_text("VERSION = 'altered'\n")
    added = here.overlay / "hub/added.py"
    added.write_text("")
    assert [*overlay.altered(here.layout, here.overlay)] == [str(added), str(file)]
    changes.rebuild(here.layout, here.prefix, lambda _: None)
    assert file.read_text() == "VERSION = '1.0'\n"
    assert not added.exists()


@pytest.mark.parametrize("content", [None, b"altered"])
def test_a_kept_wheel_that_is_missing_or_altered_is_fetched_again(
    here: Installation, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    (kept,) = here.layout.wheels.iterdir()
    before = kept.read_bytes()
    kept.unlink()
    if content:
        kept.write_bytes(content)
    with pytest.raises(LittlestHubError, match=rf"(?s){kept} .*packages rebuild"):
        list(overlay.altered(here.layout, here.overlay))
    monkeypatch.setenv("PIP_FIND_LINKS", str(here.wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert not [*changes.rebuild(here.layout, here.prefix, lambda _: None).lines()]
    assert kept.read_bytes() == before
    assert not [*overlay.altered(here.layout, here.overlay)]


def test_a_release_that_is_not_active_gets_its_own_packages_from_the_kept_wheels(
    here: Installation,
) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    following = wheels.release(here.layout.releases / "2.0")
    changes.prepare(here.layout, following, lambda _: None)
    assert active_overlay(here.layout, following) != here.overlay
    assert (overlays_of(here.layout, following) / "active/hub/shy.py").is_file()


def test_a_release_that_is_removed_takes_its_packages_with_it(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    following = wheels.release(here.layout.releases / "2.0")
    changes.prepare(here.layout, following, lambda _: None)
    for prefix in (here.prefix, following):
        (prefix / "conda-meta").mkdir()
        (prefix / f"conda-meta/littlest-hub-{prefix.name}-0.json").touch()
    (said,) = release.remove_unused(here.layout, keep={following})
    assert "releases/1.0 was removed" in said
    assert not overlays_of(here.layout, here.prefix).exists()
    assert (overlays_of(here.layout, following) / "active/hub/shy.py").is_file()


@pytest.mark.parametrize(
    ("published", "hint"),
    [
        (["1.0", "1.1"], "This would do: shy==1.1"),
        (["1.1"], "Ask for that: shy==1.1"),
        pytest.param([], "No version of it fits this release", marks=pytest.mark.long),
    ],
)
def test_a_release_that_a_package_does_not_fit_is_refused_with_what_the_index_has_instead(
    here: Installation, monkeypatch: pytest.MonkeyPatch, published: list[str], hint: str
) -> None:
    wheels.make(here.layout.wheels, "shy", requires=["own<2"])
    here.wheels.mkdir()
    for version in published:
        needs = ["own<2"] if version == "1.0" else []
        wheels.make(here.wheels, "shy", version, requires=needs)
    monkeypatch.setenv("PIP_FIND_LINKS", str(here.wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    asked = here.layout.packages / "hub.txt"
    asked.write_text("# a login\nshy==1.0\n")
    following = wheels.release(here.layout.releases / "2.0")
    with pytest.raises(LittlestHubError) as refused:
        changes.prepare(here.layout, following, lambda _: None)
    assert refused.value.message == f"{asked}:2: shy 1.0 needs own<2, the release has own 2.0"
    assert refused.value.hint == hint
    assert active_overlay(here.layout, following) is None


@pytest.mark.long
def test_a_release_that_the_kept_wheel_does_not_fit_gets_a_later_version_of_the_index(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.make(here.layout.wheels, "shy", requires=["own<2"])
    wheels.make(here.wheels, "shy", "1.1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(here.wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (here.layout.packages / "hub.txt").write_text("shy\n")
    following = wheels.release(here.layout.releases / "2.0")
    changes.prepare(here.layout, following, lambda _: None)
    module = overlays_of(here.layout, following) / "active/hub/shy.py"
    assert module.read_text() == "VERSION = '1.1'\n"


@pytest.mark.long
def test_lists_that_were_edited_are_named_until_they_are_applied(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy")
    file = here.layout.packages / "hub.txt"
    file.write_text("")
    (pending,) = listing(here.layout, here.prefix).pending
    assert pending == f"{file}: shy is no longer asked for"
    changes.rebuild(here.layout, here.prefix, lambda _: None)
    assert active_overlay(here.layout, here.prefix) is None
