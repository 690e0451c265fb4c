"""The unit of a user server: its name, its properties, and what systemd says about it."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shlex
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from traitlets.config import Config

from littlest_hub.hub import server_port, spawner, systemd_units
from littlest_hub.hub.launch import (
    CONTROL_CHARACTER,
    Launch,
    NotStartedError,
    environment_file,
    parse_environment_file,
)
from littlest_hub.hub.server_port import PortTakenError, ServerPort
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.systemd_units import cgroup_path
from littlest_hub.layout import DEFAULT_BASE, Layout, escaped, server_unit
from littlest_hub.system import cgroups
from littlest_hub.system.tcp import SocketOwner
from littlest_hub.units.server import Account

LAYOUT = Layout(DEFAULT_BASE)
ME = pwd.getpwuid(os.getuid())
IDENTITY = {
    "USER": ME.pw_name,
    "LOGNAME": ME.pw_name,
    "HOME": ME.pw_dir,
    "SHELL": ME.pw_shell,
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def make(config: Config | None = None, *, name: str = ME.pw_name, server: str = "") -> UnitSpawner:
    """A spawner as JupyterHub makes it."""
    db = orm.new_session_factory("sqlite:///:memory:")()
    orm_user = orm.User(name=name)
    db.add_all([orm_user, orm.Spawner(name=server, user=orm_user)])
    db.commit()
    user = User(orm_user, {"config": config or Config()})
    made = user._new_spawner(server, spawner_class=UnitSpawner, hub=Hub(), layout=LAYOUT)
    made.port, made.api_token = 1234, "a-secret"
    assert isinstance(made, UnitSpawner)
    return made


def prepared(made: UnitSpawner) -> Launch:
    return made._prepare(made._account())


# --- names


@pytest.mark.parametrize(
    ("user", "server", "unit"),
    [
        ("alice", "", "littlest-hub.user-alice"),
        ("a_b.c-d", "", "littlest-hub.user-a_b.c-d"),
        ("alice", "lab", "littlest-hub.user-alice:lab"),
        ("alice@uni", "", "littlest-hub.user-alice_x40uni"),
        ("..", "", "littlest-hub.user-_x2e."),
        ("a_x40b", "", "littlest-hub.user-a_x5fx40b"),
        ("alice", "..", "littlest-hub.user-alice:_x2e."),
    ],
)
def test_a_server_has_its_own_unit_named_after_its_user(user: str, server: str, unit: str) -> None:
    assert LAYOUT.user_unit(user, server) == unit
    assert make(name=user, server=server).unit_name == unit


@pytest.mark.row(2)
@given(NAMES, NAMES)
@example("a@b", "a_x40b")
@example("a" * 300, "a" * 299 + "b")
@example("a" * 300, escaped("a" * 300))
@example("é" * 40, escaped("é" * 40))
def test_escaped_names_of_different_users_differ_and_are_harmless(one: str, other: str) -> None:
    for name in (one, other):
        assert re.fullmatch(r"(?!\.)[A-Za-z0-9_.-]{1,75}", escaped(name))
    assert (escaped(one) == escaped(other)) == (one == other)


@pytest.mark.row(2)
@given(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_the_name_of_a_unit_is_valid_and_its_environment_file_stays_in_its_directory(
    user: str, server: str
) -> None:
    unit = Layout(Path("/srv") / ("x" * 20)).user_unit(user, server)
    # systemd.unit(5), with neither the "@" of a template nor a backslash.
    assert re.fullmatch(r"[a-zA-Z0-9:_.-]+", unit)
    assert unit.count(":") == (1 if server else 0)
    assert len(f"{unit}.service") <= 255
    file = LAYOUT.server_environments / f"{unit}.env"
    assert file.parent == LAYOUT.server_environments


def test_the_administrators_template_applies_to_named_servers_too() -> None:
    config = Config()
    config.Spawner.unit_name_template = "jupyter-{USERNAME}-singleuser"
    assert make(config, name="a b").unit_name == "jupyter-a_x20b-singleuser"
    assert make(config, name="alice", server="lab").unit_name == "jupyter-alice-singleuser:lab"
    assert server_unit("jupyter-{USERID}", "alice", "lab", 7) == "jupyter-7:lab"


def test_a_server_of_an_earlier_release_keeps_its_name_until_it_is_stopped() -> None:
    made = make(name="alice@uni")
    made.load_state({"unit_name": "littlest-hub.user-alice@uni"})
    assert made.get_state()["unit_name"] == "littlest-hub.user-alice@uni"
    made.clear_state()
    assert made.get_state()["unit_name"] == "littlest-hub.user-alice_x40uni"


# --- what is started


def test_a_server_is_started_as_its_user_with_all_settings_as_properties() -> None:
    launch = prepared(make())
    assert launch.unit == f"littlest-hub.user-{ME.pw_name}.service"
    mine = Account(ME.pw_name, Path(ME.pw_dir), ME.pw_uid, ME.pw_gid, ME.pw_shell)
    assert launch.account == mine
    assert {**launch.environment, **IDENTITY} == launch.environment
    assert launch.properties["User"] == str(ME.pw_uid)
    assert launch.properties["WorkingDirectory"] == ME.pw_dir
    assert launch.properties["NoNewPrivileges"] == "yes"
    assert Path(launch.command[0]).is_absolute()
    assert launch.environment["JUPYTERHUB_SERVICE_URL"].startswith("http://127.0.0.1:1234/")
    assert launch.environment["JUPYTERHUB_API_TOKEN"] not in repr(launch)


def test_fragments_override_defaults_and_properties_override_settings() -> None:
    config = Config()
    config.Spawner.mem_limit = "1G"
    config.Spawner.cpu_limit = 1.5
    config.SystemdSpawner.isolate_tmp = True
    config.SystemdSpawner.disable_user_sudo = False
    config.SystemdSpawner.readonly_paths = ["/srv/{USERNAME}", "/data"]
    config.SystemdSpawner.slice = "people.slice"
    config.SystemdSpawner.unit_extra_properties = {
        "UMask": "0077",
        "MemoryMax": "infinity",
        "TasksMax": 100,
        "Environment": ["A={USERNAME}", "B=2"],
    }
    properties = prepared(make(config)).properties
    assert properties["MemoryMax"] == "infinity"
    assert properties["CPUQuota"] == "150%"
    assert properties["PrivateTmp"] == "yes"
    assert properties["NoNewPrivileges"] == "no"
    assert properties["ReadOnlyPaths"] == [f"/srv/{ME.pw_name}", "/data"]
    assert properties["Slice"] == "people.slice"
    assert properties["UMask"] == "0077"
    assert properties["TasksMax"] == "100"
    assert properties["Environment"] == [f"A={ME.pw_name}", "B=2"]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("/usr/bin/zsh", "/usr/bin/zsh"),
        ("/usr/sbin/nologin", "/bin/bash"),
        ("/bin/false", "/bin/bash"),
        ("", "/bin/bash"),
    ],
)
def test_the_shell_is_that_of_the_account_unless_a_fragment_names_another(
    monkeypatch: pytest.MonkeyPatch, shell: str, expected: str
) -> None:
    account = pwd.struct_passwd((ME.pw_name, "x", ME.pw_uid, ME.pw_gid, "", ME.pw_dir, shell))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: account)
    assert prepared(make()).environment["SHELL"] == expected
    config = Config()
    config.SystemdSpawner.default_shell = "/opt/shell"
    assert prepared(make(config)).environment["SHELL"] == "/opt/shell"


def test_a_server_of_an_account_with_another_name_has_the_variables_of_the_account() -> None:
    config = Config()
    config.SystemdSpawner.username_template = ME.pw_name
    environment = prepared(make(config, name="erin")).environment
    assert {**environment, **IDENTITY} == environment
    assert environment["PATH"].split(":")[1] == f"{ME.pw_dir}/.local/bin"


def test_all_servers_of_one_person_have_the_same_dynamic_user() -> None:
    config = Config()
    config.SystemdSpawner.dynamic_users = True
    one, other = (prepared(make(config, name="ada", server=name)) for name in ("", "lab"))
    assert one.account is None
    assert one.unit != other.unit
    for each in (one, other):
        assert each.properties["DynamicUser"] == "yes"
        assert each.properties["StateDirectory"] == "littlest-hub-homes/ada"
        assert each.environment["HOME"] == "/var/lib/littlest-hub-homes/ada"
        assert each.environment["USER"] == each.environment["LOGNAME"] == "ada"
        # Or systemd 247 closes the directories above it.
        assert each.properties["UMask"] == "0022"
    assert one.properties["User"] == other.properties["User"] != "ada"
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,30}", str(one.properties["User"]))
    assert prepared(make(config, name="bob")).properties["User"] != one.properties["User"]


@pytest.mark.row(2)
def test_a_dynamic_home_stays_among_the_homes_whatever_the_name() -> None:
    config = Config()
    config.SystemdSpawner.dynamic_users = True
    for name in ("..", "a b", "a:b", "%h", "a\nb", "$(x)"):
        directory = str(prepared(make(config, name=name)).properties["StateDirectory"])
        assert re.fullmatch(r"littlest-hub-homes/(?!\.)[\w.-]+", directory)
    kept = prepared(make(config, name="ada@uni.example")).properties["StateDirectory"]
    assert kept == "littlest-hub-homes/ada@uni.example"


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        ("ada", True),
        ("ada@uni.example", True),
        # Other accounts and groups have these, or they would mean something else.
        *((each, False) for each in (ME.pw_name, "tty", "1000", "+ada", "a:b", "a b", "é", "-x")),
    ],
)
def test_a_lent_account_has_the_hubs_name_if_that_can_be_one(name: str, is_kept: bool) -> None:
    config = Config()
    config.SystemdSpawner.dynamic_users = True
    launch = prepared(make(config, name=name))
    user = launch.properties["User"]
    assert launch.environment["USER"] == (name if is_kept else user)
    command = shlex.split(str(launch.properties["ExecStartPre"]))
    assert command[:2] == ["-+:/bin/sh", "-c"]
    home = launch.environment["HOME"]
    assert command[4:7] == [launch.environment["USER"], home, "/bin/bash"]
    views = launch.properties["BindReadOnlyPaths"]
    assert isinstance(views, list)
    assert views[-2:] == [f'-"{command[7]}.{each}":/etc/{each}' for each in ("passwd", "group")]


def test_every_user_may_read_the_passwd_file_of_a_lent_account(tmp_path: Path) -> None:
    config = Config()
    config.SystemdSpawner.dynamic_users = True
    launch = prepared(make(config, name="ada"))
    command = shlex.split(str(launch.properties["ExecStartPre"]))[:-1]
    command[0] = command[0].rpartition(":")[2]
    command[5] = str(tmp_path)
    subprocess.run([*command, str(tmp_path / "files")], check=True, umask=0o077)
    for kind in ("passwd", "group"):
        file = tmp_path / f"files.{kind}"
        assert file.stat().st_mode & 0o777 == 0o644
        assert file.read_text().splitlines()[-1].startswith("ada:x:")


def test_systemd_run_gets_lists_as_repeated_properties_and_no_secret() -> None:
    launch = Launch(
        unit="hub.user-a.service",
        account=None,
        command=["/bin/x", "--y=$HOME $$"],
        environment={"TOKEN": "secret"},
        properties={"UMask": "0027", "Environment": ["A=1", "B=2"]},
    )
    assert launch.systemd_run(Path("/run/e.env")) == [
        "systemd-run",
        "--unit=hub.user-a.service",
        "--property=UMask=0027",
        "--property=Environment=A=1",
        "--property=Environment=B=2",
        "--property=EnvironmentFile=/run/e.env",
        "--",
        "/bin/x",
        "--y=$$HOME $$$$",
    ]


JSON = """--ServerApp.tornado_settings={'headers': {'X-A': 'b'}}"""


@pytest.mark.row(39)
@pytest.mark.parametrize(
    "text", [JSON, "{USER}", "{}", "{0}", "{", "}}", "{{ x }}", "{a[b]}", "%h"]
)
def test_braces_in_fragments_stay_as_they_are(text: str) -> None:
    config = Config()
    config.Spawner.args = [text, f"{text}{{USERNAME}}"]
    config.Spawner.environment = {"A": text}
    config.Spawner.default_url = f"/lab?x={text}&y={{username}}"
    config.SystemdSpawner.user_workingdir = f"/srv/{text}/{{USERID}}"
    config.SystemdSpawner.extra_paths = [f"/opt/{text}"]
    config.SystemdSpawner.unit_extra_properties = {"Description": text}
    made = make(config)
    launch = prepared(made)
    assert list(launch.command[-2:]) == [text, f"{text}{ME.pw_name}"]
    assert launch.environment["A"] == text
    assert launch.environment["JUPYTERHUB_DEFAULT_URL"] == f"/lab?x={text}&y={ME.pw_name}"
    assert launch.environment["PATH"].startswith(f"/opt/{text}:")
    assert launch.properties["WorkingDirectory"] == f"/srv/{text}/{made.user.id}"
    assert launch.properties["Description"] == text


def test_a_variable_in_json_keeps_its_quotes_and_systemds_own_syntax_stays() -> None:
    config = Config()
    own = ["A=1 B=2", '"C=x y"', 'D="x y"']
    config.SystemdSpawner.unit_extra_properties = {
        "Environment": ['MARK={"a": "\\n"}', "U={USERNAME}", *own]
    }
    found = prepared(make(config)).properties["Environment"]
    assert found == [r"""'MARK={"a": "\\n"}'""", f"U={ME.pw_name}", *own]


@pytest.mark.row(39)
def test_an_account_that_shares_its_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = pwd.struct_passwd((*("first", "x"), ME.pw_uid, ME.pw_gid, "", "/home/first", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: other)
    assert prepared(make()).properties["User"] == ME.pw_name
    odd = Account("4711", Path("/home/4711"), ME.pw_uid, ME.pw_gid)
    with pytest.raises(NotStartedError, match="accounts 4711 and first share the number"):
        make()._prepare(odd)


def test_a_user_without_system_account_gets_the_reason() -> None:
    with pytest.raises(NotStartedError, match="No user named nobody-of-that-name") as refused:
        make(name="nobody-of-that-name")._account()
    assert (
        refused.value.jupyterhub_message == "No user named nobody-of-that-name found in the system"
    )


def test_a_command_is_searched_in_the_path_of_the_server() -> None:
    config = Config()
    config.Spawner.cmd = ["sh", "-c", "true"]
    assert prepared(make(config)).command[0].endswith("/bin/sh")
    config.Spawner.cmd = ["nosuchcommand"]
    with pytest.raises(NotStartedError, match="nosuchcommand not found on /"):
        prepared(make(config))


# --- its environment


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True), NAMES))
@example({"A": 'it\'s "quoted" $HOME \\ `x`\nB=2'})
def test_an_environment_is_read_as_it_was_written(environment: dict[str, str]) -> None:
    clean = {name: CONTROL_CHARACTER.sub("", value) for name, value in environment.items()}
    assert parse_environment_file(environment_file(clean)) == clean


@pytest.mark.parametrize("name", ["A B", "A\nLD_PRELOAD", "1A", "", "Ä", "A="])
def test_a_variable_with_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(NotStartedError, match=re.escape(repr(name))):
        environment_file({name: "x"})


# --- what systemd says


def answering(monkeypatch: pytest.MonkeyPatch, directory: Path, says: str, code: int = 0) -> None:
    """Replace systemctl with a program that prints this."""
    program = directory / "systemctl"
    program.write_text(f"#!/bin/sh\necho {shlex.quote(says)}\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd_units, "RETRY_DELAYS_S", (0,))


@pytest.mark.row(19)
@pytest.mark.parametrize(
    ("says", "code", "polled"),
    [
        ("ActiveState=active\nResult=success\nExecMainStatus=0", 0, None),
        ("ActiveState=activating\nResult=success\nExecMainStatus=1", 0, None),
        ("ActiveState=deactivating\nResult=success\nExecMainStatus=0", 0, None),
        ("ActiveState=reloading\nResult=success\nExecMainStatus=0", 0, None),
        ("ActiveState=maintenance\nResult=success\nExecMainStatus=0", 0, None),
        ("ActiveState=inactive\nResult=success\nExecMainStatus=0", 0, 0),
        ("ActiveState=failed\nResult=exit-code\nExecMainStatus=3", 0, 3),
        ("Failed to connect to bus: No such file or directory", 1, None),
        ("", 1, None),
        ("", 0, None),
        ("ActiveState=inactive", 1, None),
    ],
)
def test_a_server_is_dead_only_if_systemd_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, code: int, polled: int | None
) -> None:
    answering(monkeypatch, tmp_path, says, code)
    assert asyncio.run(poll_of(make())) == polled


async def poll_of(made: UnitSpawner) -> Any:
    return await made.poll()


@pytest.mark.row(19)
def test_a_server_is_not_dead_because_systemd_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, tmp_path, "", 0)
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(systemd_units, "SYSTEMD_TIMEOUT_S", 0.1)
    assert asyncio.run(poll_of(make())) is None


@pytest.mark.row(19)
def test_a_server_is_not_dead_because_its_address_has_a_name_that_is_not_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, tmp_path, "ActiveState=active\nResult=success\nExecMainStatus=0")
    made = make()
    made.ip = "no such name"
    assert asyncio.run(poll_of(made)) is None


def test_the_name_of_a_servers_address_is_looked_up_while_the_hub_does_other_things(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, tmp_path, "ActiveState=active\nResult=success\nExecMainStatus=0")
    is_asked, is_free = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> list[Any]:
        is_asked.set()
        assert is_free.wait(5), "the event loop waits for the name server"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]

    async def poll() -> Any:
        polled = asyncio.ensure_future(poll_of(make(Config(UnitSpawner={"ip": "node1"}))))
        assert await asyncio.to_thread(is_asked.wait, 5)
        is_free.set()
        return await polled

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert asyncio.run(poll()) is None


@pytest.mark.row(5)
@pytest.mark.parametrize("uid", ["[not set]", "0", "4711"])
def test_a_program_that_listens_at_the_port_of_an_ended_server_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: str
) -> None:
    says = f"ActiveState=failed\nResult=exit-code\nExecMainStatus=1\nUID={uid}"
    answering(monkeypatch, tmp_path, says)
    made = make()
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        made.port = foreign.getsockname()[1]
        with pytest.raises(PortTakenError, match="another user's program has taken port"):
            asyncio.run(ServerPort(made._unit, "127.0.0.1", made.port, "").hold())


@pytest.mark.row(5)
def test_a_program_that_only_binds_the_port_of_a_server_is_the_reason_of_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says = "ActiveState=failed\nResult=exit-code\nExecMainStatus=1\nUID=4711"
    answering(monkeypatch, tmp_path, says)
    made = make()
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        made.port = foreign.getsockname()[1]
        with pytest.raises(PortTakenError):
            asyncio.run(ServerPort(made._unit, "127.0.0.1", made.port, "").hold())
    with pytest.raises(NotStartedError, match=r"ended before it listened \(exit-code, 1\)"):
        asyncio.run(ServerPort(made._unit, "127.0.0.1", made.port, "").hold())


def test_a_server_that_ends_right_after_it_listens_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, tmp_path, "")
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0));"
    listen += "print(s.getsockname()[1], flush=True); input()"
    command, pipe = [sys.executable, "-c", listen], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout
        made = make()
        made.port = int(server.stdout.readline())
        # Between the look at the port and systemd's answer.
        (tmp_path / "systemctl").write_text(
            f"#!/bin/sh\nkill -KILL {server.pid} 2>/dev/null\n"
            f"until grep -q ') Z' /proc/{server.pid}/stat; do :; done\n"
            "printf 'ActiveState=failed\nResult=signal\nExecMainStatus=9\nUID=4711\n'\n"
        )
        with pytest.raises(NotStartedError, match=r"ended before it listened \(signal, 9\)"):
            asyncio.run(ServerPort(made._unit, "127.0.0.1", made.port, "").hold())


def test_a_socket_with_which_a_server_tries_out_its_port_is_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, kept = (SocketOwner(4711, 7, inode) for inode in (1, 2))
    looks, held = iter([None, trial, None, trial, kept, kept, kept]), []

    async def hold_of(_: ServerPort, owner: SocketOwner) -> None:
        held.append(owner)

    monkeypatch.setattr(server_port, "listener_at", lambda *_: next(looks))
    monkeypatch.setattr(ServerPort, "hold_of", hold_of)
    asyncio.run(ServerPort("a.service", "127.0.0.1", 1, "").hold())
    assert held == [kept]


@pytest.mark.row(5)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_listener_in_the_cgroup_of_the_unit_is_accepted_without_a_query(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_own: bool
) -> None:
    answering(monkeypatch, tmp_path, "ActiveState=failed\nResult=signal\nExecMainStatus=9")
    monkeypatch.setattr(cgroups, "_VERSION_2", (str(tmp_path),))
    port = ServerPort("a.service", "127.0.0.1", 1, cgroup_path("a.service", "users.slice"))
    unit = tmp_path / "users.slice" / "a.service"
    unit.mkdir(parents=True)
    found = SocketOwner(4711, unit.stat().st_ino if is_own else tmp_path.stat().st_ino, 1)
    with nullcontext() if is_own else pytest.raises(PortTakenError):
        asyncio.run(port.hold_of(found))


def test_systemd_is_queried_about_a_unit_only_if_it_has_its_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, tmp_path, "ActiveState=active")
    monkeypatch.setattr(spawner, "TRANSIENT_UNITS", tmp_path)
    made = make()
    assert not asyncio.run(made._existing_state()).is_alive
    (tmp_path / made._unit).touch()
    assert asyncio.run(made._existing_state()).is_alive


@pytest.mark.parametrize(
    ("slice_", "cgroup"),
    [
        ("littlest-hub-users.slice", "/littlest.slice/littlest-hub.slice/littlest-hub-users.slice"),
        ("class.slice", "/class.slice"),
        ("-.slice", ""),
    ],
)
def test_a_unit_is_in_the_cgroups_of_its_slice(slice_: str, cgroup: str) -> None:
    assert cgroup_path("a.service", slice_) == f"{cgroup}/a.service"


@pytest.mark.row(39)
@pytest.mark.parametrize("value", ["a\0b", "\x1b[1m", "end\r", "\x7f"])
def test_a_variable_that_systemd_would_leave_out_is_refused(value: str) -> None:
    with pytest.raises(NotStartedError, match=r"A in c.Spawner.environment contains"):
        environment_file({"A": value})
