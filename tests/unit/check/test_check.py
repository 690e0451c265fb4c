"""What `littlest-hub check` says of fragments, without a hub."""

import shutil
import socket
import ssl
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

# Not used here: the children that check fragments find JupyterHub imported already.
from littlest_hub.check import Problem, check, evaluator, examine, is_closed_to_hub, sandbox
from littlest_hub.check.origins import RecordingConfig
from littlest_hub.hub.config import complete, defaults, execute
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.units import hub
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.ports import Ports
from tests.broken import BROKEN, Broken

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    return layout


def write(layout: Layout, name: str, text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    (layout.fragments / name).write_bytes(content)
    return str(layout.fragments / name)


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.what)
def test_a_broken_fragment_is_named_with_its_line_and_what_was_expected(
    layout: Layout, broken: Broken
) -> None:
    file = write(layout, f"50-{broken.what}.py", broken.text)
    problems = check(layout)
    assert [(p.file, p.line) for p in problems] == [(file, broken.line)], problems
    assert broken.message in problems[0].message


def test_there_are_at_least_forty_of_them() -> None:
    assert len({broken.what for broken in BROKEN}) == len(BROKEN) >= 40


def test_all_of_them_are_found_at_once(layout: Layout) -> None:
    # Some would be a contradiction of others, or overrule them.
    alone = [b for b in BROKEN if b.what in ("syntax", "name", "type", "class", "appended", "loop")]
    expected = [
        (write(layout, f"{number:02}-{broken.what}.py", broken.text), broken.line)
        for number, broken in enumerate(alone)
    ]
    assert [(p.file, p.line) for p in check(layout)] == expected


# --- which line it is


def test_a_value_set_in_a_function_is_at_the_statement_that_sets_it(layout: Layout) -> None:
    text = "def limit(text):\n    c.Spawner.mem_limit = (\n        text\n    )\n\n\nlimit('1Q')\n"
    file = write(layout, "10-a.py", text)
    problem = only(check(layout))
    assert (problem.file, problem.line) == (file, 2)


def test_a_value_set_in_a_file_that_a_fragment_loads_is_at_its_line_there(layout: Layout) -> None:
    write(layout, "10-a.py", "\nload_subconfig('limits.inc')\n")
    inner = write(layout, "limits.inc", "\n\nc.Spawner.mem_limit = '1Q'\nimport no_such_module\n")
    assert [(p.file, p.line) for p in check(layout)] == [(inner, 3), (inner, 4)]


def test_an_element_is_at_the_line_that_adds_it(layout: Layout) -> None:
    write(layout, "10-a.py", "c.Authenticator.allowed_users = {'alice'}\n")
    second = write(
        layout,
        "20-b.py",
        "if c.Authenticator.allowed_users:\n    pass\n"
        "c.Authenticator.allowed_users.add('bob smith')\n"
        "c.Authenticator.allowed_users |= {'eve'}\n",
    )
    problem = only(check(layout))
    assert (problem.file, problem.line) == (second, 3)


def test_a_merge_of_whole_configurations_keeps_the_line(layout: Layout) -> None:
    text = (
        "from traitlets.config import Config\nextra = Config()\nextra.JupyterHub.port = 'x'\n"
        "extra.Spawner.mem_limit = '1Q'\nc.merge(extra)\n"
    )
    file = write(layout, "10-a.py", text)
    assert [(p.file, p.line) for p in check(layout)] == [(file, 5), (file, 5)]


def test_a_copy_of_the_configuration_can_be_made(layout: Layout) -> None:
    text = (
        "import copy\nd = copy.deepcopy(c)\ne = c.copy()\nassert d.JupyterHub.hub_port == 15001\n"
    )
    write(layout, "10-a.py", text)
    assert check(layout) == []


def test_a_fragment_that_fails_does_not_hide_what_others_say(layout: Layout) -> None:
    first = write(layout, "10-a.py", "import no_such_module\n")
    second = write(layout, "20-b.py", "c.JupyterHub.prot = 1\n1 / 0\n")
    assert [(p.file, p.line) for p in check(layout)] == [(first, 1), (second, 1), (second, 2)]


# --- the sandbox


def test_a_fragment_that_never_ends_is_refused_with_its_line(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "FRAGMENT_S", 1)
    file = write(layout, "10-a.py", "import time\nwhile True:\n    time.sleep(9)\n")
    second = write(layout, "20-b.py", "c.JupyterHub.prot = 1\n")
    assert [(p.file, p.line) for p in check(layout)] == [(file, 3), (second, 1)]


def test_a_fragment_that_cannot_be_interrupted_is_refused_with_its_line(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "FRAGMENT_S", 1)
    catching = "try:\n        time.sleep(9)\n    except BaseException:\n        pass\n"
    text = f"import time\nwhile True:\n    {catching}"
    file = write(layout, "10-a.py", text)
    problem = only(check(layout))
    assert (problem.file, problem.line) == (file, 4)
    assert "takes too long" in problem.message


def test_a_fragment_that_ends_the_process_is_named(layout: Layout) -> None:
    file = write(layout, "10-a.py", "import os\nos._exit(0)\n")
    problem = only(check(layout))
    assert (problem.file, problem.message) == (file, "ended the check (exit code 0)")


def test_what_fragments_print_is_kept_apart(layout: Layout) -> None:
    text = "import os, sys\nprint('hello')\nos.write(1, b'{')\nprint('oops', file=sys.stderr)\n"
    write(layout, "10-a.py", text)
    report = examine(layout)
    assert report.errors == []
    assert "hello" in report.printed
    assert "oops" in report.printed


@pytest.mark.needs("root")
def test_a_fragment_can_change_nothing_even_as_root(layout: Layout) -> None:
    target = layout.base / "x"
    trying = f"try:\n    open({str(target)!r}, 'w')\nexcept OSError as error:\n    print(error)\n"
    write(
        layout,
        "10-a.py",
        f"{trying}import os\ntry:\n    os.kill(-1, 9)\nexcept OSError:\n    pass\n",
    )
    report = examine(layout)
    assert report.errors == []
    assert not target.exists()
    assert "Read-only file system" in report.printed


def test_a_free_port_can_be_looked_for(layout: Layout) -> None:
    write(layout, "10-a.py", "from jupyterhub.utils import random_port\nrandom_port()\n")
    assert check(layout) == []


@pytest.mark.parametrize(
    "where", ["os.environ['CREDENTIALS_DIRECTORY'] + '/pin'", "'/run/credentials/hub.service/pin'"]
)
def test_a_credential_that_the_check_does_not_have_is_explained(layout: Layout, where: str) -> None:
    file = write(layout, "10-a.py", f"import os\n\nopen({where})\n")
    problem = only(check(layout))
    assert (problem.file, problem.line) == (file, 3)
    assert "name that in LoadCredential=" in problem.message


def test_the_check_gets_what_drop_ins_give_to_the_hub(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        "systemctl": "LoadState=loaded\nPassEnvironment=LANG TZ\nBindReadOnlyPaths=/a:/b:rbind\n"
        "EnvironmentFiles=/etc/hub (ignore_errors=yes)\nProtectHome=\n",
        "LoadCredential": '{"type":"a(ss)","data":[["pin","/etc/pin"],["db","/etc/db"]]}\n',
    }

    def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said = answers.get(command[0]) or answers.get(command[-1], "")
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(subprocess, "run", answer)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert list(sandbox._as_the_hub(layout)) == [
        "PassEnvironment=LANG TZ",
        "BindReadOnlyPaths=/a:/b:rbind",
        "EnvironmentFile=-/etc/hub",
        "LoadCredential=pin:/etc/pin",
        "LoadCredential=db:/etc/db",
    ]


SLURM = (Path(__file__).parents[3] / "jupyterhub_config.d/50-slurm.conf").read_text()


@pytest.mark.parametrize(
    ("drop_ins", "becomes_others", "has_others"),
    [
        ([], False, False),
        ([SLURM], True, True),
        (["CapabilityBoundingSet=CAP_SETUID CAP_SETGID"], False, False),
        (["PrivateUsers=no"], False, True),
        ([SLURM, "PrivateUsers=yes"], False, False),
        ([SLURM, "CapabilityBoundingSet=~CAP_SETUID"], False, True),
        ([SLURM, "CapabilityBoundingSet="], False, True),
        (["PrivateUsers=no\nCapabilityBoundingSet=~"], True, True),
        (["PrivateUsers = off\nCapabilityBoundingSet = cap_setgid \\\n cap_setuid\n"], True, True),
    ],
)
def test_the_hubs_rights_are_what_its_unit_and_drop_ins_say(
    drop_ins: list[str], becomes_others: bool, has_others: bool
) -> None:
    unit = hub.service(Layout(DEFAULT_BASE), Ports()).text()
    assert sandbox.rights_of([unit, *drop_ins]) == (becomes_others, has_others)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_closed"),
    [
        (0o100000, 0, 0, False),
        (0o100600, 0, 1000, False),
        (0o100040, 0, 1000, True),
        (0o100600, 1000, 1000, True),
        (0o100660, 1000, 1000, True),
        (0o100640, 1000, 0, False),
        (0o100600, 1000, 0, True),
        (0o100604, 1000, 1000, False),
        (0o040700, 1000, 1000, True),
        (0o040704, 1000, 1000, True),
        (0o040755, 1000, 1000, False),
    ],
)
def test_a_root_that_knows_nobody_else_reads_what_it_may_as_anybody(
    mode: int, uid: int, gid: int, is_closed: bool
) -> None:
    assert is_closed_to_hub(mode, uid, gid) is is_closed


# --- contradictions that take more than a fragment


def test_a_port_of_another_program_is_refused(layout: Layout) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        file = write(layout, "10-a.py", f"\nc.JupyterHub.bind_url = 'http://127.0.0.1:{port}/x'\n")
        problem = only(check(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert f"port {port} is in use by" in problem.message
    assert check(layout) == []


EVERYWHERE, LOOPBACK = ("[::]", 80), ("127.0.0.1", 8000)


@pytest.mark.parametrize(
    ("public", "text", "where"),
    [
        (EVERYWHERE, "bind_url = 'http://:80/x'", None),
        (EVERYWHERE, "base_url = '/x'", None),
        (EVERYWHERE, "bind_url = 'http://0.0.0.0:80'", None),
        (EVERYWHERE, "bind_url = 'https://:443'", None),
        (EVERYWHERE, "bind_url = 'http://:8000'", "port 80 of every address"),
        (EVERYWHERE, "port = 8000", "port 80 of every address"),
        (EVERYWHERE, "ip = '127.0.0.1'", "port 80 of every address"),
        (EVERYWHERE, "bind_url = 'http://127.0.0.1:80'", "port 80 of every address"),
        (LOOPBACK, "bind_url = 'http://:8000/x'", None),
        (LOOPBACK, "bind_url = 'http://localhost:8000'", None),
        (LOOPBACK, "bind_url = 'http://0.0.0.0:8000'", "port 8000 of 127.0.0.1"),
    ],
)
def test_an_address_that_the_socket_does_not_have_is_a_warning(
    layout: Layout, public: tuple[str, int], text: str, where: str | None
) -> None:
    file = write(layout, "10-a.py", f"\nc.JupyterHub.{text}\n")
    config = RecordingConfig()
    for section, values in defaults(layout, UnitEnvironment()).items():
        config[section].update(values)
    execute(Path(file), config)
    complete(config)
    facts = {"base": str(layout.base), "fragments": str(layout.fragments), "is_service": False,
             "addresses": [], "listeners": [], "writable": [], "public": [public]}  # fmt: skip
    found = [
        problem for problem in evaluator.judge(config, facts) if "no effect" in problem.message
    ]
    assert [(p.file, p.line, p.is_warning) for p in found] == ([(file, 2, True)] if where else [])
    assert where is None or f"where its socket does, at {where}; expected" in found[0].message


@pytest.mark.parametrize(
    ("host", "address", "proxy", "is_told"),
    [
        ("", "192.0.2.1", "", True),
        ("192.0.2.1", "192.0.2.1", "", True),
        ("[2001:db8::1]", "2001:db8::1", "", True),
        ("192.0.2.1", "::", "", True),
        ("192.0.2.1", "192.0.2.2", "", False),
        ("", "192.0.2.1", "c.JupyterHub.proxy_class = 'configurable-http-proxy'", False),
    ],
)
def test_the_port_of_https_is_taken_where_the_proxy_is_to_listen(
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    address: str,
    proxy: str,
    is_told: bool,
) -> None:
    monkeypatch.setenv("LITTLEST_HUB_PUBLIC_PORT", f"{host}:80" if host else "80")
    file = write(layout, "10-a.py", f"c.JupyterHub.ssl_cert = '/a'\n{proxy}\n")
    config = RecordingConfig()
    for section, values in defaults(layout, UnitEnvironment()).items():
        config[section].update(values)
    execute(Path(file), config)
    complete(config)
    other = {"address": address, "port": 443, "whose": "nginx (process 7)"}
    facts = {"base": str(layout.base), "fragments": str(layout.fragments), "is_service": True,
             "addresses": [], "listeners": [other], "writable": [], "public": [],
             "capabilities": []}  # fmt: skip
    found = [p for p in evaluator.judge(config, facts) if "in use by nginx" in p.message]
    assert [p.line for p in found] == ([1] if is_told else [])


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    key, cert = directory / f"{name}.key", directory / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return key, cert


@pytest.mark.needs("openssl")
def test_a_key_has_to_be_that_of_the_certificate(layout: Layout, tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "a")
    other, _ = certificate(tmp_path, "b")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    text = "c.JupyterHub.ssl_key = {!r}\nc.JupyterHub.ssl_cert = {!r}\n"
    file = write(layout, "10-a.py", text.format(str(other), str(cert)))
    problem = only(check(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "is not the key of" in problem.message
    write(layout, "10-a.py", text.format(str(key), str(cert)))
    assert check(layout) == []


def test_a_cookie_secret_is_for_the_hub_alone(layout: Layout, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o644)
    write(layout, "10-a.py", f"c.JupyterHub.cookie_secret_file = {str(secret)!r}\n")
    assert "has mode 0644; expected 0600" in only(check(layout)).message
    secret.chmod(0o600)
    assert check(layout) == []


# --- warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c.LocalProcessSpawner.popen_kwargs = {'x': 1}", "spawner_class is UnitSpawner"),
        ("c.Authenticator.whitelist = {'alice'}", "deprecated in JupyterHub 1.2"),
        ("c.Spawner.mem_limit = 512", "too little for a server"),
        ("c.Spawner.default_url = 'lab'", "expected a path such as '/lab'"),
        ("c.Spawner.cmd = 'jupyter-labhub'", "expected an absolute path"),
        ("c.JupyterHub.load_groups = {'class': ['alice']}", "deprecated since JupyterHub 3.2"),
        ("c.JupyterHub.db_url = 'sqlite://'", "forgets everybody"),
        ("c.JupyterHub.template_paths = ['/no/templates']", "no directory /no/templates"),
        ("c.PAMAuthenticator.admin_groups = {'no-such-group'}", "no group 'no-such-group'"),
        ("c.JupyterHub.authenticator_class = 'pam'", "expected no authenticator_class"),
        ("c.HubProxy.trusted_proxies = ['0.0.0.0/0']", "'0.0.0.0/0' is everybody"),
        ("c.ConfigurableHTTPProxy.debug = True", "proxy_class is HubProxy"),
    ],
)
def test_what_is_hardly_meant_so_is_a_warning_and_no_error(
    layout: Layout, text: str, message: str
) -> None:
    file = write(layout, "10-a.py", f"\n{text}\n")
    report = examine(layout)
    assert report.errors == []
    (warning,) = report.warnings
    assert str(warning).startswith(f"{file}:2: warning: ")
    assert message in warning.message


def test_a_copy_is_checked_in_place_of_the_fragment(layout: Layout) -> None:
    write(layout, "10-a.py", "c.Spawner.mem_limit = '1Q'\n")
    copy = layout.fragments / ".10-a.x.py"
    copy.write_text("\n\nc.Spawner.mem_limit = '2Q'\nopen(__file__ + 'x')\n")
    fragment = layout.fragments / "10-a.py"
    problems = examine(layout, {fragment: copy}).errors
    assert [(p.file, p.line) for p in problems] == [(str(fragment), 3), (str(fragment), 4)]
    assert ".10-a" not in "".join(p.message for p in problems)


def test_secrets_do_not_get_into_messages(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.authenticator_class = 'shared-password'\n"
          "c.SharedPasswordAuthenticator.user_password = 4711471147\n")  # fmt: skip
    assert "4711471147" not in only(check(layout)).message


@pytest.mark.parametrize(
    "text",
    [
        "c.JupyterHub.db_url = 'postgresql://jh:hunter2@db/hub',",
        "c.JupyterHub.db_url = 'jh:hunter2@db'",
        "c.JupyterHub.db_url = ['hunter2']",
        "c.CryptKeeper.keys = {'hunter2': 1}, 'hunter2'",
        "c.Spawner.environment = ['PASSWORD', 'hunter2']",
        "c.Spawner.environment = {'PIN': [47114711, 'hunter2']}",
        "c.JupyterHub.services = [{'api_token': 'hunter2'}]",
        "c.JupyterHub.services = {'name': 'x', 'api_token': 'hunter2'}",
        "c.JupyterHub.bind_url = 'ftp://jh:hunter2/@x'",
        "raise OSError('no answer from ldap://cn=jh:hunter2@ldap')",
        "open('https://jh:hunter2@example.org/users')",
    ],
)
def test_passwords_do_not_get_into_messages(layout: Layout, text: str) -> None:
    file = write(layout, "10-a.py", f"\n{text}\n")
    problems = check(layout)
    assert {(p.file, p.line) for p in problems} == {(file, 2)}, problems
    assert not any(s in str(p) for p in problems for s in ("hunter2", "47114711")), problems
