"""systemctl's output as it is parsed; recorded with systemd 247, 252 and 257."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import systemctl as module
from littlest_hub.system.systemctl import (
    is_active,
    journal_lines,
    list_units,
    listen_streams,
    parse_show,
    parse_streams,
    show,
    systemctl,
)

pytestmark = pytest.mark.unit

RECORDED = Path(__file__).parents[1] / "doctor" / "recorded"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shell script that stands for systemctl and journalctl."""
    for name in ("systemctl", "journalctl"):
        (tmp_path / name).symlink_to("program")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "program"


def write_program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("version", ["247", "252", "257"])
def test_the_properties_of_several_units_are_kept_apart(version: str) -> None:
    units = parse_show((RECORDED / version / "show").read_text())
    assert units["littlest-hub-proxy.socket"]["Listen"] == "[::]:80 (Stream)"
    assert units["littlest-hub-proxy-https.socket"]["ActiveState"] == "inactive"
    assert int(units["littlest-hub.service"]["MainPID"]) > 0
    assert units["littlest-hub.service"]["StatusText"].startswith("JupyterHub answers at http://")
    assert "Listen" not in units["littlest-hub.service"]


def test_a_property_that_is_printed_twice_keeps_both_lines() -> None:
    text = "Listen=80 (Stream)\nListen=[::1]:81 (Stream)\nId=a.socket\n\nNames=b\n"
    assert parse_show(text) == {
        "a.socket": {"Listen": "80 (Stream)\n[::1]:81 (Stream)", "Id": "a.socket"}
    }


def test_only_tcp_sockets_have_an_address_and_a_port() -> None:
    text = "Listen=127.0.0.1:15001 (Stream)\nListen=[::]:80 (Stream)\nListen=/run/x (Stream)\n"
    assert parse_streams(text) == [("127.0.0.1", 15001), ("[::]", 80)]
    assert parse_streams("Listen=127.0.0.1:53 (Datagram)\n") == []


def test_addresses_of_socket_units_come_from_systemctl_show(program: Path) -> None:
    write_program(program, f"cat {RECORDED}/252/show")
    assert listen_streams(["any.socket"]) == {
        ("127.0.0.1", 15001),
        ("127.0.0.1", 15002),
        ("[::]", 80),
        ("[::]", 443),
    }


def test_units_are_listed_by_name_and_state(program: Path) -> None:
    write_program(
        program,
        'echo "$@" >"$0.arguments"; echo "a.service loaded active running Text"; echo " "',
    )
    arguments = program.with_name("systemctl.arguments")
    assert list_units("a*") == ["a.service"]
    assert "--all" in arguments.read_text()
    assert list_units("a*", states=("active", "failed")) == ["a.service"]
    assert "--state=active,failed" in arguments.read_text()


@pytest.mark.parametrize(
    ("state", "expected"),
    [("active", True), ("reloading", True), ("inactive", False), ("failed", False), ("", False)],
)
def test_a_unit_that_reloads_is_active(program: Path, state: str, expected: bool) -> None:
    write_program(program, f"echo {state}")
    assert is_active("a.service") is expected


def test_a_command_that_fails_is_an_error_with_its_output(program: Path) -> None:
    write_program(program, "echo 'Unit x.service not found.' >&2; exit 5")
    with pytest.raises(LittlestHubError, match=r"systemctl stop x\.service failed: Unit x\.serv"):
        systemctl("stop", "x.service")
    assert systemctl("stop", "x.service", is_checked=False) == ""
    assert show("x.service", "MainPID") == ""


def test_a_command_that_takes_too_long_is_an_error(program: Path) -> None:
    write_program(program, "exec sleep 60")
    with pytest.raises(LittlestHubError, match=r"systemctl start x took more than 0\.2 s"):
        systemctl("start", "x", timeout_s=0.2)


def test_output_does_not_depend_on_the_users_language(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    write_program(program, "echo $LC_ALL $SYSTEMD_COLORS")
    assert systemctl("show") == "C 0\n"


def test_an_image_is_named_as_the_root(program: Path) -> None:
    write_program(program, 'echo "$@"')
    assert systemctl("enable", "a.service", root=Path("/mnt")) == "--root=/mnt enable a.service\n"
    assert systemctl("enable", "a.service") == "enable a.service\n"


def test_the_journal_of_several_units_is_read_since_a_moment(program: Path) -> None:
    write_program(program, 'echo "$@"')
    printed = journal_lines(["a.service", "b.service"], since=1700000000.4, lines=5)
    assert "--since=@1700000000 --boot --unit=a.service --unit=b.service" in printed
    assert "--lines=5" in printed


def test_units_are_reloaded_only_where_systemd_runs(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(program, 'echo "$@" >"$0.arguments"')
    monkeypatch.setattr(module, "is_booted", lambda: False)
    module.daemon_reload()
    assert not program.with_name("systemctl.arguments").exists()
    monkeypatch.setattr(module, "is_booted", lambda: True)
    module.daemon_reload()
    assert program.with_name("systemctl.arguments").read_text() == "daemon-reload\n"
