"""The doctor's conclusions from recorded output of systemd, the journal and the kernel."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from littlest_hub import doctor
from littlest_hub.doctor import host, services
from littlest_hub.doctor.certificates import certificates
from littlest_hub.doctor.failed_spawns import FailedSpawn, failed_spawns, started_since
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.hooks import hooks
from littlest_hub.doctor.host import parse_properties, systemd_version
from littlest_hub.doctor.journal import JournalEntry, parse_journal
from littlest_hub.doctor.servers import denied_name_servers, disagreements, held_ports
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.helpers import closed_connections
from littlest_hub.hub.hook_errors import HookFailure
from littlest_hub.hub.launch import (
    NotStartedError,
    ended,
    environment_file,
    find_program,
    no_account,
    refused,
    shared_number,
)
from littlest_hub.hub.systemd_units import UnitState
from littlest_hub.layout import Layout
from littlest_hub.proxy.routes import RoutesFile
from littlest_hub.system import tcp
from littlest_hub.system.systemctl import parse_show

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = sorted(directory.name for directory in RECORDED.iterdir())

# Failed starts on the recorded machines, by user: the decisive line, and its meaning.
EXPECTED = {
    "homeless": ("working directory failed: No such file", "home directory is missing"),
    "relcommand": ("nosuchcommand not found on", "c.Spawner.cmd"),
    "nocommand": ("Failed to find executable /no/such/command", "c.Spawner.cmd"),
    "silent": ("never showed up", "does not answer in time"),
    "namespace": ("/nowhere/at/all: No such file", "does not exist"),
    "crash": ("the decisive line", "the server printed"),
    "hook": ("the hook says no", "hook of a fragment"),
    "badprop": ("Unknown assignment: NoSuchProperty=yes", "refuses a property"),
    "nologin": ("name not found: 'nologin'", "no such system account"),
}


def recorded(version: str, name: str) -> str:
    return (RECORDED / version / name).read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("user", EXPECTED)
def test_the_decisive_line_of_a_failed_server_is_found(version: str, user: str) -> None:
    entries = list(parse_journal(recorded(version, "journal.json").splitlines()))
    layout = Layout(Path("/opt/littlest-hub"))
    hub = layout.hub_service
    found = {f.user: f for f in failed_spawns(entries, layout, "edit x")}
    assert set(found) == set(EXPECTED)
    line, why = EXPECTED[user]
    assert line in found[user].line
    assert why in found[user].meaning
    assert found[user].command
    assert not started_since(entries, hub, found[user])


@pytest.mark.parametrize(
    "message",
    [
        refused("littlest-hub.user-alice.service", "exit code 1"),
        ended("littlest-hub.user-alice.service", UnitState(result="exit-code", status=1)),
    ],
)
def test_messages_of_our_spawner_lead_to_the_journal_of_the_unit(message: NotStartedError) -> None:
    reason = "littlest-hub.user-alice.service: Failed at step NAMESPACE spawning python3"
    failure = _failure(
        JournalEntry(1, "littlest-hub.user-alice.service", "systemd", reason, 3), message
    )
    assert failure.line == reason


def test_messages_of_our_spawner_are_explained() -> None:
    # The account need not have the user's name.
    missing = _failure(no_account("jupyter-alice"))
    assert "no such system account" in missing.meaning
    assert missing.command.endswith(" jupyter-alice")
    with pytest.raises(NotStartedError) as raised:
        find_program("no-such-program", "/bin")
    assert "c.Spawner.cmd" in _failure(raised.value).meaning
    for environment in ({"A": "\x1b"}, {"A B": "x"}):
        with pytest.raises(NotStartedError) as raised:
            environment_file(environment)
        assert "c.Spawner.environment" in _failure(raised.value).meaning
    elsewhere = NotStartedError("Job 7: it failed. What it printed is in /home/al ice/log)")
    assert _failure(elsewhere).command == "runuser -u alice -- tail /home/al"
    waiting = NotStartedError("Job 7: somebody cancelled it, or Slurm did")
    assert "ended while it waited" in _failure(waiting).meaning
    shared = shared_number("4711", "alice", 1000)
    assert "same number" in _failure(shared).meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ValueError("no such course"), "hook of a fragment has raised"),
        (PermissionError(1, "Operation not permitted"), "how-to/homes.md"),
    ],
)
def test_a_failed_hook_is_explained_with_its_line(
    error: Exception, meaning: str, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.fragments.mkdir()
    file = layout.fragments / "60-mine.py"
    file.write_text("")
    failure = str(HookFailure("c.Spawner.auth_state_hook", str(file), 3, error))
    lines = [
        "JupyterHub user:1103] Unhandled error starting alice's server: ",
        "Traceback (most recent call last):",
        f'  File "{file}", line 3, in hook',
        f"JupyterHub hook_errors:70] {failure}",
        "JupyterHub log:192] 500 POST /hub/api/users/alice/server",
    ]
    now = int(time.time() * 1e6)
    entries = [
        JournalEntry(now + number, layout.hub_service, "python3", line, 3)
        for number, line in enumerate(lines)
    ]
    (spawn,) = failed_spawns(entries, layout, "edit x")
    assert spawn.line == failure
    assert meaning in spawn.meaning
    snapshot = Snapshot(layout)
    snapshot.__dict__["journal"] = entries
    (finding,) = hooks(snapshot)
    assert finding.subject == f"{file}:3"
    assert failure in finding.text
    # It was edited since.
    os.utime(file, (time.time() + 60, time.time() + 60))
    assert not list(hooks(snapshot))


def _failure(*events: JournalEntry | NotStartedError) -> FailedSpawn:
    """Return what the doctor reads from a journal; errors are logged as JupyterHub does."""
    layout = Layout(Path("/opt/littlest-hub"))
    entries = [
        JournalEntry(
            2, layout.hub_service, "python3", f"Unhandled error starting alice's server: {event}", 3
        )
        if isinstance(event, NotStartedError)
        else event
        for event in events
    ]
    (failure,) = failed_spawns(entries, layout, "edit x")
    return failure


@pytest.mark.parametrize("version", VERSIONS)
def test_units_of_every_recorded_systemd_are_parsed(version: str) -> None:
    units = parse_show(recorded(version, "show"))
    layout = Layout(Path("/opt/littlest-hub"))
    assert {*layout.started_unit_names, *layout.helper_sockets} <= set(units)
    assert units[layout.hub_service]["ActiveState"] == "active"
    assert units["littlest-hub.user-crash.service"]["Result"] == "exit-code"
    snapshot = Snapshot(layout)
    snapshot.__dict__.update(units=units, is_foreground=False, is_booted=True)
    assert snapshot.address_of(snapshot.layout.proxy_socket) == ("127.0.0.1", 80)
    findings = list(services.unit_states(snapshot))
    assert {finding.severity for finding in findings} == {OK}


@pytest.mark.parametrize("version", VERSIONS)
def test_version_clock_and_ports_are_parsed(version: str) -> None:
    assert systemd_version(recorded(version, "version")) == int(version)
    shown = parse_properties(recorded(version, "timedatectl"))
    assert shown["NTPSynchronized"] == "no"
    assert {15001, 15002, 80} <= {found.port for found in tcp.parse(recorded(version, "tcp"))}


def test_routes_are_read_as_the_hub_writes_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.routes.parent.mkdir(parents=True)
    known = {"routespec": "/j/", "router": "r", "service": "s", "data": {"hub": True}}
    tables = {"routers": {"r": {"rule": "x"}}, "services": {"s": {"loadBalancer": {}}}}
    RoutesFile(layout.routes).atomic_dump({"http": tables, "jupyterhub": {"routes": {"r": known}}})
    assert Snapshot(layout).routes == [known]
    assert Snapshot(layout).base_url == "/j/"


def _of_unit(**shown: str) -> list[Finding]:
    snapshot = Snapshot(Layout(Path("/opt/littlest-hub")))
    snapshot.__dict__.update(units={}, is_foreground=False, is_booted=True)
    shown = {"LoadState": "loaded", "ActiveState": "active", **shown}
    return list(services._unit_state(snapshot, "x.service", shown))


@pytest.mark.parametrize(
    ("shown", "severity", "command"),
    [
        ({}, OK, ""),
        ({"ActiveState": "inactive"}, PROBLEM, "systemctl start x.service"),
        ({"ActiveState": "failed", "Result": "exit-code"}, PROBLEM, "systemctl start x.service"),
        ({"LoadState": "masked"}, PROBLEM, "systemctl unmask x.service"),
        ({"LoadState": "not-found"}, PROBLEM, "littlest-hub install"),
        ({"NeedDaemonReload": "yes"}, WARNING, "systemctl daemon-reload"),
        ({"UnitFileState": "disabled"}, WARNING, "systemctl enable x.service"),
        ({"NRestarts": "3"}, WARNING, "journalctl -u x.service"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "9"},
            PROBLEM,
            "journalctl -u x.service",
        ),
    ],
)
def test_a_finding_about_a_unit_has_its_command(
    shown: dict[str, str], severity: str, command: str
) -> None:
    first = _of_unit(**shown)[0]
    assert first.severity == severity
    assert command in first.command


def test_the_cause_of_a_crash_loop_is_the_status_of_the_service() -> None:
    snapshot = Snapshot(Layout(Path("/opt/littlest-hub")))
    snapshot.__dict__.update(units={"x.service": {"StatusText": "10-users.py:3: SyntaxError"}})
    shown = {"LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart"}
    (finding,) = services._unit_state(snapshot, "x.service", shown)
    assert "10-users.py:3: SyntaxError" in finding.text


SERVER = {"base_url": "/user/alice/", "state": {"unit_name": "littlest-hub.user-alice"}}
UNIT = "littlest-hub.user-alice.service"


@pytest.mark.parametrize(
    ("servers", "routes", "running", "subject", "severity"),
    [
        ([SERVER], ["/", "/user/alice/"], [UNIT], None, OK),
        ([SERVER], ["/", "host.example/user/alice/"], [UNIT], None, OK),
        ([SERVER], ["/"], [UNIT], "/user/alice/", PROBLEM),
        ([], ["/", "/user/alice/"], [], "/user/alice/", WARNING),
        ([], ["/"], [UNIT], UNIT, WARNING),
        ([SERVER], ["/user/alice/"], [], UNIT, WARNING),
        # It waits, here or in the queue of a cluster.
        ([{**SERVER, "state": {"waiting_since": 1.5, "job": "31"}}], ["/"], [], None, OK),
        # Another spawner has no unit.
        ([{**SERVER, "state": {"pid": 3}}], ["/user/alice/"], [], None, OK),
    ],
)
def test_database_proxy_and_systemd_are_compared_both_ways(
    servers: list[dict[str, object]],
    routes: list[str],
    running: list[str],
    subject: str | None,
    severity: str,
) -> None:
    found = list(disagreements(servers, routes, running, hub_unit="hub"))
    wrong = [finding for finding in found if finding.severity != OK]
    assert [(f.subject, f.severity) for f in wrong] == ([(subject, severity)] if subject else [])
    assert all(finding.command for finding in wrong)


def _disk(**changes: int) -> os.statvfs_result:
    values = {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 10**7, "f_bfree": 5 * 10**6,
              "f_bavail": 5 * 10**6, "f_files": 10**6, "f_ffree": 10**5, "f_favail": 10**5,
              "f_flag": 0, "f_namemax": 255, **changes}  # fmt: skip
    return os.statvfs_result(tuple(values.values()))


@pytest.mark.parametrize(
    ("changes", "severities"),
    [
        ({}, [OK]),
        ({"f_bavail": 3 * 10**5}, [WARNING]),
        ({"f_bavail": 10}, [PROBLEM]),
        ({"f_favail": 5}, [OK, PROBLEM]),
        ({"f_flag": os.ST_RDONLY}, [PROBLEM, OK]),
        # btrfs counts no inodes.
        ({"f_files": 0, "f_favail": 0}, [OK]),
    ],
)
def test_a_disk_that_fills_is_seen_before_it_is_full(
    changes: dict[str, int], severities: list[str]
) -> None:
    assert [finding.severity for finding in host.disk("/srv", _disk(**changes))] == severities


@pytest.mark.row(26)
@pytest.mark.parametrize("status", ["holds 3 ports", "holds 0 ports; cannot hold others: no"])
def test_a_kernel_that_does_not_let_ports_be_held_is_reported(status: str) -> None:
    snapshot = Snapshot(Layout(Path("/opt/littlest-hub")))
    snapshot.__dict__.update(units={snapshot.layout.guard_service: {"StatusText": status}})
    texts = [finding.text for finding in held_ports(snapshot)]
    assert ["are not held (no)" in text for text in texts] == [True] * ("cannot" in status)


@pytest.mark.row(15)
def test_a_limit_of_closed_connections_that_leaves_no_ports_to_others_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "tcp_max_tw_buckets"
    monkeypatch.setattr(closed_connections, "LIMIT", limit)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    limit.write_text("131072\n")
    snapshot = Snapshot(Layout(tmp_path))
    snapshot.__dict__.update(is_foreground=False)
    (found, *_) = host.limits(snapshot)
    assert found.severity == WARNING
    setting = f"net.ipv4.tcp_max_tw_buckets={closed_connections.most()}"
    assert found.command.startswith(f"echo {setting} >/etc/sysctl.d/"), "it stays after a reboot"
    closed_connections.main()
    assert limit.read_text() == str(closed_connections.most())
    assert found not in host.limits(snapshot)
    # An administrator's lower one stays.
    limit.write_text("100\n")
    closed_connections.main()
    assert limit.read_text() == "100\n"


def test_what_still_runs_from_replaced_files_is_called_by_its_release(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    active = layout.releases / "2026.12.0" / "bin"
    active.mkdir(parents=True)
    (active / "python3").touch()
    layout.hub.symlink_to(active.parent)
    # The installer hides the files of a release that it replaces.
    program = layout.releases / ".2026.11.0.installing" / "sleep"
    program.parent.mkdir()
    shutil.copy(Path(shutil.which("sleep") or "").resolve(), program)
    with subprocess.Popen([program, "60"]) as sleeping:
        running = {"MainPID": str(sleeping.pid)}
        snapshot = Snapshot(layout)
        snapshot.__dict__.update(units={layout.hub_service: running}, user_units={UNIT: running})
        found = [finding for finding in services.releases(snapshot) if finding.severity != OK]
        sleeping.kill()
    assert [finding.text for finding in found] == [
        "still runs earlier files of release 2026.11.0, the active one is 2026.12.0",
        "1 still run earlier files of release 2026.11.0, until their users restart them",
    ]


def test_a_hub_of_one_user_is_told_nothing_of_other_users_and_visitors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "tcp_max_tw_buckets"
    limit.write_text("131072\n")
    monkeypatch.setattr(closed_connections, "LIMIT", limit)
    snapshot = Snapshot(Layout(tmp_path))
    snapshot.__dict__.update(is_foreground=True)
    assert not list(host.limits(snapshot))
    assert "firewall" not in {finding.subject for finding in host.system(snapshot)}
    assert not list(certificates(snapshot))


def test_https_is_no_problem_while_systemd_does_not_answer(tmp_path: Path) -> None:
    snapshot = Snapshot(Layout(tmp_path))
    snapshot.layout.static_config.parent.mkdir(parents=True)
    snapshot.layout.static_config.write_text('[entryPoints.https]\naddress = ":443"\n')
    snapshot.__dict__.update(units={}, is_foreground=False, is_booted=True)
    (finding,) = certificates(snapshot)
    assert (finding.severity, finding.subject) == (UNSEEN, "HTTPS")


def test_a_name_server_that_is_denied_to_user_servers_is_reported() -> None:
    cloud = "# by cloud-init\nsearch c.example.internal\nnameserver 169.254.169.254\n"
    (finding,) = denied_name_servers(cloud)
    assert finding.severity == "warning"
    assert "systemd-resolved" in finding.command
    assert not list(denied_name_servers("nameserver 127.0.0.53\nnameserver 169.254.169.253\n"))


@pytest.mark.parametrize(
    ("shown", "severity"),
    [
        ({"NTPSynchronized": "yes"}, OK),
        ({"NTPSynchronized": "no", "CanNTP": "no"}, OK),
        ({"NTPSynchronized": "no", "CanNTP": "yes", "NTP": "no"}, WARNING),
        ({"NTPSynchronized": "no", "CanNTP": "yes", "NTP": "yes"}, WARNING),
        ({}, UNSEEN),
    ],
)
def test_an_unsynchronized_clock_is_a_warning(shown: dict[str, str], severity: str) -> None:
    assert [finding.severity for finding in host.synchronization(shown)] == [severity]


def test_a_probe_that_fails_or_hangs_does_not_affect_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    def failing(_: Snapshot) -> object:
        raise RuntimeError("broken")

    def hanging(_: Snapshot) -> object:
        threading.Event().wait(30)
        return None

    def fine(_: Snapshot) -> object:
        yield Finding(OK, "fine", "is fine")

    probes = (("Services", failing), ("Network", hanging), ("Machine", fine))
    monkeypatch.setattr(doctor, "PROBES", probes)
    found = doctor.examine(Layout(tmp_path), timeout_s=0.5)
    assert [f.severity for f in found] == [UNSEEN, UNSEEN, OK]
    assert "RuntimeError: broken" in found[0].text
    assert "0.5 s" in found[1].text


@pytest.mark.row(42)
def test_what_users_name_and_print_gives_no_order_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hostile(_: Snapshot) -> object:
        yield Finding(PROBLEM, "a\x1b[2J", "one\x1b]0;x\x07\ntwo\r", "run \x9b2J'b'\n")

    monkeypatch.setattr(doctor, "PROBES", (("Data", hostile),))
    (found,) = doctor.examine(Layout(tmp_path))
    assert (found.subject, found.text) == ("a?[2J", "one?]0;x?\ntwo?")
    assert found.command == "run ?2J'b'?"
    message = json.dumps(
        {"__REALTIME_TIMESTAMP": "1", "MESSAGE": "\x1b[31mred\x1b[0m\x1b]52;\r\nb"}
    )
    (entry,) = parse_journal([message])
    assert entry.message == "red?]52;?\nb"


@pytest.mark.row(42)
def test_a_server_that_prints_what_the_hub_says_names_no_account_in_a_command() -> None:
    printed = "No user named root found: failed: What it printed is in /root/.profile"
    failure = _failure(
        JournalEntry(1, "littlest-hub.user-alice.service", "python3", printed, 3),
        JournalEntry(
            2, "littlest-hub.service", "python3", "alice's server failed to start in 60 seconds", 3
        ),
    )
    assert failure.line == printed
    assert failure.account == "alice"
    assert "root" not in failure.command


def test_only_a_problem_changes_the_exit_code_and_the_report_omits_what_is_in_order() -> None:
    well = [
        Finding(OK, "a", "fine", section="Machine"),
        Finding(WARNING, "b", "so so", "do b", "Data"),
    ]
    assert doctor.is_well(well)
    text = doctor.report(well, everything=False, colour=False)
    assert "fine" not in text
    assert "$ do b" in text
    assert "\033" not in text
    assert "\033[" in doctor.report(well, everything=True, colour=True)
    assert "All is well. 1 warning" in text
    unseen = [*well, Finding(UNSEEN, "d", "cannot be read", section="Data")]
    assert "What could be examined is well." in doctor.report(
        unseen, everything=False, colour=False
    )
    ill = [*well, Finding(PROBLEM, "c", "broken", "repair c", "Services")]
    assert not doctor.is_well(ill)
    data = json.loads(doctor.to_json(Layout(Path("/opt/littlest-hub")), ill))
    assert data["well"] is False
    assert data["counts"] == {"ok": 1, "warning": 1, "problem": 1, "unseen": 0}
    assert data["findings"][2] == {
        "severity": "problem", "subject": "c", "text": "broken", "command": "repair c",
        "section": "Services",
    }  # fmt: skip


def test_a_command_that_mends_several_findings_is_shown_once_after_the_last_of_them() -> None:
    restart = "systemctl restart littlest-hub"
    commands = {"a": restart, "b": "chmod 0700 /b", "c": restart, "d": "", "e": restart}
    found = [Finding(PROBLEM, name, "", each, "Services") for name, each in commands.items()]
    shown = doctor.report(found, everything=False, colour=False).splitlines()[1:-2]
    assert [line.split()[-1].rstrip(":") for line in shown] == [
        *("a", "c", "e", "littlest-hub"),
        *("b", "/b"),
        "d",
    ]
