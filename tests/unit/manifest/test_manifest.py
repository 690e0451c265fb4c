"""Manifests of stacks: what is refused, and which stacks are found."""

import dataclasses
from pathlib import Path

import pytest

from littlest_hub import stacks
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout, PackageSet
from littlest_hub.manifest import discovery
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.manifest import Manifest, Question, resolve
from littlest_hub.units import stack as stack_units
from tests.stacks.page import MODULE, code_of_page

GREETING = """\
from littlest_hub.manifest.manifest import Manifest
MANIFEST = Manifest(name="greeting", title="Greets")
"""
GROUP = Question("group", "Group", "", r"[a-z]*", "a group, or nothing")
GOOD = Manifest("greeting", "Greets", fragments=("60-greeting.py",), questions=(GROUP,))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "Greeting"}, "name 'Greeting': expected at most 16 lower-case letters"),
        ({"name": "user"}, "name 'user'"),
        ({"name": "check"}, "name 'check'"),
        ({"name": "../x"}, "name '../x'"),
        ({"title": ""}, "title ''"),
        ({"fragments": ("../60-greeting.py",)}, "fragment '../60-greeting.py'"),
        ({"service": "other"}, "service 'other': expected 'greeting' or nothing"),
        ({"units": "os.system"}, "reference 'os.system': expected MODULE:FUNCTION"),
        ({"foreground": "os:system"}, "foreground 'os:system': expected a module"),
        ({"questions": (dataclasses.replace(GROUP, key="a-b"),)}, "question 'a-b'"),
        ({"questions": (dataclasses.replace(GROUP, default="A"),)}, "its default is no answer"),
        ({"questions": (GROUP, GROUP)}, "expected each key once"),
    ],
)
def test_a_wrong_manifest_says_what_was_expected(changes: dict[str, object], text: str) -> None:
    assert list(GOOD.problems()) == []
    assert text in " ".join(dataclasses.replace(GOOD, **changes).problems())  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", ["Physics", "a\n", "\x1b[2J", "a b"])
def test_an_answer_that_does_not_match_is_refused(answer: str) -> None:
    with pytest.raises(LittlestHubError, match="expected a group, or nothing"):
        GROUP.refuse(answer)


def test_the_manifests_of_this_release_are_right() -> None:
    for name, stack in discovery.shipped().items():
        assert name == stack.manifest.name
        assert stack.directory.is_dir()
        assert stack.is_ours


def test_a_stack_of_this_release_without_a_manifest_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_OUR_STACKS", tmp_path)
    monkeypatch.setattr(stacks, "__path__", [str(tmp_path)])
    for name, text in (("half_written", ""), ("greeting_of_ours", GREETING)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    assert list(discovery.shipped()) == ["greeting"]


def _overlay(tmp_path: Path, module: str, text: str, entry_point: str) -> Path:
    packages = tmp_path / PackageSet.HUB
    (packages / module).mkdir(parents=True)
    (packages / module / "__init__.py").write_text(text)
    info = packages / f"{module}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[littlest_hub.stacks]\n{entry_point}\n")
    return tmp_path


def test_a_stack_from_elsewhere_is_found_by_its_entry_point(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, "greetings_1", GREETING, "greeting = greetings_1:MANIFEST")
    found, unusable = discovery.stacks_of(overlay)
    assert not unusable
    assert found["greeting"].origin == "greetings_1"
    assert found["greeting"].directory == overlay / "hub" / "greetings_1"


@pytest.mark.parametrize(
    ("text", "entry_point", "reason"),
    [
        ("MANIFEST = 1", "greeting = {}:MANIFEST", "expected a Manifest, found int"),
        ("1/0", "greeting = {}:MANIFEST", "division by zero"),
        ("raise SystemExit('gone')", "greeting = {}:MANIFEST", "cannot be used: gone"),
        (GREETING, "greeting = {}:OTHER", "OTHER"),
        (GREETING, "hello = {}:MANIFEST", "expected 'hello'"),
    ],
)
def test_a_broken_stack_from_elsewhere_is_named_and_leaves_the_others(
    tmp_path: Path, text: str, entry_point: str, reason: str, request: pytest.FixtureRequest
) -> None:
    module = f"broken_{abs(hash(request.node.name)) % 1000000}"
    overlay = _overlay(tmp_path, module, text, entry_point.format(module))
    found, unusable = discovery.stacks_of(overlay)
    assert found.keys() == discovery.shipped().keys()
    assert reason in str(unusable[0])


def test_a_stack_from_elsewhere_with_the_name_of_one_of_ours_is_ignored(tmp_path: Path) -> None:
    text = GREETING.replace("greeting", "announce")
    overlay = _overlay(tmp_path, "announcer_2", text, "announce = announcer_2:MANIFEST")
    found, (ignored,) = discovery.stacks_of(overlay)
    assert found["announce"].is_ours
    assert "stack announce of announcer_2 is ignored: littlest-hub has one" in str(ignored)


@pytest.mark.parametrize("text", ["raise SystemExit('gone')", "1/0", "no_such = (", ""])
def test_a_function_of_a_stack_that_cannot_be_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, request: pytest.FixtureRequest
) -> None:
    module = f"probing_{abs(hash(request.node.name)) % 1000000}"
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LittlestHubError, match=f"{module}:probe of a stack cannot be imported"):
        resolve(f"{module}:probe")


@pytest.mark.parametrize("name", discovery.shipped())
def test_what_a_manifest_of_ours_names_is_there(name: str) -> None:
    manifest = discovery.shipped()[name].manifest
    repository = Path(__file__).parents[3]
    fragments = [f"jupyterhub_config.d/{fragment}" for fragment in manifest.fragments]
    for file in (*fragments, manifest.page, *manifest.tests):
        assert (repository / file).is_file(), file
    assert manifest.page
    assert manifest.tests
    references = (manifest.units, *manifest.commands.values(), manifest.after_enable)
    references = (*references, manifest.before_enable, manifest.after_disable, *manifest.check)
    references = (*references, manifest.elsewhere, manifest.accounts)
    for reference in filter(None, (*references, *manifest.doctor)):
        assert callable(resolve(reference))


def test_the_stack_of_the_how_to_is_one(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE)
    files = code_of_page()
    overlay = _overlay(
        tmp_path, MODULE, files[f"{MODULE}/__init__.py"], f"greeting = {MODULE}:MANIFEST"
    )
    (overlay / PackageSet.HUB / MODULE / "units.py").write_text(files[f"{MODULE}/units.py"])
    found, unusable = discovery.stacks_of(overlay)
    assert not unusable
    stack = found["greeting"]
    (overlay / PackageSet.HUB / MODULE / "probes.py").write_text(files[f"{MODULE}/probes.py"])
    assert all(callable(resolve(each)) for each in stack.manifest.doctor + stack.manifest.check)
    assert stack.manifest.service == "greeting"
    units = stack_units.of_stack(layout, stack, EnabledStack("greeting", port=15003))
    assert [each.name for each in units] == [
        "littlest-hub.greeting.socket",
        "littlest-hub.greeting.service",
    ]
