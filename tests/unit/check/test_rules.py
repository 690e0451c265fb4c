"""Rules that need more than a fragment: a machine, files, a certificate."""

import socket
import ssl
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from jupyterhub import orm

from littlest_hub.check.facts import Facts, OtherListener, Rights
from littlest_hub.check.jupyterhub_api import complete, defaults, execute
from littlest_hub.check.origins import RecordingConfig
from littlest_hub.check.rules import RULES
from littlest_hub.check.validation import validate
from littlest_hub.layout import Layout
from littlest_hub.units.environment import UnitEnvironment
from tests.unit.check.fragments import errors, only, write

pytestmark = pytest.mark.unit


def loaded(layout: Layout, file: str) -> RecordingConfig:
    """Return the configuration of the defaults and one fragment."""
    config = RecordingConfig()
    for section, values in defaults(layout, UnitEnvironment()).items():
        config[section].update(values)
    execute(Path(file), config)
    complete(config)
    return config


def test_every_rule_is_registered_once_and_documented() -> None:
    assert len(set(RULES)) == len(RULES)
    assert all(rule.__doc__ for rule in RULES)


def test_a_port_of_another_program_is_refused(layout: Layout) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        file = write(layout, "10-a.py", f"\nc.JupyterHub.bind_url = 'http://127.0.0.1:{port}/x'\n")
        problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert f"port {port} is in use by" in problem.message
    assert errors(layout) == []


@pytest.mark.parametrize(("key", "is_refused"), [("port", False), ("hub_port", True)])
def test_a_port_of_another_program_is_no_error_where_a_socket_decides(
    layout: Layout, key: str, is_refused: bool
) -> None:
    config = loaded(layout, write(layout, "10-a.py", f"c.JupyterHub.{key} = 8123\n"))
    facts = Facts(
        is_service=True,
        listeners=(OtherListener("::", 8123, "nginx (process 7)"),),
        public_sockets=(("[::]", 80),),
    )
    found = list(validate(config, layout, facts))
    refused = any("in use by nginx" in each.message for each in found)
    warned = any(each.is_warning and "has no effect" in each.message for each in found)
    assert (refused, warned) == (is_refused, not is_refused)


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
def test_an_address_that_the_socket_overrides_is_a_warning(
    layout: Layout, public: tuple[str, int], text: str, where: str | None
) -> None:
    file = write(layout, "10-a.py", f"\nc.JupyterHub.{text}\n")
    config = loaded(layout, file)
    facts = Facts(public_sockets=(public,))
    found = [p for p in validate(config, layout, facts) if "no effect" in p.message]
    assert [(p.file, p.line, p.is_warning) for p in found] == ([(file, 2, True)] if where else [])
    assert where is None or f"where its socket does, at {where}; expected" in found[0].message


@pytest.mark.parametrize(
    ("text", "is_warning"),
    [
        ("hub_connect_url = 'http://x.invalid:15001'", True),
        ("hub_connect_ip = 'x.invalid'", False),
    ],
)
def test_a_hubs_url_whose_name_does_not_resolve_now_is_a_warning(
    layout: Layout, text: str, is_warning: bool
) -> None:
    config = loaded(layout, write(layout, "10-a.py", f"\nc.JupyterHub.{text}\n"))
    facts = Facts(hub_sockets=(("127.0.0.1", 15001),))
    (problem,) = [p for p in validate(config, layout, facts) if ".invalid" in p.message]
    assert (problem.line, problem.is_warning) == (2, is_warning)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://203.0.113.9:0", "by http and TCP only"),
        ("https://hub.example.org", "by http and TCP only"),
        ("http://203.0.113.9:8080", "would listen at 203.0.113.9:8080 too, which fails"),
        ("http://203.0.113.9:0", "would listen at 203.0.113.9:80 too, which fails"),
        ("http://203.0.113.9:15001", None),
        ("http://127.0.0.1:15001", None),
    ],
)
def test_a_url_of_the_hub_with_which_it_does_not_start_is_refused(
    layout: Layout, url: str, message: str | None
) -> None:
    text = f"\nc.JupyterHub.hub_connect_url = {url!r}\n"
    config = loaded(layout, write(layout, "10-a.py", text))
    found = [*validate(config, layout, Facts(hub_sockets=(("127.0.0.1", 15001),)))]
    assert [problem.line for problem in found] == ([2] if message else [])
    assert not message or message in found[0].message


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("x", True),
        ("", True),
        ("http://:8000", True),
        ("http://127.0.0.1:15001", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:9000", False),
        ("http://203.0.113.9:8000", False),
        ("https://127.0.0.1", False),
    ],
)
def test_servers_are_not_sent_where_nothing_listens(
    layout: Layout, url: str, is_refused: bool
) -> None:
    text = f"\nc.Spawner.hub_connect_url = {url!r}\n"
    config = loaded(layout, write(layout, "10-a.py", text))
    facts = Facts(
        listeners=(OtherListener("127.0.0.1", 9000, "nginx (process 7)"),),
        public_sockets=(("[::]", 80),),
        hub_sockets=(("127.0.0.1", 15001),),
    )
    found = [*validate(config, layout, facts)]
    assert [problem.line for problem in found] == ([2] if is_refused else [])
    other = write(layout, "20-b.py", f"{text}c.JupyterHub.spawner_class = 'slurm'\n")
    messages = [problem.message for problem in validate(loaded(layout, other), layout, facts)]
    assert not [message for message in messages if "nothing listens" in message]


@pytest.mark.parametrize(("port", "is_refused"), [(9901, True), (15001, False), (0, False)])
def test_a_port_at_which_the_hub_does_not_listen_is_refused(
    layout: Layout, port: int, is_refused: bool
) -> None:
    text = f"\nc.JupyterHub.hub_connect_port = {port}\n"
    config = loaded(layout, write(layout, "10-a.py", text))
    facts = Facts(hub_sockets=(("127.0.0.1", 15001),))
    found = [p for p in validate(config, layout, facts) if "it listens at" in p.message]
    assert [p.line for p in found] == ([2] if is_refused else [])


@pytest.mark.parametrize(
    ("host", "address", "proxy", "is_refused"),
    [
        ("", "192.0.2.1", "", True),
        ("192.0.2.1", "192.0.2.1", "", True),
        ("[2001:db8::1]", "2001:db8::1", "", True),
        ("192.0.2.1", "::", "", True),
        ("192.0.2.1", "192.0.2.2", "", False),
        ("", "192.0.2.1", "c.JupyterHub.proxy_class = 'configurable-http-proxy'", False),
    ],
)
def test_an_https_port_in_use_is_refused_only_at_the_proxys_address(
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    address: str,
    proxy: str,
    is_refused: bool,
) -> None:
    monkeypatch.setenv("LITTLEST_HUB_PUBLIC_PORT", f"{host}:80" if host else "80")
    file = write(layout, "10-a.py", f"c.JupyterHub.ssl_cert = '/a'\n{proxy}\n")
    config = loaded(layout, file)
    other = OtherListener(address, 443, "nginx (process 7)")
    facts = Facts(is_service=True, listeners=(other,), rights=Rights(False, False))
    found = [p for p in validate(config, layout, facts) if "in use by nginx" in p.message]
    assert [p.line for p in found] == ([1] if is_refused else [])


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    key, cert = directory / f"{name}.key", directory / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return key, cert


@pytest.mark.needs("openssl")
def test_a_key_must_match_its_certificate(layout: Layout, tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "a")
    other, _ = certificate(tmp_path, "b")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    text = "c.JupyterHub.ssl_key = {!r}\nc.JupyterHub.ssl_cert = {!r}\n"
    file = write(layout, "10-a.py", text.format(str(other), str(cert)))
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "is not the key of" in problem.message
    write(layout, "10-a.py", text.format(str(key), str(cert)))
    assert errors(layout) == []


def test_only_the_hub_may_read_the_cookie_secret(layout: Layout, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o644)
    write(layout, "10-a.py", f"c.JupyterHub.cookie_secret_file = {str(secret)!r}\n")
    assert "has mode 0644; expected 0600" in only(errors(layout)).message
    secret.chmod(0o600)
    assert errors(layout) == []


def test_braces_that_are_no_placeholder_are_accepted(layout: Layout) -> None:
    write(
        layout,
        "10-a.py",
        """
c.Spawner.args = ["--ServerApp.tornado_settings={'headers': {'X-A': 'b'}}", "--x={port} ${USER}"]
c.Spawner.default_url = "/lab?x={}&y={username}"
c.SystemdSpawner.unit_extra_properties = {"Environment": 'MARK={"a":1}'}
c.SystemdSpawner.user_workingdir = "/home/{USERNAME}"
c.SystemdSpawner.unit_name_template = "jupyter-{USERID}"
""",
    )
    assert errors(layout) == []


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("/home/plain", "there is no account '/home/plain'"),
        ("nobody-of-this-name", "there is no account 'nobody-of-this-name'"),
        ("root", None),
        ("jupyter-{USERNAME}", None),
    ],
)
def test_an_account_for_all_must_exist(layout: Layout, template: str, message: str | None) -> None:
    write(layout, "10-a.py", f"c.SystemdSpawner.username_template = {template!r}\n")
    found = errors(layout)
    assert (message in only(found).message) if message else found == []
    write(layout, "20-b.py", "c.SystemdSpawner.dynamic_users = True\n")
    assert errors(layout) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("'{USERNAME}'", "10: expected a dictionary with groups and spawner_override"),
        ("{'groups': ['a']}", "10: expected a dictionary with groups and spawner_override"),
        ("{'groups': 'a', 'spawner_override': {}}", "10: groups: expected a list of names"),
        ("{'groups': ['a'], 'spawner_override': ['x']}", "expected a dictionary of settings"),
        ("{'groups': ['a'], 'spawner_override': {'memlimit': '2G'}}", "no setting 'memlimit'"),
        ("{'groups': ['a'], 'spawner_override': {'mem_limit': 'much'}}", "mem_limit: "),
        ("{'groups': ['a'], 'spawner_override': {'start_timeout': 'x'}}", "start_timeout: "),
    ],
)
def test_an_override_for_a_group_that_would_stop_its_servers_is_refused(
    layout: Layout, override: str, message: str
) -> None:
    fragment = f"c.Spawner.group_overrides = {{\n    '10': {override},\n}}\n"
    file = write(layout, "10-a.py", fragment)
    problem = only(errors(layout))
    assert problem.file == file
    assert message in problem.message


def test_overrides_for_groups_that_jupyterhub_applies_are_accepted(layout: Layout) -> None:
    write(
        layout,
        "10-a.py",
        """
c.Spawner.group_overrides = {
    "10": {"groups": {"a"}, "spawner_override": {"mem_limit": "2G", "environment": {"A": "b"}}},
    "20": {"groups": ["b"], "spawner_override": {"start_timeout": lambda spawner: 90}},
    "30": {"groups": ("c",), "spawner_override": {"mem_limit": None, "cmd": ["/bin/true"]}},
}
""",
    )
    assert errors(layout) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("#!/bin/sh\\n{cmd} ${SLURM_JOB_ID}", "there is no placeholder {SLURM_JOB_ID}"),
        ("{cmd} {queue} {", "Single '{' encountered"),
        ("{cmd} {queue} {homedir} {size}", None),
        ("{{cmd}} ${SLURM_JOB_ID}", None),
    ],
)
def test_a_job_script_that_batchspawner_cannot_fill_in_is_refused(
    layout: Layout, script: str, message: str | None
) -> None:
    write(
        layout,
        "10-a.py",
        f"""import batchspawner
from traitlets import Enum
c.JupyterHub.spawner_class = "batchspawner.TorqueSpawner"
c.TorqueSpawner.exec_prefix = ""
c.RequestPolicy.user_options = {{"size": Enum(["a", "b"])}}
c.TorqueSpawner.batch_script = "{script}"
""",
    )
    found = errors(layout)
    if message is None:
        assert found == []
    else:
        assert only(found).line == 6
        assert message in only(found).message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("max_body_bytes = 5", "65536"),
        ("max_body_bytes = '1G'", "int"),
        ("max_progress_streams = 0", "1"),
        ("max_bodies = 5", "no such setting"),
    ],
)
def test_limits_of_requests_are_validated(layout: Layout, setting: str, message: str) -> None:
    write(layout, "10-a.py", f"c.RequestLimits.{setting}\n")
    assert message in only(errors(layout)).message


def test_limits_of_requests_may_be_raised(layout: Layout) -> None:
    write(layout, "10-a.py", "c.RequestLimits.max_body_bytes = 50_000_000\n")
    assert errors(layout) == []


def test_users_of_the_database_are_users_of_the_hub_that_a_check_builds(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.load_groups = {'a': {'users': ['former']}}\n")
    assert "User former does not exist" in only(errors(layout)).message
    session = orm.new_session_factory(f"sqlite:///{layout.database}")()
    session.add(orm.User(name="former"))
    session.commit()
    # As a hub, which asks only for users that are new.
    assert errors(layout) == []
    assert [user.name for user in session.query(orm.User)] == ["former"]
    assert session.query(orm.Group).all() == []
