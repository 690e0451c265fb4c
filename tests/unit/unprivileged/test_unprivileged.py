"""A hub that is not root: what root does for it, and which configuration is refused."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub import installation
from littlest_hub.check import check_fragments, evaluator  # noqa: F401
from littlest_hub.errors import LittlestHubError
from littlest_hub.helpers import declarations, hooks, pam
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.config import load
from littlest_hub.hub.launch import environment_file
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.system import pam as system_pam
from littlest_hub.system import service_accounts
from littlest_hub.units import helpers, hub, names, unprivileged
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import Unit
from littlest_hub.unprivileged import account, launcher

pytestmark = [
    pytest.mark.unit,
    pytest.mark.needs("root"),
]

HUB_USER = "games"
"""Any system account."""


@pytest.fixture
def shared_path() -> Iterator[Path]:
    """A directory that other users may enter; each start of a pytest closes that of `tmp_path`."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
def layout(shared_path: Path) -> Layout:
    """A hub that runs as HUB_USER."""
    layout = Layout(shared_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.hub_user_state.mkdir(parents=True)
    os.chown(layout.hub_user_state, pwd.getpwnam(HUB_USER).pw_uid, -1)
    return installation.of_base(layout.base)


def test_the_hub_runs_as_the_owner_of_its_part_of_state(layout: Layout) -> None:
    assert layout.hub_user == HUB_USER
    assert layout.database.parent == layout.cookie_secret.parent == layout.hub_user_state
    os.chown(layout.hub_user_state, 0, 0)
    assert installation.of_base(layout.base).hub_user is None
    assert Layout(DEFAULT_BASE).database.parent == Layout(DEFAULT_BASE).state


def test_an_unprivileged_hub_has_no_capability_and_two_writable_directories(
    layout: Layout,
) -> None:
    text = hub.service(layout, Ports()).text()
    assert f"\nUser={HUB_USER}\n" in text
    assert "\nCapabilityBoundingSet=\n" in text
    assert f"\nReadWritePaths={layout.hub_user_state} {layout.proxy_state}\n" in text
    assert "User=" not in hub.service(Layout(DEFAULT_BASE), Ports()).text()


def roots_units(layout: Layout) -> list[Unit]:
    return [*helpers.units(layout), unprivileged.user_template(layout)]


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_its_units_without_a_warning(layout: Layout, tmp_path: Path) -> None:
    files = []
    for unit in (
        hub.service(layout, Ports()),
        *helpers.units(layout),
        unprivileged.user_template(layout),
    ):
        text = re.sub(r"^(Exec\w+=)/\S+", r"\1/bin/true", unit.text(), flags=re.MULTILINE)
        files.append(tmp_path / unit.name)
        files[-1].write_text(text)
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        capture_output=True,
        text=True,
    )
    assert verify.stderr == ""


@pytest.mark.row(16)
@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(("index", "exposure"), [(0, 1.4), (1, 7.5)], ids=["hub", "helper"])
def test_hub_and_helper_expose_little(
    layout: Layout, tmp_path: Path, index: int, exposure: float
) -> None:
    unit = (hub.service(layout, Ports()), helpers.units(layout)[1])[index]
    file = tmp_path / unit.name.replace("@.", "@1.")
    file.write_text(unit.text())
    limit = f"--threshold={exposure * 10:.0f}"
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", limit, file],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout


def test_polkit_allows_its_own_units_and_no_others(layout: Layout) -> None:
    rule = unprivileged.polkit_rule(layout)
    assert f'subject.user !== "{HUB_USER}"' in rule
    (pattern,) = re.findall(r"/(\^.*\$)/\.test", rule)
    own = f"{layout.instance}.user@"
    assert re.match(pattern, f"{own}alice.service")
    for other in (
        f"{own}.service",
        f"{own}alice.socket",
        f"{own}1000.service",
        f"{own}a@b.service",
        f"x{own}alice.service",
        f"{own.replace('.', 'x')}alice.service",
        f"{own}alice.service.service\nssh.service",
        layout.hub_service,
        "ssh.service",
    ):
        assert not re.fullmatch(pattern, other), other


def test_the_privileged_part_is_short(layout: Layout) -> None:
    """Count the lines that docs/how-to/hub-as-its-own-user.md recommends to read."""
    texts = [unit.text() for unit in roots_units(layout)]
    texts += [unprivileged.polkit_rule(layout)]
    modules = (pam, hooks, declarations, system_pam, names)
    texts += [Path(str(module.__file__)).read_text() for module in modules]
    lines = [line for text in texts for line in text.splitlines()]
    code = [line for line in lines if line.strip() and not line.startswith(("#", "//"))]
    assert len(code) <= 440, len(code)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c.Spawner.mem_limit = '1G'", "MemoryMax="),
        ("c.SystemdSpawner.unit_extra_properties = {'User': 'root'}", "these properties"),
        ("c.SystemdSpawner.dynamic_users = True", "no such line"),
        ("c.JupyterHub.spawner_class = 'systemdspawner.SystemdSpawner'", "no spawner_class"),
        ("c.PAMAuthenticator.service = 'other'", "helper"),
    ],
)
def test_a_fragment_that_would_need_root_is_refused(
    layout: Layout, line: str, message: str
) -> None:
    fragment = layout.fragments / "30-mine.py"
    fragment.write_text(f"{line}\n")
    fragment.chmod(0o644)
    (problem,) = check_fragments(layout).errors
    assert (problem.file, problem.line) == (str(fragment), 1)
    assert message in problem.message


def test_a_fragment_that_the_hub_cannot_read_is_refused(layout: Layout) -> None:
    fragment = layout.fragments / "30-mine.py"
    fragment.write_text("c.JupyterHub.concurrent_spawn_limit = 3\n")
    fragment.chmod(0o600)
    (problem,) = check_fragments(layout).errors
    assert "chmod a+r" in problem.message


def test_it_checks_passwords_by_the_helper_and_starts_template_units(
    layout: Layout,
) -> None:
    c = load(layout, UnitEnvironment())
    assert c.JupyterHub.spawner_class is TemplateSpawner
    assert c.JupyterHub.authenticator_class is SystemAuthenticator
    assert layout.user_unit("alice") == f"{layout.instance}.user@alice"


@pytest.mark.parametrize("name", ["Lhub", "a b", "-x", "x" * 40, "../x"])
def test_an_invalid_account_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LittlestHubError, match="no name for an account"):
        account.choose_user(Layout(tmp_path), name, is_possible=True)


@pytest.mark.parametrize("name", ["lhub-physics-users", "lhub-physics-proxy"])
def test_an_account_name_that_the_hub_uses_otherwise_is_refused(name: str) -> None:
    with pytest.raises(LittlestHubError, match=f"{name}: this hub needs that name"):
        account.choose_user(Layout(Path("/srv/physics")), name, is_possible=True)


def test_an_account_without_a_description_is_taken_only_if_the_hub_ran_as_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pwd.getpwnam(HUB_USER)
    nobody_says = pwd.struct_passwd((*found[:4], "", *found[5:]))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: nobody_says)
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(service_accounts, "change", lambda *command: made.append(command))
    account.create(layout, HUB_USER, contextlib.ExitStack())
    assert made
    with pytest.raises(LittlestHubError, match="it is not this hub's"):
        account.create(Layout(layout.base), HUB_USER, contextlib.ExitStack())
    assert len(made) == 1


def test_a_hub_keeps_its_user(layout: Layout, tmp_path: Path) -> None:
    for other in ("root", "other"):
        with pytest.raises(LittlestHubError, match=f"runs as {HUB_USER} already"):
            account.choose_user(layout, other, is_possible=True)
    assert account.choose_user(layout, "", is_possible=True) == HUB_USER
    roots = Layout(tmp_path / "roots")
    roots.state.mkdir(parents=True)
    roots.database.touch()
    with pytest.raises(LittlestHubError, match="runs as root already"):
        account.choose_user(roots, "lhub", is_possible=True)


def test_a_hub_whose_account_was_removed_does_not_become_root(layout: Layout) -> None:
    os.chown(layout.hub_user_state, 54321, -1)
    with pytest.raises(LittlestHubError, match="user 54321, who is gone"):
        account.choose_user(installation.of_base(layout.base), "", is_possible=True)


def test_a_hub_whose_files_were_given_to_root_does_not_become_root(layout: Layout) -> None:
    os.chown(layout.hub_user_state, 0, 0)
    with pytest.raises(LittlestHubError, match="belongs to root; expected the user"):
        account.choose_user(installation.of_base(layout.base), "", is_possible=True)


def test_a_file_for_one_user_is_readable_only_by_that_user_and_the_hub(shared_path: Path) -> None:
    file = shared_path / "run" / "alice.env"
    file.parent.mkdir()
    launcher.write_for_user(file, "TOKEN=secret\n", pwd.getpwnam(HUB_USER).pw_uid)

    def read(user: str) -> str:
        command = ["cat", str(file)]
        done = subprocess.run(command, user=user, extra_groups=[], capture_output=True, text=True)
        return done.stdout

    assert read(HUB_USER) == "TOKEN=secret\n"
    assert read("nobody") == ""
    assert file.parent.stat().st_mode & 0o777 == 0o711


def test_the_launcher_runs_the_command_with_its_environment(tmp_path: Path) -> None:
    program = "import os, json; print(json.dumps([os.getcwd(), os.environ.get('TOKEN')]))"
    variables = launcher.launch_variables([sys.executable, "-c", program], str(tmp_path))
    file = tmp_path / "order"
    file.write_text(environment_file({"TOKEN": 'it\'s\n"secret"', **variables}))
    done = subprocess.run(
        [sys.executable, "-m", "littlest_hub.unprivileged.launcher", file],
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == [str(tmp_path), 'it\'s\n"secret"'], done.stderr


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (b"login\0login\0root\0secret", "not a member of the group nogroup"),
        (b"login\0su\0games\0secret", "this hub may use the PAM service login only"),
        (b"login\0../x\0root\0secret", "no such PAM service"),
        (b"login\0login\0nobody-of-this-name\0secret", "no such user"),
        (b"login\0login\0root", "no password"),
        (b"login\0login\0root\0", "no password"),
        (b"login\0login\0\xff\0secret", "no such user"),
        (b"login\0login\0root\0" + b"x" * 5000, "no such request"),
        (b"change_password\0login\0root\0secret", "no such request"),
        (b"open_session\0login\0root", "not a member of the group nogroup"),
        (b"", "no such request"),
    ],
)
def test_the_helper_checks_passwords_of_members_only(question: bytes, said: str) -> None:
    assert pam.answer(question, "nogroup").refusal == said


def test_a_polkit_without_rules_is_refused(tmp_path: Path) -> None:
    services = tmp_path / "dbus-1" / "system-services"
    services.mkdir(parents=True)
    (services / "org.freedesktop.PolicyKit1.service").touch()
    with pytest.raises(LittlestHubError, match="needs polkit"):
        account._check_polkit(tmp_path)
    (tmp_path / "polkit-1" / "rules.d").mkdir(parents=True)
    account._check_polkit(tmp_path)
