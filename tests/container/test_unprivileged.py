"""A hub that is not root: it works, and whoever takes it over gets no further."""

import base64
import hmac
import json
import re
import shlex
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import releases
from tests.client import Person, RefusedError
from tests.container.conftest import EVERYBODY
from tests.container.test_uninstalling import everything
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

USER, GROUP = "lhub", "lhub-users"
OPTIONS = {"LITTLEST_HUB_USER": USER, "LITTLEST_HUB_ADMIN": "boss"}
UNIT = "littlest-hub.user@{}.service"
SECRET = "of-roots-own-e8b1"
ROOTS = "/etc/roots-secret"
"""A file with it, that nobody but root may read."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine("bookworm", packages=["polkitd", "libpam-google-authenticator"]) as machine:
        machine.put(ROOTS, SECRET, mode=0o600)
        # Whom the hub has nothing to do with.
        machine.add_user("mallory", "a password")
        yield machine


@pytest.fixture(scope="module")
def unprivileged(machine: Machine, installer: Path) -> Hub:
    """A hub that runs as USER, and alice, who may have a server."""
    hub = Hub.install(machine, installer, env=OPTIONS)
    machine.add_user("alice", "alice's password")
    machine.run(["gpasswd", "--add", "alice", GROUP])
    hub.write_fragment("20-everybody.py", EVERYBODY)
    hub.reload()
    return hub


def as_hub(hub: Hub, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody who has taken over the hub, and has even left its sandbox."""
    return hub.machine.run(["runuser", "-u", USER, "--", *argv], check=False)


def write_launch(hub: Hub, who: str, command: str, **environment: str) -> None:
    """Write, as the hub does, what a user's server is going to run: a line of shell."""
    code = (
        "import json, pwd, sys; from pathlib import Path;"
        " from littlest_hub.unprivileged.launcher import launch_variables, write_for_user;"
        " from littlest_hub.hub.launch import environment_file as text;"
        " file, who, command, environment = sys.argv[1:];"
        " variables = launch_variables(['/bin/sh', '-c', command], '');"
        " variables = text({**json.loads(environment), **variables});"
        " write_for_user(Path(file), variables, pwd.getpwnam(who).pw_uid)"
    )
    file = f"{hub.layout.server_environments}/littlest-hub.user@{who}.env"
    python = [hub.path("hub/bin/python3"), "-I", "-c", code]
    written = as_hub(hub, *python, file, who, command, json.dumps(environment))
    assert written.returncode == 0, written.stderr


def start(hub: Hub, who: str) -> subprocess.CompletedProcess[str]:
    return as_hub(hub, "systemctl", "--no-ask-password", "start", UNIT.format(who))


@contextmanager
def one_tmp_for_all(hub: Hub) -> Iterator[None]:
    """Let servers write where we see it."""
    directory = "/etc/systemd/system/littlest-hub.user@.service.d"
    hub.machine.put(f"{directory}/x.conf", "[Service]\nPrivateTmp=no\n")
    hub.machine.systemctl("daemon-reload")
    try:
        yield
    finally:
        hub.machine.run(["rm", "-r", directory])
        hub.machine.systemctl("daemon-reload")


def active(hub: Hub, unit: str) -> bool:
    return hub.machine.systemctl("is-active", unit, check=False).stdout.strip() == "active"


def test_people_log_in_and_work_and_nothing_of_the_hub_is_root(unprivileged: Hub) -> None:
    hub, machine = unprivileged, unprivileged.machine
    # The text of fragments arrives as it is.
    arguments = ["--ServerApp.tornado_settings={'headers': {'X-A': 'b'}}", "--x={y} $HOME $$ %h"]
    with (
        hub.fragment("70-text.py", f"c.Spawner.args = {arguments!r}\n"),
        Person(hub.url, "alice", "alice's password") as alice,
    ):
        alice.log_in()
        alice.start_server()
        assert UNIT.format("alice") in hub.held_ports()
        server = hub.main_pid(UNIT.format("alice"))
        assert machine.read(f"/proc/{server}/cmdline").split("\0")[-3:-1] == arguments
        whoami = "import getpass, os\nprint(getpass.getuser(), os.getcwd())"
        with alice.open_kernel() as kernel:
            assert kernel.run(whoami) == "alice /home/alice\n"
            hub.reload()
            assert kernel.run(whoami) == "alice /home/alice\n", "the websocket broke"
        status = machine.run(["sh", "-c", f"cat /proc/{hub.serving_pid()}/status"]).stdout
        uid = machine.run(["id", "-u", USER]).stdout.strip()
        assert re.search(rf"^Uid:(\t{uid}){{4}}$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert active(hub, UNIT.format("alice"))
        environment = machine.read(f"{hub.layout.server_environments}/littlest-hub.user@alice.env")
        (token,) = re.findall(r"JUPYTERHUB_API_TOKEN=(\S+)", environment)
        assert token not in machine.systemctl("show", UNIT.format("alice")).stdout
        read = f"cat {hub.layout.server_environments}/*.env"
        assert machine.run(["sh", "-c", read], user="mallory", check=False).stdout == ""
        alice.stop_server()
    eventually(lambda: not active(hub, UNIT.format("alice")), 20, "alice's server to be gone")


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "not hers"), ("mallory", "a password"), ("root", "root's password")],
)
def test_a_wrong_password_and_who_is_no_member_are_refused(
    unprivileged: Hub, name: str, password: str
) -> None:
    unprivileged.machine.run(["chpasswd"], input="root:root's password\n")
    with Person(unprivileged.url, name, password) as person, pytest.raises(RefusedError):
        person.log_in()


def test_a_broken_fragment_is_refused_and_the_hub_goes_on(unprivileged: Hub) -> None:
    path = unprivileged.write_fragment("30-broken.py", "c.Spawner.mem_limit = '1G'\n")
    try:
        assert unprivileged.reload(check=False).returncode != 0
        assert "MemoryMax=" in unprivileged.status()
        assert unprivileged.answers()
    finally:
        unprivileged.machine.run(["rm", path])
    unprivileged.reload()


@pytest.mark.row(11)
@pytest.mark.parametrize("who", ["root", "mallory", "nobody", "www-data", USER])
def test_a_hijacked_hub_starts_nobody_elses_server(unprivileged: Hub, who: str) -> None:
    trace = f"/var/tmp/was-{who}"
    seen = ["ls", trace]
    with one_tmp_for_all(unprivileged):
        for ordered in (who, "alice"):
            write_launch(unprivileged, ordered, f"touch /var/tmp/was-{ordered}")
            start(unprivileged, ordered)
            assert not active(unprivileged, UNIT.format(who))
        # An order of a user who may give it is carried out.
        alices = ["rm", "/var/tmp/was-alice"]
        eventually(
            lambda: unprivileged.machine.run(alices, check=False).returncode == 0, 20, "her trace"
        )
    assert unprivileged.machine.run(seen, check=False).returncode != 0
    show = ["show", "--property=ExecMainPID", "--value", UNIT.format(who)]
    assert unprivileged.machine.systemctl(*show).stdout.strip() == "0"


@pytest.mark.row(11)
def test_a_hijacked_hub_starts_and_stops_a_server_and_does_nothing_else_to_it(
    unprivileged: Hub,
) -> None:
    unit = UNIT.format("alice")
    write_launch(unprivileged, "alice", "exec sleep infinity")
    assert start(unprivileged, "alice").returncode == 0
    try:
        pid = unprivileged.main_pid(unit)
        assert pid
        for attempt in ON_A_SERVER:
            done = as_hub(unprivileged, *shlex.split(attempt))
            assert done.returncode != 0, f"{attempt}: {done.stdout}{done.stderr}"
            assert active(unprivileged, unit), attempt
            assert unprivileged.main_pid(unit) == pid, attempt
    finally:
        stopped = as_hub(unprivileged, "systemctl", "--no-ask-password", "stop", unit)
    assert stopped.returncode == 0, stopped.stderr
    assert not active(unprivileged, unit)


ON_A_SERVER = [
    f"systemctl --no-ask-password restart {UNIT.format('alice')}",
    f"systemctl --no-ask-password reload {UNIT.format('alice')}",
    f"systemctl --no-ask-password kill {UNIT.format('alice')}",
    f"systemctl --no-ask-password freeze {UNIT.format('alice')}",
    f"systemctl --no-ask-password set-property {UNIT.format('alice')} MemoryMax=infinity",
]


ATTEMPTS = [
    "systemd-run --no-ask-password --wait touch /root/owned",
    "systemd-run --no-ask-password --uid=0 --unit=littlest-hub.user@alice touch /root/owned",
    "systemctl --no-ask-password stop dbus.service",
    "systemctl --no-ask-password start debug-shell.service",
    "systemctl --no-ask-password stop littlest-hub-proxy.service",
    "systemctl --no-ask-password restart littlest-hub.service",
    f"systemctl --no-ask-password start {UNIT.format('alice')} --job-mode=isolate",
    "systemctl --no-ask-password daemon-reload",
    "systemctl --no-ask-password set-environment LD_PRELOAD=/tmp/x.so",
    "systemctl --no-ask-password link /tmp/x.service",
    "systemctl --no-ask-password mask ssh.service",
    "systemctl --no-ask-password reboot",
    "loginctl --no-ask-password enable-linger",
    "busctl --allow-interactive-authorization=no call org.freedesktop.systemd1"
    " /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit"
    " 'ssa(sv)a(sa(sv))' x.service replace 0 0",
    "touch /etc/systemd/system/x.service",
    "touch /run/systemd/system/x.service",
    "touch /opt/littlest-hub/units/x.service",
    "touch /opt/littlest-hub/releases/x",
    "touch /opt/littlest-hub/jupyterhub_config.d/x.py",
    "ln -sfn /tmp /opt/littlest-hub/hub",
    "touch /opt/littlest-hub/state/switch.json",
    "mv /opt/littlest-hub/state/proxy /opt/littlest-hub/state/elsewhere",
    "mv /opt/littlest-hub/state/hub /opt/littlest-hub/state/elsewhere",
    "mv /opt/littlest-hub/state/proxy/acme /opt/littlest-hub/state/proxy/elsewhere",
    "rmdir /opt/littlest-hub/state/proxy/acme",
    "cat /etc/shadow",
]


@pytest.mark.row(11)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_hijacked_hub_is_refused(unprivileged: Hub, attempt: str) -> None:
    done = as_hub(unprivileged, *shlex.split(attempt))
    assert done.returncode != 0, f"{done.stdout}{done.stderr}"
    assert unprivileged.machine.run(["ls", "/root/owned"], check=False).returncode != 0


@pytest.mark.row(26)
def test_a_hijacked_hub_cannot_keep_other_services_from_listening(unprivileged: Hub) -> None:
    hub, machine = unprivileged, unprivileged.machine
    python = hub.path("hub/bin/python3")
    listen = [python, "-m", "http.server", "--bind=127.0.0.1", "45999"]
    ask = (
        "import json, socket; guard = socket.socket(socket.AF_UNIX);"
        f" guard.connect({str(hub.layout.guard_control)!r}); order = guard.makefile('rw');"
        " request = {'hold': [['127.0.0.1', 45999]], 'release': [], 'is_all': False};"
        " print(json.dumps(request), file=order, flush=True);"
        " print(order.readline())"
    )
    machine.run(["systemd-run", "--unit=other", *listen])
    try:
        eventually(lambda: "foreign" in as_hub(hub, python, "-c", ask).stdout, 20, "an answer")
    finally:
        machine.systemctl("stop", "other.service")
    refused = machine.run([python, "-c", ask], user="alice", check=False)
    assert "Permission denied" in refused.stderr
    assert hub.held_ports() == {}


@pytest.mark.row(11)
def test_the_helper_says_nothing_about_roots_password(unprivileged: Hub) -> None:
    machine = unprivileged.machine
    machine.run(["chpasswd"], input="root:root's password\n")
    ask = (
        "import asyncio, sys; from littlest_hub.hub.helper_client import ask_pam;"
        " address, *words = sys.argv[1:]; words = [word.encode() for word in words];"
        " print(asyncio.run(ask_pam(address, 'login', 'login', *words)).refusal or 'yes')"
    )
    python = [unprivileged.path("hub/bin/python3"), "-I", "-c", ask]
    address = str(unprivileged.layout.password_address)
    said = {
        name: as_hub(unprivileged, *python, address, name, password).stdout.strip()
        for name, password in (
            ("root", "root's password"),
            ("mallory", "a password"),
            ("alice", "alice's password"),
        )
    }
    refused = f"not a member of the group {GROUP}"
    assert said == {"root": refused, "mallory": refused, "alice": "yes"}
    session = [*python[:-1], ask.replace("'login', 'login'", "'open_session', 'login'")]
    refused = f"no fragment in {unprivileged.layout.fragments} has open_sessions"
    assert as_hub(unprivileged, *session, address, "alice").stdout.strip() == refused
    others = machine.run(
        [*python, address, "alice", "alice's password"], user="mallory", check=False
    )
    assert "Permission denied" in others.stderr


@pytest.mark.row(38)
def test_modules_of_pam_work_for_a_hub_that_is_not_root(unprivileged: Hub) -> None:
    machine, secret = unprivileged.machine, "JBSWY3DPEHPK3PXP"
    file = "/home/alice/.google_authenticator"
    machine.put(file, f'{secret}\n" DISALLOW_REUSE\n" TOTP_AUTH\n', mode=0o400)
    machine.run(["chown", "alice:", file])
    stack = machine.read("/etc/pam.d/login")
    module = "auth required pam_google_authenticator.so\n"
    with unprivileged.fragment("21-otp.py", "c.Authenticator.request_otp = True\n"):
        machine.put(
            "/etc/pam.d/login",
            stack.replace("@include common-auth\n", f"@include common-auth\n{module}"),
        )
        try:
            with Person(unprivileged.url, "alice", "alice's password") as alice:
                assert alice.try_to_log_in(otp="000000").status_code == 403
                assert alice.try_to_log_in(otp=one_time_password(secret)).status_code == 200
        finally:
            machine.put("/etc/pam.d/login", stack)
            machine.run(["rm", file])


def one_time_password(secret: str) -> str:
    """Return what an authenticator app shows now (RFC 6238)."""
    counter = struct.pack(">Q", int(time.time()) // 30)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    (number,) = struct.unpack(">I", digest[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 10**6:06}"


@pytest.mark.row(38)
def test_root_creates_accounts_only_if_a_fragment_says_so(unprivileged: Hub) -> None:
    machine = unprivileged.machine
    ask = (
        "import asyncio, sys; from littlest_hub.hub.root_hooks import run_root_hook;"
        " asyncio.run(run_root_hook(*sys.argv[1:]))"
    )
    python = [unprivileged.path("hub/bin/python3"), "-I", "-c", ask]
    declared = "c.LocalAuthenticator.create_system_users = True\n"
    assert "no fragment" in as_hub(unprivileged, *python, "add-user", "newcomer").stderr
    with unprivileged.fragment("30-accounts.py", declared):
        as_hub(unprivileged, *python, "add-user", "newcomer")
        assert machine.run(["id", "-nG", "newcomer"]).stdout == f"newcomer {GROUP}\n"
        for words, reason in (
            (("add-user", "root"), "has an account"),
            (("make-home", "root"), "an account of the system"),
            (("make-home", "mallory"), "not a member"),
            (("../../hub/bin/python3", "alice"), "no such request"),
        ):
            assert reason in as_hub(unprivileged, *python, *words).stderr


@pytest.mark.row(11)
def test_what_a_hijacked_hub_orders_is_only_ever_seen_by_the_servers_own_user(
    unprivileged: Hub,
) -> None:
    """The dynamic linker reports each process that has its variables, in a file of its owner."""
    machine, unit = unprivileged.machine, UNIT.format("alice")
    linker = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": "/var/tmp/ld", "LD_PRELOAD": "/tmp/x.so"}
    with one_tmp_for_all(unprivileged):
        try:
            write_launch(unprivileged, "alice", "exec sleep 300", PATH="/tmp", **linker)
            started = start(unprivileged, "alice")
            assert started.returncode == 0, started.stderr
            owners = ["sh", "-c", "stat -c %U /var/tmp/ld.*"]
            eventually(lambda: machine.run(owners, check=False).stdout, 20, "a process with them")
            assert set(machine.run(owners).stdout.split()) == {"alice"}
        finally:
            as_hub(unprivileged, "systemctl", "--no-ask-password", "stop", unit)


@pytest.mark.row(11)
def test_a_link_in_place_of_an_order_shows_nobody_what_root_can_read(unprivileged: Hub) -> None:
    machine, unit = unprivileged.machine, UNIT.format("alice")
    environment = f"{unprivileged.layout.server_environments}/littlest-hub.user@alice.env"
    as_hub(unprivileged, "ln", "-sf", ROOTS, environment)
    as_hub(unprivileged, "systemctl", "--no-ask-password", "start", unit)
    eventually(lambda: "Permission denied" in machine.journal(unit), 20, "a refusal")
    assert SECRET not in machine.journal()
    assert not active(unprivileged, unit)
    as_hub(unprivileged, "rm", environment)


@pytest.mark.row(11)
def test_links_in_its_state_lead_no_command_of_roots_astray(
    unprivileged: Hub, installer: Path
) -> None:
    hub, machine = unprivileged, unprivileged.machine
    command = hub.path("hub/bin/littlest-hub")
    own, proxy = hub.layout.hub_user_state, hub.layout.proxy_state
    before = machine.run(["sha256sum", ROOTS, "/etc/shadow"]).stdout
    said = []
    for links in (
        # Names that are written to on the way to others.
        (own / "backup.lock", proxy / ".traefik.toml.new", proxy / "dynamic" / ".ready.toml.new"),
        (own / "restore.lock", proxy / "traefik.toml", proxy / "dynamic" / "rules.toml"),
        (own / "jupyterhub.sqlite", own / "jupyterhub_cookie_secret"),
    ):
        for link in map(str, links):
            as_hub(hub, "mv", link, f"{link}.kept")
            assert as_hub(hub, "ln", "-s", ROOTS, link).returncode == 0, link
        for argv in (["backup", "--secrets"], ["install"]):
            done = machine.run([command, *argv], check=False)
            said.append(f"{done.stdout}{done.stderr}")
        for link in map(str, links):
            as_hub(hub, "rm", link)
            as_hub(hub, "mv", f"{link}.kept", link)
    said.append(machine.run([command, "doctor"], check=False).stdout)
    switch = machine.run(["sh", "-c", f"cat {hub.path('state')}/*.json"], check=False).stdout
    archives = machine.run(["sh", "-c", f"zcat {own}/backups/*.gz"], check=False).stdout
    assert SECRET not in "".join([*said, switch, archives])
    assert machine.run(["sha256sum", ROOTS, "/etc/shadow"]).stdout == before
    assert machine.run(["stat", "-c", "%U %a", ROOTS]).stdout == "root 600\n"
    machine.run([command, "install"])
    hub.reload()
    assert hub.answers()


def test_backup_doctor_and_restore_say_what_they_can_do(unprivileged: Hub) -> None:
    machine = unprivileged.machine
    command = unprivileged.path("hub/bin/littlest-hub")
    listing = ["sh", "-c", f"{command} backup - | tar tz"]
    assert "database/jupyterhub.sqlite" in machine.run(listing).stdout
    said = machine.run([command, "doctor", "--json"], check=False).stdout
    problems = [f for f in json.loads(said)["findings"] if f["severity"] == "problem"]
    assert problems == []
    # Where the administrator is, the hub's user may not even be.
    own, base = unprivileged.layout.hub_user_state, unprivileged.layout.base
    there = f"cd {base} && hub/bin/littlest-hub"
    file = f"{own.relative_to(base)}/by-hand.tar.gz"
    machine.run(["sh", "-c", f"{there} backup --secrets {file}"])
    listed = machine.run(["sh", "-c", f"{there} restore --list {file}"]).stdout
    assert "database/jupyterhub.sqlite" in listed
    machine.run(["sh", "-c", f"{there} doctor --bundle={own.relative_to(base)}/bundle.tar.gz"])
    machine.run(["rm", f"{base}/{file}", f"{own}/bundle.tar.gz"])
    refused = machine.run(["sh", "-c", f"cd /root && {command} backup x.tar.gz"], check=False)
    assert refused.returncode == 1
    assert f"/root/x.tar.gz: {USER}, as whom this runs, may not write there" in refused.stderr
    assert "littlest-hub backup - >FILE" in refused.stderr
    refused = machine.run([command, "restore", "/tmp/x.tar.gz"], check=False)
    assert refused.returncode == 1
    assert f"this hub runs as {USER}" in refused.stderr


def test_an_upgrade_and_a_rollback_work_as_ever(unprivileged: Hub) -> None:
    hub, machine = unprivileged, unprivileged.machine
    with Person(hub.url, "alice", "alice's password") as alice:
        alice.log_in()
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            machine.install(releases.build("2026.12.0"))
            assert kernel.run("x + 1") == "42"
            pid = hub.serving_pid()
            assert machine.run(["stat", "-c", "%U", f"/proc/{pid}"]).stdout == f"{USER}\n"
            machine.run([hub.path("hub/bin/littlest-hub"), "rollback"])
            assert kernel.run("x + 1") == "42"
        alice.stop_server()
    pid = hub.serving_pid()
    assert machine.run(["stat", "-c", "%U", f"/proc/{pid}"]).stdout == f"{USER}\n"


@pytest.mark.row(23)
def test_a_purge_leaves_no_account_and_no_rule(installer: Path) -> None:
    with Machine("bookworm", packages=["polkitd"]) as machine:
        before = everything(machine)
        hub = Hub.install(machine, installer, env=OPTIONS)
        kept = machine.run([hub.path("hub/bin/littlest-hub"), "uninstall"])
        assert f"userdel {USER} && groupdel {GROUP}" in kept.stdout
        hub = Hub.install(machine, installer)
        pid = hub.serving_pid()
        assert machine.run(["stat", "-c", "%U", f"/proc/{pid}"]).stdout == f"{USER}\n"
        machine.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])
        assert everything(machine) == before
