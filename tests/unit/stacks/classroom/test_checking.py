"""Rules of `check` and probes of `doctor` about the logins of a class, and root's codes."""

from pathlib import Path

import pytest

from littlest_hub.check import check_fragments
from littlest_hub.doctor.findings import OK, PROBLEM
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.command import run
from littlest_hub.stacks.classroom.logins import codes, probe
from littlest_hub.stacks.classroom.logins.command import after_enable, new_code
from littlest_hub.stacks.classroom.logins.people import People, Standing, file_of

# Without the calls for which the interpreter has to be that of an installed release.
FRAGMENT = (
    (Path(__file__).parents[4] / "jupyterhub_config.d/60-class.py")
    .read_text()
    .replace('require_enabled("class")', "")
    .replace("environment.configure(c)", "")
    .replace("servers.configure(c, globals())", "")
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation without fragments."""
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    return layout


def enable(layout: Layout, login: str = "sign-up", admin: str = "teacher") -> EnabledStack:
    """Enable the stack."""
    stack = EnabledStack("class", {"login": login, "admin": admin})
    enabled.write_record(layout, {"class": stack})
    (layout.fragments / "60-class.py").write_text(enabled.answered(FRAGMENT, stack.answers))
    return stack


def found(layout: Layout) -> list[str]:
    return [str(problem) for problem in check_fragments(layout).problems]


@pytest.mark.parametrize("login", ["system", "first-use", "sign-up"])
def test_the_fragment_is_right_as_it_is(layout: Layout, login: str) -> None:
    enable(layout, login)
    assert found(layout) == []


def test_an_unknown_kind_of_login_is_an_error_with_its_line(layout: Layout) -> None:
    enable(layout, "nis")
    (problem,) = found(layout)
    assert "60-class.py:" in problem
    assert ": LOGIN = 'nis': expected one of system, first-use" in problem


def test_values_are_those_of_the_copy_that_is_checked(layout: Layout, tmp_path: Path) -> None:
    fragment = layout.fragments / "60-class.py"

    def messages(text: str) -> list[str]:
        copy = tmp_path / fragment.name
        copy.write_text(text)
        report = check_fragments(layout, {fragment: copy})
        return [str(problem) for problem in report.problems]

    enable(layout)
    right = fragment.read_text()
    wrong = right.replace("CULL_IDLE_S = 3600", 'CULL_IDLE_S = "an hour"')
    (problem,) = messages(wrong)
    assert "60-class.py:" in problem
    assert "CULL_IDLE_S: " in problem
    # A mistake that is there can be mended.
    fragment.write_text(wrong)
    assert messages(right) == []
    # A syntax error is reported once.
    (problem,) = messages(right.replace("SHARED = {}", "SHARED = {"))
    assert "SyntaxError" in problem


@pytest.mark.parametrize("number", ["41", "70"])
def test_two_fragments_with_logins_are_an_error(layout: Layout, number: str) -> None:
    enable(layout)
    other = layout.fragments / f"{number}-other.py"
    other.write_text("c.JupyterHub.authenticator_class = 'null'\n")
    (problem,) = found(layout)
    assert 'expected LOGIN = "other"' in problem


def test_sign_up_without_anybody_who_lets_people_in_is_a_warning(layout: Layout) -> None:
    enable(layout, admin="")
    (problem,) = found(layout)
    assert "nobody can let them in" in problem


def test_first_use_for_any_name_is_a_warning(layout: Layout) -> None:
    enable(layout, "first-use")
    (layout.fragments / "20-all.py").write_text("c.Authenticator.allow_all = True\n")
    (problem,) = found(layout)
    assert "20-all.py:1: warning:" in problem


def test_a_file_that_is_whole_is_in_order_and_others_are_named(layout: Layout) -> None:
    def findings() -> list[tuple[str, str]]:
        return [(each.severity, each.text) for each in probe.people(Snapshot(layout))]

    file = file_of(layout)
    assert findings() == [(OK, "no person has a password in the hub")]
    People(file).sign_up("alice", "hash", "", "192.0.2.1", is_taken=False)
    assert findings() == [(OK, "people can log in; 1 wait to be let in")]
    file.chmod(0o644)
    ((severity, text),) = findings()
    assert severity == PROBLEM
    assert "has mode 0644; expected" in text
    file.chmod(0o600)
    file.write_text("no database, but long enough to be none" * 100)
    ((severity, text),) = findings()
    assert severity == PROBLEM
    assert "is damaged, so nobody can log in" in text


def test_enabling_gives_the_teacher_a_code_unless_there_is_a_password(layout: Layout) -> None:
    text, *_ = after_enable(layout, enable(layout), has_servers=False)
    code = text.split()[-1]
    people = People(file_of(layout))
    assert people.use_code("teacher", codes.digest(code), "hash")
    assert "code" not in " ".join(after_enable(layout, enable(layout), has_servers=False))
    text, *_ = after_enable(layout, enable(layout, admin=""), has_servers=False)
    assert "littlest-hub class token NAME" in text.replace("-hub-hub", "-hub")
    assert "code" not in " ".join(after_enable(layout, enable(layout, "system"), has_servers=False))


@pytest.mark.parametrize(("login", "are_others"), [("system", False), ("sign-up", True)])
def test_enabling_says_when_people_get_other_accounts(
    layout: Layout, login: str, are_others: bool
) -> None:
    stack = enable(layout, login)
    said = " ".join(after_enable(layout, stack, has_servers=True))
    assert "Servers that run get the environment" in said
    assert "Servers" not in " ".join(after_enable(layout, stack, has_servers=False))
    assert ("ACCOUNT_NAMES" in said) == are_others


def test_a_code_lets_in_whom_root_names(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    enable(layout)
    assert run(layout, ["token", "Maria.Lopez"]) == 0
    said = capsys.readouterr().out
    assert "maria.lopez is new to the hub" in said
    code = said.split()[said.split().index("code:") + 1]
    people = People(file_of(layout))
    assert [each.name for each in people.all(Standing.APPROVED)] == ["maria.lopez"]
    assert people.has_code("maria.lopez", codes.digest(code))
    assert run(layout, ["token", "maria.lopez"]) == 0
    assert "is new" not in capsys.readouterr().out
    with pytest.raises(LittlestHubError, match="no login name"):
        new_code(layout, "../x")


@pytest.mark.parametrize(
    ("login", "hint"), [("system", "For another password: passwd maria"), ("other", None)]
)
def test_where_the_hub_keeps_no_passwords_there_is_no_code(
    layout: Layout, login: str, hint: str | None
) -> None:
    enable(layout, login)
    with pytest.raises(LittlestHubError, match="without a code") as refused:
        run(layout, ["token", "maria"])
    assert refused.value.hint == hint


def test_a_file_that_cannot_be_used_is_named_with_the_command_that_helps(layout: Layout) -> None:
    file = file_of(layout)
    file.mkdir(parents=True)
    with pytest.raises(LittlestHubError, match="cannot be used"):
        new_code(layout, "teacher")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('CULL_IDLE_S = "1h"', "CULL_IDLE_S: expected seconds, 0 or more, found '1h'"),
        ("CULL_EVERY_S = 0", "CULL_EVERY_S: expected seconds, 1 or more, found 0"),
        ("CULL_KERNELS = 1", "CULL_KERNELS: expected True or False, found 1"),
        (
            'CULL_GROUPS = {"a": {"idle_s": "1h"}}',
            "CULL_GROUPS: a: idle_s: expected seconds, 0 or more, found '1h'",
        ),
        (
            'CULL_GROUPS = {"a": {"idle_s": 60}}',
            "warning: CULL_GROUPS: a: servers say every 300 s whether",
        ),
        ("CULL_IDLE_S = 60", "warning: CULL_IDLE_S: servers say every 300 s whether"),
        ("CULL_USERS = True", "warning: CULL_USERS: deletes people who are not there"),
        ('ACCOUNT_GROUPS = {"a": ["*", "Al"]}', "warning: ACCOUNT_GROUPS: 'Al' is nobody"),
        ('ACCOUNT_NAMES = {"Al": "ubuntu"}', "warning: ACCOUNT_NAMES: 'Al' is nobody"),
        ('LIMITS = {"*": {"memory": "2 GB"}}', 'LIMITS: *: memory: expected a size such as "2G"'),
    ],
)
def test_a_plain_setting_is_refused_with_its_line(layout: Layout, line: str, problem: str) -> None:
    enable(layout)
    number = replace_line(layout, line)
    (found_problem,) = found(layout)
    assert f"60-class.py:{number}: {problem}" in found_problem


def test_what_follows_from_a_failed_fragment_is_not_a_problem_of_its_own(layout: Layout) -> None:
    enable(layout, "nis")
    replace_line(layout, 'LIMITS = {"*": {"memory": "2G"}}')
    (problem,) = found(layout)
    assert "LOGIN = 'nis'" in problem


def replace_line(layout: Layout, line: str) -> int:
    """Write another value into the fragment, and return its line."""
    file = layout.fragments / "60-class.py"
    lines = file.read_text().splitlines()
    name = line.partition(" = ")[0]
    (index,) = [i for i, each in enumerate(lines) if each.startswith(f"{name} = ")]
    lines[index] = line
    file.write_text("\n".join(lines) + "\n")
    return index + 1


def test_a_mistake_in_the_settings_of_jupyterlab_is_an_error_with_its_line(layout: Layout) -> None:
    enable(layout)
    file = layout.fragments / "overrides.json"
    file.write_text('{\n  "a:b": {\n    "theme": "dark",\n  }\n}\n')
    problem, *_ = found(layout)
    assert f"{file}:" in problem
    assert "expected JSON" in problem
