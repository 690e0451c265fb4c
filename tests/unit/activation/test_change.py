"""Stacks that are enabled and disabled on disk: fragments, packages and records, whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.activation import answers, change, listing
from littlest_hub.activation.plan import Plan, to_disable, to_enable
from littlest_hub.check import checker, effective_configuration
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.manifest import enabled
from littlest_hub.manifest.discovery import Stack, shipped
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.manifest import Manifest, Question
from tests import wheels

FRAGMENT = """\
# Greets.
import shy
GREETING = "hello"  # to everybody
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "a password of 25 letters"
c.Authenticator.allow_all = True
c.JupyterHub.template_vars.update({"greeting": GREETING, "by": shy.VERSION})
"""
MANIFEST = Manifest(
    "greeting",
    "Greets",
    fragments=("60-greeting.py",),
    packages={PackageSet.HUB: ("shy>=1",)},
    questions=(Question("greeting", "What to say", "hello", r"[a-z \"\\]+", "lower-case words"),),
)


class Here:
    """A base directory with a release, and a stack from elsewhere."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout(base)
        self.prefix = wheels.release(base / "releases/1.0")
        self.layout.fragments.mkdir()
        self.layout.state.mkdir()
        directory = base.parent / "greeting"
        (directory / "fragments").mkdir(parents=True)
        (directory / "fragments/60-greeting.py").write_text(FRAGMENT)
        self.stack = Stack(MANIFEST, directory, "greetings")
        self.fragment = self.layout.fragments / "60-greeting.py"

    def enable(self, **given: str) -> Plan:
        plan = to_enable(self.layout, self.stack, given, None)
        change.enable(self.layout, self.prefix, plan, lambda _: None)
        return plan

    def disable(self) -> Plan:
        how = enabled.read(self.layout)["greeting"]
        plan = to_disable(self.layout, how, self.stack, [])
        change.disable(self.layout, self.prefix, plan, lambda _: None)
        return plan

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.layout.base))
            for path in self.layout.base.rglob("*")
            if not path.is_relative_to(self.prefix) and path.suffix != ".lock"
        }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    shelf = tmp_path / "wheels"
    wheels.make(shelf, "shy")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return Here(tmp_path / "base")


def test_a_stack_is_enabled_and_disabled_with_its_packages(here: Here) -> None:
    before = here.files()
    plan = here.enable(greeting='a "b" \\ c')
    assert [*with_units(plan).lines()] == [
        f"write {here.fragment}",
        "add packages: shy>=1",
        "reload the hub; user servers go on",
    ]
    assert 'GREETING = "a \\"b\\" \\\\ c"  # to everybody' in here.fragment.read_text()
    assert active_overlay(here.layout, here.prefix)
    known = enabled.read(here.layout)["greeting"]
    assert known.packages == {PackageSet.HUB: ("shy>=1",)}
    assert [*with_units(here.disable()).lines()] == [
        f"remove {here.fragment}, which you have not changed",
        "remove packages: shy>=1",
        "reload the hub; user servers go on",
    ]
    assert active_overlay(here.layout, here.prefix) is None
    left = {each for each in here.files() - before if not each.startswith("packages")}
    assert not left
    assert (here.layout.packages / "hub.txt").read_text() == ""


def test_what_a_stack_has_set_is_shown_with_the_line_of_its_fragment(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.enable(greeting="hi")
    # `show` runs fragments with the packages of its own release.
    monkeypatch.setattr(checker, "release_of_this_interpreter", lambda: here.prefix)
    settings = effective_configuration(here.layout).changed(is_everything=False).settings
    (variables,) = [each for each in settings if each.name == "JupyterHub.template_vars"]
    assert variables.value["greeting"] == "hi"
    assert variables.place == (str(here.fragment), 7)


def test_drop_ins_of_a_stacks_units_stay_and_are_named(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Layout, "system_units", here.layout.base.parent)
    unit = here.layout.system_units / here.layout.stack_unit("greeting", ".service")
    unit.touch()
    yours = unit.with_name(f"{unit.name}.d")
    yours.mkdir()
    plan = to_disable(here.layout, EnabledStack("greeting"), here.stack, [])
    assert [*plan.notes] == [f"{yours} stays: your drop-ins"]


def test_the_plan_names_effects_on_people(here: Here) -> None:
    manifest = replace(MANIFEST, ends="log out everybody")
    plan = to_disable(
        here.layout, EnabledStack("greeting"), replace(here.stack, manifest=manifest), []
    )
    assert [*with_units(plan).lines()] == [
        "log out everybody",
        "reload the hub; other user servers go on",
    ]


def test_a_hub_in_the_foreground_takes_it_up_later(here: Here) -> None:
    later = "change nothing that runs: the hub takes it up when it is started the next time"
    assert [*here.enable(greeting="hi").lines()][-1] == later
    assert [*here.disable().lines()][-1] == later


def test_a_stack_with_units_needs_systemd_or_a_program_beside_the_hub(here: Here) -> None:
    units = "littlest_hub.stacks.launch.units:units"
    manifest = replace(MANIFEST, units=units)
    with pytest.raises(LittlestHubError, match="greeting needs units of systemd"):
        to_enable(here.layout, replace(here.stack, manifest=manifest), {}, None)
    program = replace(manifest, service="greeting", foreground="greeting.program")
    plan = to_enable(here.layout, replace(here.stack, manifest=program), {}, None)
    assert plan.units == {}
    assert plan.how.port
    # systemd would run this hub, if it were booted: an image, for example.
    image = here.layout._replace(root=Path("/elsewhere"))
    with pytest.raises(LittlestHubError, match="greeting needs units of systemd"):
        to_enable(image, replace(here.stack, manifest=program), {}, None)


def with_units(plan: Plan) -> Plan:
    """Return the same plan for a hub that systemd runs, which these tests do not have."""
    return replace(plan, is_in_foreground=False)


def test_a_fragment_that_was_changed_stays_disabled_and_comes_back(here: Here) -> None:
    here.enable(greeting="hi")
    here.fragment.write_text(here.fragment.read_text().replace("by", "who"))
    plan = here.disable()
    disabled = here.fragment.with_name("60-greeting.py.disabled")
    assert [*plan.notes] == [f"{disabled} stays: it has your changes"]
    assert not here.fragment.exists()
    line, *_ = here.enable().lines()
    assert line == f"write {here.fragment}, from {disabled.name}, which you have changed"
    assert 'GREETING = "hi"' in here.fragment.read_text(), "the answer of before is the default"
    assert "who" in here.fragment.read_text()
    assert not disabled.exists()
    assert [*here.disable().notes] == [f"{disabled} stays: it has your changes"], "once more"
    assert "who" in disabled.read_text()


def test_a_fragment_that_nobody_has_changed_gives_way_to_that_of_a_new_version(here: Here) -> None:
    here.enable()
    shipped = here.stack.directory / "fragments/60-greeting.py"
    shipped.write_text(f"{FRAGMENT}# new\n")
    here.disable()
    here.enable()
    assert "# new" in here.fragment.read_text()


def test_a_fragment_that_fails_leaves_everything_as_it_was(here: Here) -> None:
    (here.stack.directory / "fragments/60-greeting.py").write_text("c.JupyterHub.hub_porrt = 1\n")
    before = here.files()
    with pytest.raises(LittlestHubError, match="hub_porrt"):
        here.enable()
    left = {each for each in here.files() - before if not each.startswith("packages")}
    assert not left
    assert active_overlay(here.layout, here.prefix) is None
    assert not enabled.read(here.layout)


def test_what_other_fragments_need_is_not_disabled(here: Here) -> None:
    here.enable()
    (here.layout.fragments / "70-own.py").write_text("import shy\n")
    with pytest.raises(LittlestHubError, match=r"70-own.py:1: ModuleNotFoundError"):
        here.disable()
    assert here.fragment.exists()
    assert "greeting" in enabled.read(here.layout)
    assert active_overlay(here.layout, here.prefix)


def test_a_fragment_of_the_administrators_is_not_replaced(here: Here) -> None:
    here.fragment.write_text("# mine\n")
    with pytest.raises(LittlestHubError, match="is there already"):
        to_enable(here.layout, here.stack, {}, None)


def test_what_is_enabled_is_not_enabled_again_and_the_command_for_its_settings_is_named(
    here: Here,
) -> None:
    here.enable()
    with pytest.raises(LittlestHubError, match="greeting is enabled already") as refused:
        here.enable(greeting="hi there")
    assert "edit 60-greeting" in str(refused.value.hint)


def test_a_missing_program_of_the_machine_is_named_before_packages_are_fetched(here: Here) -> None:
    manifest = replace(MANIFEST, programs={"sh": "apt install dash", "frob": "apt install frob"})
    here.stack = replace(here.stack, manifest=manifest)
    before = here.files()
    with pytest.raises(LittlestHubError, match="greeting needs frob") as refused:
        to_enable(here.layout, here.stack, {}, None)
    assert "apt install frob" in str(refused.value.hint)
    assert here.files() == before


def refuse_loud(_: Layout, given: Mapping[str, str]) -> None:
    if "loud" in given["greeting"]:
        raise LittlestHubError(f"{given['greeting']} is too loud")


def test_answers_that_the_stack_itself_refuses_change_nothing(here: Here) -> None:
    manifest = replace(MANIFEST, before_enable=f"{__name__}:refuse_loud")
    here.stack = replace(here.stack, manifest=manifest)
    before = here.files()
    with pytest.raises(LittlestHubError, match="hello loud is too loud"):
        here.enable(greeting="hello loud")
    assert here.files() == before
    here.enable(greeting="hello")


def test_a_package_that_was_asked_for_before_stays(here: Here) -> None:
    (here.layout.packages).mkdir()
    (here.layout.packages / "hub.txt").write_text("shy  # mine\n")
    assert not to_enable(here.layout, here.stack, {}, None).wanted


@pytest.mark.parametrize("setting", ["greeting", "greting=a", "greeting=A", "greeting=a\n", "=a"])
def test_a_setting_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(LittlestHubError, match=r"It has: greeting=hello|expected lower-case words"):
        answers.parse_settings(MANIFEST, [setting])


def test_a_question_is_asked_until_there_is_an_answer() -> None:
    typed = iter(["LOUD\n", "hi there\n"])
    found = answers.complete(MANIFEST, {}, {}, lambda text: next(typed))
    assert found == {"greeting": "hi there"}


def test_one_of_several_answers_is_enough_and_none_is_refused() -> None:
    ways = tuple(Question(key, f"Your {key}", "", r"\w*", "a word") for key in ("mail", "chat"))
    manifest = Manifest("news", "Tells news", questions=ways, one_of=("mail", "chat"))
    assert answers.complete(manifest, {"chat": "a"}, {}, None) == {"mail": "", "chat": "a"}
    with pytest.raises(LittlestHubError, match="needs an answer to one of: mail, chat"):
        answers.complete(manifest, {}, {}, None)


def test_variables_of_questions_are_in_fragments() -> None:
    """Otherwise an answer would change nothing. A stack without fragments reads its record."""
    catalogue = Path(__file__).parents[3] / "jupyterhub_config.d"
    for stack in shipped().values():
        texts = [(catalogue / name).read_text() for name in stack.manifest.fragments]
        for question in stack.manifest.questions if texts else ():
            assert any(question.key in answers.in_fragment(stack.manifest, text) for text in texts)


def test_a_name_that_is_almost_one_of_a_stack_is_explained(here: Here) -> None:
    with pytest.raises(LittlestHubError) as refused:
        listing.find(here.layout, here.prefix, "anounce")
    assert refused.value.hint == "Did you mean announce?"
    assert listing.find(here.layout, here.prefix, "55-announce.py")
