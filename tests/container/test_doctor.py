"""Real faults are named, and the commands that the doctor gives repair them."""

import base64
import json
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

Finding = dict[str, Any]

COMMAND = "hub/bin/littlest-hub"
MENDED_S = 45
# Enough for a server that starts on a busy machine.
EVERYBODY = "c.Authenticator.allow_all = True\nc.Spawner.start_timeout = 30\n"


@pytest.fixture(scope="module")
def sick(installer: Path) -> Iterator[Hub]:
    """A hub for these tests only, since they break it."""
    with Machine("bookworm") as machine:
        machine.add_user("boss", "boss-password")
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        yield hub


def examine(hub: Hub, *, user: str = "root") -> list[Finding]:
    """Return the doctor's findings that are not ok."""
    argv = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
    done = hub.machine.run(argv, check=False, user=user)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["well"] else 1)
    found: list[Finding] = [f for f in told["findings"] if f["severity"] != "ok"]
    return found


def about(found: list[Finding], subject: str, severity: str = "problem") -> Finding:
    matching = [f for f in found if subject in f["subject"] and f["severity"] == severity]
    assert matching, f"nothing about {subject}: {json.dumps(found, indent=1)}"
    return matching[0]


def mend(hub: Hub, *findings: Finding) -> None:
    """Run the findings' commands, each once, as an administrator who pastes them.

    None waits for what a later one mends: units have a minute or more to start.
    """
    for command in dict.fromkeys(finding["command"] for finding in findings):
        script = ["sh", "-c", command]
        hub.machine.run(script, env={"EDITOR": EDITOR}, check=False, timeout_s=MENDED_S)


def mend_everything(hub: Hub, found: list[Finding]) -> list[Finding]:
    """Follow the doctor until it finds no problem any more; return what it finds then."""
    for _ in range(6):
        wrong = [finding for finding in found if finding["severity"] == "problem"]
        if not wrong:
            assert hub.answers()
            return found
        mend(hub, *wrong)
        found = examine(hub)
    raise AssertionError(json.dumps(found, indent=1))


def problems(hub: Hub) -> list[Finding]:
    return [finding for finding in examine(hub) if finding["severity"] == "problem"]


def is_well(hub: Hub) -> bool:
    assert not (found := problems(hub)), json.dumps(found, indent=1)
    return True


def test_a_fresh_hub_is_well_and_the_report_is_short(sick: Hub) -> None:
    argv = [sick.path("hub/bin/littlest-hub"), "doctor"]
    done = sick.machine.run(argv, check=False)
    assert done.returncode == 0, done.stdout
    assert "All is well." in done.stdout
    assert len(done.stdout.splitlines()) < 20
    everything = sick.machine.run([*argv, "--all"]).stdout
    for what in (
        "login page: answers in",
        "held by systemd",
        "is active",
        "intact, ",
        "fragments: ",
        "its files are all there",
    ):
        assert what in everything


class Fault(NamedTuple):
    """Something that is wrong with a machine, and what the doctor has to say of it."""

    cause: str
    """Shell commands."""
    subject: str
    """Part of the finding's subject."""
    text: str
    """Part of the finding's text."""
    severity: str = "problem"
    undo: str = ""
    """Shell commands that remove what the cause has left."""


EDITOR = "/usr/local/bin/mend"
# It takes away what was wrong in a fragment, or says who may log in.
EDIT = """#!/bin/sh
sed -i -e '/wrong/d' "$1"
case "$1" in */10-users.py) echo 'c.Authenticator.admin_users = {"boss"}' >"$1" ;; esac
"""
BASE = "/opt/littlest-hub"
FRAGMENTS = f"{BASE}/jupyterhub_config.d"
UNITS = "/etc/systemd/system"
# Users of the hub, and what happens to their accounts.
ACCOUNTS = {
    "homeless": "rm -rf /home/homeless",
    "locked": "chmod 0 /home/locked",
    "stolen": "chmod 0700 /home/stolen; chown -R root: /home/stolen",
    "ghost": "userdel --remove ghost",
}

WHILE_IT_SERVES = {
    "a program that was killed": Fault(
        "systemctl kill --kill-who=main --signal=KILL littlest-hub-proxy.service;"
        " until [ $(systemctl show -P NRestarts littlest-hub-proxy) = 1 ]; do :; done;"
        " systemctl start littlest-hub-proxy.service",
        "littlest-hub-proxy.service",
        "was restarted 1 times by itself",
        "warning",
    ),
    "state that others may enter": Fault(f"chmod 0755 {BASE}/state", f"{BASE}/state", "0755"),
    "a cookie secret that others may read": Fault(
        f"chmod 0644 {BASE}/state/jupyterhub_cookie_secret", "jupyterhub_cookie_secret", "0644"
    ),
    "fragments that others may read": Fault(f"chmod 0755 {FRAGMENTS}", FRAGMENTS, "0755"),
    "a fragment that others may write": Fault(
        f"chmod 0666 {FRAGMENTS}/20-everybody.py", "20-everybody.py", "has mode 0666"
    ),
    "a fragment of somebody else": Fault(
        f"touch {FRAGMENTS}/30-theirs.py; chmod 0600 {FRAGMENTS}/30-theirs.py;"
        f" chown boss: {FRAGMENTS}/30-theirs.py",
        "30-theirs.py",
        "its unit gives root no rights to files of other users",
    ),
    "a fragment under another name": Fault(
        f"echo 'c.Spawner.mem_limit = None' >{FRAGMENTS}/40-other.py.old",
        "40-other.py.old",
        "its name does not end in .py",
        "warning",
    ),
    "a library directory that users may not enter": Fault(
        f"chmod 0700 {BASE}/hub/lib",
        "release",
        "/lib: owner 0, mode 0700; expected mode 0755",
    ),
    "a unit that does not start at boot": Fault(
        f"rm {UNITS}/multi-user.target.wants/littlest-hub.service; systemctl daemon-reload",
        "littlest-hub.service",
        "does not start at the next boot",
        "warning",
    ),
    "a unit that was disabled": Fault(
        "systemctl disable littlest-hub-hook.socket", "littlest-hub-hook.socket", "is not installed"
    ),
    "a change of the hub's rights": Fault(
        f"mkdir -p {UNITS}/littlest-hub.service.d;"
        f" printf '[Service]\\nReadWritePaths=/srv\\n' >{UNITS}/littlest-hub.service.d/srv.conf;"
        " systemctl daemon-reload",
        "littlest-hub.service",
        "ReadWritePaths= of littlest-hub.service has changed",
        "warning",
    ),
    "a server that the hub does not know": Fault(
        "systemd-run --unit=littlest-hub.user-stray.service sleep 600",
        "littlest-hub.user-stray.service",
        "the hub does not know it",
        "warning",
    ),
    "no backup": Fault("true", "backup", "none in", "warning"),
    "a restore that was killed": Fault(
        f'echo \'{{"direction": "tidy", "replacements": []}}\' >{BASE}/state/restore.json',
        "restore",
        "was killed before it changed anything",
    ),
    "homes that are mounted read-only": Fault(
        "mkdir -p /srv/homes; mount -t tmpfs homes /srv/homes;"
        " usermod --home /srv/homes boss; mount -o remount,ro /srv/homes",
        "disk /srv/homes",
        "is mounted read-only",
        undo="umount /srv/homes; usermod --home /home/boss boss",
    ),
    "a unit that changed on disk": Fault(
        f"printf '[Service]\\nNice=1\\n' >{UNITS}/littlest-hub.service.d/nice.conf",
        "littlest-hub.service",
        "has changed on disk",
        "warning",
    ),
    "no home": Fault("true", "homeless's server", "the home directory is missing"),
    "a closed home": Fault("true", "locked's server", "may not enter it"),
    "a stolen home": Fault("true", "stolen's server", "may not enter it"),
    "no account": Fault("true", "ghost's server", "no such system account"),
}


def start_in_vain(hub: Hub, changes: Mapping[str, str]) -> None:
    """Start servers, as an administrator, of users to whose accounts something happened."""
    with Person(hub.url, "boss", "boss-password") as boss:
        boss.log_in()
        for user, change in changes.items():
            hub.machine.add_user(user, f"{user}-password")
            boss.add_user(user)
            hub.machine.run(["sh", "-c", change], check=False)
            assert boss.start_for(user) >= 400, user


def cause(hub: Hub, faults: Mapping[str, Fault]) -> None:
    script = "\n".join(["set -e", *(fault.cause for fault in faults.values())])
    hub.machine.run(["sh", "-c", script])


def found_by(found: list[Finding], fault: Fault) -> list[Finding]:
    return [
        f
        for f in found
        if fault.subject in f["subject"]
        and fault.text in f["text"]
        and f["severity"] == fault.severity
    ]


def test_each_finding_vanishes_after_its_own_command(sick: Hub) -> None:
    start_in_vain(sick, ACCOUNTS)
    try:
        cause(sick, WHILE_IT_SERVES)
        found = examine(sick)
        expected = {name: found_by(found, fault) for name, fault in WHILE_IT_SERVES.items()}
        unseen = [name for name, findings in expected.items() if not findings]
        assert not unseen, json.dumps([unseen, found], indent=1)
        mend(sick, *(each[0] for each in expected.values()))
        eventually(lambda: all_gone(sick, WHILE_IT_SERVES), 60, "every finding to be gone")
    finally:
        undo = "; ".join(fault.undo for fault in WHILE_IT_SERVES.values() if fault.undo)
        sick.machine.run(["sh", "-c", undo], check=False)
    assert sick.answers()


def all_gone(hub: Hub, faults: Mapping[str, Fault]) -> bool:
    found = examine(hub)
    left = {name: each for name, fault in faults.items() if (each := found_by(found, fault))}
    assert not left, json.dumps(left, indent=1)
    return True


STOP = "systemctl stop littlest-hub-proxy.socket littlest-hub-proxy-api.socket littlest-hub.socket"
LISTEN = "import socket, time; s = socket.create_server(('', 80)); time.sleep(600)"


@pytest.mark.parametrize(
    ("cause", "subject", "text"),
    [
        pytest.param(
            "chmod 0777 /opt",
            "/opt",
            "belongs to root and has mode 0777: other users can change",
            id="a directory above the hub that others may replace",
        ),
        pytest.param(
            f"{STOP} littlest-hub.service littlest-hub-proxy.service",
            "littlest-hub.service",
            "is inactive",
            id="stopped units",
        ),
        pytest.param(
            f"{STOP} littlest-hub-proxy.service; systemd-run --unit=intruder"
            f' {BASE}/hub/bin/python3 -I -c "{LISTEN}"',
            "port 80",
            "intruder.service) listens where littlest-hub-proxy.socket should",
            id="a taken port",
        ),
        pytest.param(
            f"chmod 0640 {BASE}/hub/bin/traefik; systemctl restart littlest-hub-proxy",
            "littlest-hub-proxy.service",
            "traefik does not start: /opt/littlest-hub/hub/bin/traefik: Permission denied",
            id="a program that may not be run",
        ),
        pytest.param(
            f"rm {UNITS}/littlest-hub-proxy.service; systemctl mask littlest-hub-proxy.service;"
            " systemctl stop littlest-hub-proxy.service",
            "littlest-hub-proxy.service",
            "is masked",
            id="a masked unit",
        ),
    ],
)
def test_a_fault_that_hides_others_is_named_and_mended(
    sick: Hub, cause: str, subject: str, text: str
) -> None:
    sick.machine.run(["sh", "-c", cause], check=False)

    def examined() -> list[Finding]:
        found = examine(sick)
        assert text in about(found, subject)["text"], found
        return found

    found = eventually(examined, 30, text)
    if subject == "/opt":
        for verb in ("edit", "enable"):
            refused = sick.machine.run([sick.path(COMMAND), verb, "slurm"], check=False)
            assert refused.returncode == 1
            assert "chown root: /opt && chmod go-w /opt" in refused.stderr
    # The count of restarts, too, if its service restarted again meanwhile.
    if counts := [f for f in mend_everything(sick, found) if "restarted" in f["text"]]:
        mend(sick, *counts)
        assert not [f for f in examine(sick) if "restarted" in f["text"]]


def test_mistakes_in_fragments_vanish_once_they_are_mended(sick: Hub) -> None:
    sick.machine.put(EDITOR, EDIT, mode=0o755)
    hook = "c.Spawner.pre_spawn_hook = lambda spawner: wrong  # NameError\n"
    sick.write_fragment("60-hook.py", hook)
    sick.reload()
    start_in_vain(sick, {"unlucky": "true"})
    finding = about(examine(sick), "unlucky's server")
    assert "name 'wrong' is not defined" in finding["text"]
    assert finding["command"].endswith(" edit 60-hook.py")
    sick.write_fragment("60-hook.py", "# none\n")
    sick.machine.put("/etc/pam.d/hub", "auth required pam_u2f.so\n")
    sick.write_fragment("65-pam.py", "c.Authenticator.service = 'hub'  # wrong\n")
    module = about(examine(sick), "65-pam.py:1", "warning")
    assert "pam_u2f.so (/etc/pam.d/hub:1) asks for a device at the machine" in module["text"]
    mend(sick, module)
    sick.machine.run(["rm", f"{FRAGMENTS}/65-pam.py", "/etc/pam.d/hub"])
    sick.write_fragment("70-bad.py", "c.Spawner.mem_limits = '1G'  # wrong\n")
    sick.machine.run(["sh", "-c", f"rm {FRAGMENTS}/10-users.py {FRAGMENTS}/20-everybody.py"])
    found = examine(sick)
    mistake = about(found, "70-bad.py:1")
    assert "mem_limit" in mistake["text"]
    mend(sick, mistake)
    found = examine(sick)
    nobody = [finding for finding in found if "no one may log in" in finding["text"]]
    assert nobody, found
    mend(sick, *nobody)
    unapplied = about(examine(sick), "fragments", "warning")
    assert "70-bad.py" in unapplied["text"]
    mend(sick, unapplied)
    found = examine(sick)
    assert not [f for f in found if f["section"] in ("Configuration", "User servers")], found
    sick.machine.run(["sh", "-c", f"rm {FRAGMENTS}/60-hook.py {FRAGMENTS}/70-bad.py"])
    sick.write_fragment("20-everybody.py", EVERYBODY)
    sick.reload()


def test_disks_that_are_full_wherever_the_hub_and_its_users_write(sick: Hub) -> None:
    """A file system of its own for state and for one home is examined too."""
    script = f"""
        mkdir -p /srv/full; mount -t tmpfs -o size=4m full /srv/full
        usermod --home /srv/full boss
        head -c 5000000 /dev/zero >/srv/full/core
        mount -t tmpfs -o size=4m small {BASE}/state/backups
        head -c 5000000 /dev/zero >{BASE}/state/backups/core
    """
    sick.machine.run([sick.path(COMMAND), "backup"])
    sick.machine.run(["sh", "-c", script], check=False)
    try:
        found = examine(sick)
        for place in ("/srv/full", f"{BASE}/state/backups"):
            finding = about(found, f"disk {place}")
            assert "is full" in finding["text"]
            assert place in sick.machine.run(["sh", "-c", finding["command"]]).stdout
    finally:
        undo = f"umount /srv/full {BASE}/state/backups; usermod --home /home/boss boss"
        sick.machine.run(["sh", "-c", undo])
    is_well(sick)


def test_a_database_that_is_damaged_is_restored_from_the_last_backup(sick: Hub) -> None:
    database = sick.layout.database
    sick.machine.run([sick.path(COMMAND), "backup"])
    sick.machine.systemctl("stop", sick.layout.hub_socket, sick.layout.hub_service)
    sick.machine.run(
        ["sh", "-c", f"head -c 60000 /dev/urandom | dd of={database} bs=1 seek=3000 conv=notrunc"]
    )
    sick.machine.systemctl("start", sick.layout.hub_socket)
    found = examine(sick)
    finding = about(found, "database")
    assert "damaged" in finding["text"]
    assert "restore --yes" in finding["command"]
    mend_everything(sick, found)


def test_a_hub_that_crashes_again_and_again_shows_why(sick: Hub) -> None:
    path = f"/etc/systemd/system/{sick.layout.hub_service}.d/crash.conf"
    sick.machine.put(path, "[Service]\nExecStartPre=/bin/sh -c 'echo the real cause >&2; exit 1'\n")
    sick.machine.systemctl("daemon-reload")
    sick.machine.systemctl("restart", sick.layout.hub_service, check=False)
    try:
        finding = eventually(
            lambda: about(examine(sick), sick.layout.hub_service), 30, "the crash loop"
        )
        assert "the real cause" in finding["text"], finding
    finally:
        sick.machine.run(["rm", path])
        sick.machine.systemctl("daemon-reload")
        sick.machine.systemctl("restart", sick.layout.hub_service)
    eventually(sick.answers, 30, "the login page")


def test_without_root_it_says_what_it_cannot_see(sick: Hub) -> None:
    found = examine(sick, user="boss")
    unseen = {f["subject"] for f in found if f["severity"] == "unseen"}
    assert {"fragments", "database", "backup"} <= unseen
    assert all("doctor" in f["command"] for f in found if f["subject"] in unseen and f["command"])
    assert not [f for f in found if f["severity"] == "problem"]


def test_it_works_when_half_of_the_hub_is_gone(sick: Hub) -> None:
    sick.machine.run(["mv", sick.path("state"), sick.path("state.away")])
    try:
        assert about(examine(sick), str(sick.layout.state))
    finally:
        sick.machine.run(["mv", sick.path("state.away"), sick.path("state")])


PLANTED = {
    "fragment client_secret": 'c.GitHubOAuthenticator.client_secret = "{}"',
    "fragment variable": 'pw = "{}"\nc.LDAPAuthenticator.bind_dn_password = pw',
    "fragment api_token": 'c.JupyterHub.services = [{{"name": "x", "api_token": "{}"}}]',
    "fragment environ": 'os.environ["AWS_SECRET_ACCESS_KEY"] = "{}"',
    "fragment url": 'c.JupyterHub.db_url = "postgresql://hub:{}@db.example/hub"',
    "fragment comment": "# the password was: {}",
    "fragment shell": 'c.Spawner.cmd = ["sh", "-c", "export HF_TOKEN={}; exec x"]',
    "fragment argument": 'c.Spawner.args = ["--token", "{}"]',
    "fragment f-string": 'x_secret = f"{}"',
    "fragment multi-line": 'private_key = """\n-----BEGIN RSA PRIVATE KEY-----\n{}\n'
    '-----END RSA PRIVATE KEY-----\n"""',
    "journal bearer": "Authorization: Bearer {}",
    "journal header": '"X-Xsrftoken": "{}",',
    "journal cookie": "Cookie: a={}; b=c",
    "journal query": "GET /hub/oauth_callback?code={}&state=x",
    "journal environment": "JUPYTERHUB_API_TOKEN={}",
    "journal password": "bind failed with password={}",
    "journal url": "cannot reach ldap://admin:{}@ldap.example",
    "drop-in environment": "Environment=OAUTH_CLIENT_SECRET={}",
    "drop-in quoted": 'Environment="SMTP_PASSWORD={}"',
    "drop-in crypt key": "Environment=JUPYTERHUB_CRYPT_KEY={}",
    "environment file": "PLAIN_NAME={}",
    "state key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "state secret": "{}",
}


def test_no_planted_secret_leaves_in_a_bundle(sick: Hub) -> None:
    machine, layout = sick.machine, sick.layout
    # Without digits: words, which only their place marks as a secret.
    words = {name: f"plant{chr(97 + i)}wort{chr(122 - i)}geheim" for i, name in enumerate(PLANTED)}
    lines = {name: text.format(words[name]) for name, text in PLANTED.items()}
    fragment = "import os\nif False:\n" + "".join(
        f"    {line}\n" if not line.startswith("-----") else f"{line}\n"
        for name, text in lines.items()
        if name.startswith("fragment") and "multi-line" not in name
        for line in text.splitlines()
    )
    path = sick.write_fragment("80-plant.py", fragment + lines["fragment multi-line"] + "\n")
    drop_in = f"/etc/systemd/system/{layout.hub_service}.d/plant.conf"
    environment = "\n".join(text for name, text in lines.items() if name.startswith("drop-in"))
    machine.put("/etc/plant.env", lines["environment file"] + "\n", mode=0o600)
    machine.put(drop_in, f"[Service]\n{environment}\nEnvironmentFile=/etc/plant.env\n")
    machine.put(sick.path("state/proxy/dynamic/plant.key"), lines["state key"], mode=0o600)
    machine.put(sick.path("state/oauth.secret"), lines["state secret"], mode=0o600)
    told = "\n".join(
        [
            *(text for name, text in lines.items() if name.startswith("journal")),
            # Known secrets, where nothing around them marks them.
            f"the file says {words['state secret']} and {words['state key']}",
            f"and {words['environment file']} and {words['fragment variable']}",
        ]
    )
    machine.put("/tmp/told", told)
    machine.run(
        ["systemd-run", "--wait", f"--unit={layout.instance}.user-plant", "cat", "/tmp/told"],
        check=False,
    )
    machine.systemctl("daemon-reload")
    try:
        machine.run(["rm", "-f", "/root/bundle.tar.gz"])
        sick_binary = sick.path("hub/bin/littlest-hub")
        machine.run([sick_binary, "doctor", "--bundle", "/root/bundle.tar.gz"], check=False)
        assert machine.run(["stat", "-c%a", "/root/bundle.tar.gz"]).stdout.strip() == "600"
        data = base64.b64decode(machine.run(["base64", "/root/bundle.tar.gz"]).stdout)
        cookie = machine.read(str(layout.cookie_secret)).strip()
    finally:
        machine.run(["rm", "-f", path, drop_in, "/etc/plant.env", "/tmp/told",
                     sick.path("state/proxy/dynamic/plant.key"),
                     sick.path("state/oauth.secret")])  # fmt: skip
        machine.systemctl("daemon-reload")
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        files = {i.name: f.read().decode() for i in tar if (f := tar.extractfile(i))}
    content = "\n".join(files.values())
    for name, word in {**words, "cookie secret": cookie}.items():
        assert word not in content, f"{name}: {word}"
        for offset in range(3):
            encoded = base64.b64encode(b"x" * offset + word.encode()).decode()
            assert encoded[4 if offset else 0 : -4] not in content, name
    # The useful facts are there.
    bundled = files["bundle/jupyterhub_config.d/80-plant.py"]
    assert "c.GitHubOAuthenticator.client_secret" in bundled
    assert "cannot reach ldap://" in files["bundle/journal/user-servers.txt"]
    assert "littlest-hub.service" in files["bundle/units/cat.txt"]
    assert "systemd" in files["bundle/machine/systemd.txt"]
    assert json.loads(files["bundle/doctor.json"])["format"] == 1
