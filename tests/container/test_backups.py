"""Backups on a machine: made by systemd, restored by people, and on another machine.

LITTLEST_HUB_KILLS=30 sets the number of random moments (`make test-backups`); LITTLEST_HUB_SEED=…
repeats a run.
"""

import os
import random
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests import capabilities
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

KILLS = int(os.environ.get("LITTLEST_HUB_KILLS", "3"))
SEED = int(os.environ.get("LITTLEST_HUB_SEED", time.time_ns()))
RUN, TRIAL = "littlest-hub.backups-run", "littlest-hub.backups-test"
REPOSITORY = "/var/backups/littlest-hub"
PASSWORD = "/opt/littlest-hub/state/stacks/backups/password"
RESTIC = f"RESTIC_PASSWORD_FILE={PASSWORD} restic --no-cache --quiet -r {REPOSITORY}"
VARIABLES = "/opt/littlest-hub/state/stacks/backups/variables"
REST_SERVER = (
    "systemd-run --unit=rest rclone serve restic --addr 127.0.0.1:8123 --user u --pass secret"
    " /srv/rest"
)
S3_ADDRESS = "127.0.0.1:8124"
PACKAGES = ("openssh-server", "rclone", "restic")


@pytest.fixture(scope="module")
def saved(installer: Path) -> Iterator[Hub]:
    """A hub with backups, and two people with files."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer)
        for name in ("alice", "bob"):
            machine.add_user(name, "a password")
        command(hub, "enable", "backups", "--yes")
        yield hub


def command(hub: Hub, *words: str, check: bool = True, timeout_s: float = 240) -> str:
    program = hub.path("hub/bin/littlest-hub")
    done = hub.machine.run([program, *words], check=check, timeout_s=timeout_s)
    return done.stdout + done.stderr


def sh(hub: Hub, script: str, *, user: str = "root", check: bool = True) -> str:
    done = hub.machine.run(["sh", "-c", f"cd; {script}"], user=user, check=check, timeout_s=240)
    return done.stdout + done.stderr


def ids(hub: Hub) -> set[str]:
    return set(re.findall(r"^([0-9a-f]{8})  ", command(hub, "backups", "list"), re.MULTILINE))


@pytest.fixture
def with_backups(hub: Hub) -> Iterator[Hub]:
    """The machine of all tests, with this host's restic, and with backups for one test."""
    program = shutil.which("restic")
    assert program
    hub.machine.copy(Path(program), "/usr/local/bin/restic")
    sh(hub, "chmod 755 /usr/local/bin/restic")
    hub.machine.add_user("carol", "a password")
    command(hub, "enable", "backups", "--yes")
    yield hub
    command(hub, "disable", "backups")
    sh(hub, f"rm -rf {REPOSITORY} /usr/local/bin/restic {hub.layout.stacks}")
    sh(hub, "userdel --remove carol")


@pytest.mark.needs("restic")
def test_a_file_a_home_and_the_hub_come_back(with_backups: Hub) -> None:
    hub = with_backups
    sh(hub, "mkdir -p ~/work && echo yesterday >~/work/plan && chmod 700 ~", user="carol")
    said = command(hub, "backups", "now")
    assert "Made backup" in said
    (made,) = ids(hub)
    assert made in said
    sh(hub, "rm ~/work/plan", user="carol")
    said = command(hub, "backups", "restore", "carol", "work/plan")
    assert re.search(r"/home/carol/restored/[-0-9]+ [.0-9]+: 1 file,", said)
    assert sh(hub, "cat ~/restored/*/plan", user="carol") == "yesterday\n"

    sh(hub, "rm -r /home/carol")
    assert "/home/carol: " in command(hub, "backups", "restore", "carol", "--as-of", made)
    script = "cat ~/work/plan; stat -c %a:%U ~"
    assert sh(hub, script, user="carol") == "yesterday\n700:carol\n"

    archive = "/root/hub.tar.gz"
    command(hub, "backups", "restore", "--hub", archive)
    assert "with secrets" in command(hub, "restore", "--list", archive)
    assert sh(hub, f"stat -c %a {archive}; rm {archive}") == "600\n"


@pytest.mark.long
def test_timers_start_it_and_its_rights_are_few(saved: Hub) -> None:
    machine = saved.machine
    for unit in (RUN, TRIAL):
        assert f"{unit}.service" in machine.systemctl("list-timers", f"{unit}.timer").stdout
        shown = machine.systemctl(
            "show", f"{unit}.service", "-p", "CapabilityBoundingSet,ProtectSystem,ProtectHome"
        )
        assert "CapabilityBoundingSet=cap_dac_read_search\n" in shown.stdout
        assert "ProtectSystem=strict" in shown.stdout
    machine.systemctl("start", f"{RUN}.service")
    words = machine.run(["sh", "-c", f"journalctl -u {RUN}.service -o cat"]).stdout
    assert "Made backup" in words
    assert machine.read(PASSWORD).strip() not in words


@pytest.mark.long
def test_the_restore_test_reports_and_a_damaged_repository_is_an_alarm(saved: Hub) -> None:
    hub = saved
    sh(hub, "head -c 3000000 /dev/urandom >big", user="bob")
    command(hub, "backups", "now")
    said = command(hub, "backups", "test")
    assert "and the hub's database were restored" in said
    assert "restore test of" in command(hub, "doctor", "--all", check=False)

    biggest = f"find {REPOSITORY}/data -type f -size +1M -printf '%s %p\\n' | sort -n | tail -1"
    pack = sh(hub, biggest).split()[1]
    sh(hub, f"cp {pack} /root/pack; chmod 600 {pack}")
    sh(hub, f"printf x | dd of={pack} bs=1 seek=1000000 conv=notrunc")
    before = ids(hub)
    try:
        assert "damaged" in command(hub, "backups", "check", "--read-data", check=False)
        told = command(hub, "doctor", check=False)
        assert "problem  backups: the repository is damaged" in told
        # Backups go on, and no old one is removed until it is repaired.
        said = command(hub, "backups", "now", check=False)
        assert "no old backup is removed" in said
        assert before <= ids(hub)
    finally:
        sh(hub, f"cp /root/pack {pack}")
    command(hub, "backups", "check", "--read-data")
    assert "damaged" not in command(hub, "doctor", check=False)


@pytest.mark.long
def test_a_wrong_password_a_missing_repository_and_a_full_target_are_said_clearly(
    saved: Hub,
) -> None:
    hub = saved
    before = ids(hub)
    sh(hub, f"cp -p {PASSWORD} /root/password; echo wrong >{PASSWORD}")
    said = command(hub, "backups", "now", check=False)
    assert f"the password in {PASSWORD} does not open the repository" in said
    sh(hub, f"cp -p /root/password {PASSWORD}; mv {REPOSITORY} {REPOSITORY}.away")
    said = command(hub, "backups", "now", check=False)
    assert "there is no repository" in said
    assert "is that mounted?" in said
    assert "backups: the last backup has failed" in command(hub, "doctor", check=False)

    sh(hub, f"mkdir {REPOSITORY}; mount -t tmpfs -o size=40M,mode=0700 tmpfs {REPOSITORY}")
    try:
        sh(hub, f"cp -a {REPOSITORY}.away/. {REPOSITORY}/")
        sh(hub, "head -c 60000000 /dev/urandom >~/huge", user="bob")
        said = command(hub, "backups", "now", check=False)
        assert "there is no room left for the repository" in said
        assert "earlier backups are intact" in said
        sh(hub, "rm ~/huge", user="bob")
        sh(hub, f"mount -o remount,size=200M {REPOSITORY}")
        assert before <= ids(hub)
        command(hub, "backups", "now")
        command(hub, "backups", "check", "--read-data")
    finally:
        sh(hub, f"rm -f /home/bob/huge; umount {REPOSITORY}; rmdir {REPOSITORY}")
        sh(hub, f"mv {REPOSITORY}.away {REPOSITORY}")
    assert before == ids(hub)


@pytest.mark.long
def test_a_clock_that_is_wrong_loses_no_backup(saved: Hub) -> None:
    hub = saved
    command(hub, "backups", "now")
    before = ids(hub)
    # As if made by a machine whose clock was a year ahead.
    future = time.strftime("%Y-%m-%d 03:00:00", time.gmtime(time.time() + 400 * 86400))
    name = sh(hub, "hostname").strip()
    sh(hub, f"{RESTIC} backup --tag littlest-hub --host {name} --time '{future}' /home/bob")
    (ahead,) = ids(hub) - before
    said = command(hub, "backups", "now")
    assert "no old backup is removed" in said
    assert before < ids(hub)
    assert "one of the two is wrong" in command(hub, "doctor", check=False)
    command(hub, "backups", "restic", "forget", ahead)
    command(hub, "backups", "now")
    assert "one of the two is wrong" not in command(hub, "doctor", check=False)


def is_over(hub: Hub, unit: str) -> bool:
    state = hub.machine.systemctl("is-active", unit, check=False).stdout.strip()
    return state in ("inactive", "failed")


@pytest.mark.long
def test_backups_and_restores_that_are_killed_lose_nothing(saved: Hub) -> None:
    hub = saved
    chosen = random.Random(SEED)
    print(f"LITTLEST_HUB_SEED={SEED}, {KILLS} kills of backups, {KILLS} of restores")
    sh(
        hub,
        "mkdir -p many; for i in $(seq 40); do head -c 700000 /dev/urandom >many/$i; done",
        user="bob",
    )
    started = time.monotonic()
    command(hub, "backups", "now")
    whole_s = time.monotonic() - started
    first = ids(hub)
    original = sh(hub, "cd many && sha256sum *", user="bob")
    for number in range(KILLS):
        sh(hub, f"head -c 900000 /dev/urandom >many/new{number}", user="bob")
        unit, wait_s = f"{RUN}.service", chosen.uniform(0, whole_s)
        kill = f"sleep {wait_s:.3f}; systemctl kill --signal=KILL {unit}"
        sh(hub, f"systemctl start --no-block {unit}; {kill}", check=False)
        eventually(partial(is_over, hub, unit), 60, "the unit to end")
        assert first <= ids(hub), number
    command(hub, "backups", "now")
    command(hub, "backups", "check", "--read-data")
    program = hub.path("hub/bin/littlest-hub")
    started = time.monotonic()
    command(hub, "backups", "restore", "bob", "many")
    whole_s = time.monotonic() - started
    sh(hub, "rm -r ~/restored", user="bob")
    for number in range(KILLS):
        wait_s = chosen.uniform(0, whole_s)
        hub.machine.run(
            [
                "timeout",
                "--signal=KILL",
                f"{wait_s:.3f}",
                program,
                "backups",
                "restore",
                "bob",
                "many",
            ],
            check=False,
        )
        # What is there under its name is whole.
        check = f"echo {shlex.quote(original)} | sha256sum -c --quiet"
        script = f'for d in ~/restored/2*; do [ ! -d "$d" ] || (cd "$d/many" && {check}); done'
        assert sh(hub, script, user="bob") == "", number
    command(hub, "backups", "restore", "bob", "many")
    assert ".unfinished" not in sh(hub, "ls -A ~/restored", user="bob")
    sh(hub, "rm -r ~/restored many", user="bob")


@pytest.mark.long
def test_a_full_disk_and_a_link_in_the_home_leave_nothing_half_done(saved: Hub) -> None:
    hub = saved
    sh(hub, "mkdir -p data; head -c 8000000 /dev/urandom >data/big; ln -s /etc link", user="bob")
    command(hub, "backups", "now")
    sh(hub, "mkdir -p ~/restored", user="bob")
    sh(hub, "mount -t tmpfs -o size=2M,mode=0700,uid=$(id -u bob) tmpfs /home/bob/restored")
    said = command(hub, "backups", "restore", "bob", "data", check=False)
    assert "there is not enough room in your home directory; nothing was restored" in said
    assert sh(hub, "ls -A /home/bob/restored; umount /home/bob/restored") == ""
    sh(hub, "rmdir ~/restored; ln -s /etc restored", user="bob")
    said = command(hub, "backups", "restore", "bob", "data", check=False)
    assert "restored in your home directory is a link or a file" in said
    sh(hub, "rm -r restored data link", user="bob")


@pytest.mark.long
def test_a_server_behind_sftp_and_one_of_rest_take_backups(saved: Hub) -> None:
    hub, machine = saved, saved.machine
    sh(hub, "mkdir -p /run/sshd; systemctl start ssh; useradd -m vault || true")
    sh(hub, "mkdir -p -m 700 /root/.ssh /home/vault/.ssh")
    sh(hub, "ssh-keygen -q -N '' -f /root/.ssh/id_ed25519 -t ed25519")
    sh(hub, "cp /root/.ssh/id_ed25519.pub /home/vault/.ssh/authorized_keys")
    sh(hub, "chown -R vault /home/vault/.ssh")
    fragment = "/opt/littlest-hub/jupyterhub_config.d/56-backups.py"
    stock = machine.read(fragment)
    old = f'REPOSITORY = "{REPOSITORY}"'
    try:
        machine.put(
            fragment,
            stock.replace(old, 'REPOSITORY = "sftp:vault@localhost:/home/vault/repository"'),
        )
        said = command(hub, "backups", "init", check=False)
        assert "does not know the host" in said
        sh(hub, "ssh-keyscan localhost >/root/.ssh/known_hosts 2>/dev/null")
        assert "Made a repository" in command(hub, "backups", "init")
        assert "Made backup" in command(hub, "backups", "now")
        command(hub, "backups", "restore", "alice")
        sh(hub, "systemctl stop ssh")
        said = command(hub, "backups", "now", check=False)
        assert "cannot be reached" in said

        sh(hub, REST_SERVER)
        machine.put(fragment, stock.replace(old, 'REPOSITORY = "rest:http://127.0.0.1:8123/"'))
        machine.put(
            VARIABLES, "RESTIC_REPOSITORY=rest:http://u:secret@127.0.0.1:8123/\n", mode=0o600
        )
        eventually(lambda: "Made" in command(hub, "backups", "init"), 60, "the server")
        assert "Made backup" in command(hub, "backups", "now")
        assert len(ids(hub)) == 1
    finally:
        machine.put(fragment, stock)
        sh(hub, f"rm -rf {VARIABLES} /srv/rest; systemctl stop rest ssh", check=False)


@pytest.mark.long
@pytest.mark.needs("moto_server")
def test_a_bucket_of_s3_takes_backups(saved: Hub) -> None:
    hub, machine = saved, saved.machine
    assert isinstance(machine, Machine)
    fragment = "/opt/littlest-hub/jupyterhub_config.d/56-backups.py"
    stock = machine.read(fragment)
    try:
        machine.put(
            fragment,
            stock.replace(
                f'REPOSITORY = "{REPOSITORY}"', f'REPOSITORY = "s3:http://{S3_ADDRESS}/bucket"'
            ),
        )
        said = command(hub, "backups", "init", check=False)
        assert "cannot be reached" in said
        machine.put(VARIABLES, "AWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY=word\n", mode=0o600)
        with serving_s3(machine):
            made = partial(command, hub, "backups", "init", check=False)
            eventually(lambda: "Made" in made(), 60, "the server")
            sh(hub, "echo chapter >thesis", user="alice")
            assert "Made backup" in command(hub, "backups", "now")
            assert len(ids(hub)) == 1
            command(hub, "backups", "restore", "alice", "thesis")
            assert sh(hub, "cat ~/restored/*/thesis", user="alice") == "chapter\n"
            machine.systemctl("start", f"{TRIAL}.service")
        said = command(hub, "backups", "now", check=False)
        assert "cannot be reached" in said
    finally:
        machine.put(fragment, stock)
        sh(hub, f"rm -rf {VARIABLES} /home/alice/restored /home/alice/thesis")


@contextmanager
def serving_s3(machine: Machine) -> Iterator[None]:
    """Serve buckets with a program of others, moto, in the machine's network."""
    host, _, port = S3_ADDRESS.partition(":")
    program = shutil.which("moto_server", path=capabilities.PATH)
    assert program
    server = subprocess.Popen(
        machine.in_network([program, "-H", host, "-p", port]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()


@pytest.mark.long
def test_another_machine_gets_a_home_and_the_hub_from_repository_and_password_alone(
    saved: Hub, installer: Path, tmp_path: Path
) -> None:
    hub = saved
    sh(hub, "mkdir -p thesis; echo chapter >thesis/one.ipynb", user="alice")
    command(hub, "backups", "now")
    kept = command(hub, "backups", "key")
    password = re.search(r"^  password +(\S+)$", kept, re.MULTILINE)
    assert password
    archive = tmp_path / "repository.tar"
    sh(hub, f"tar cf /root/repository.tar -C {REPOSITORY} .")
    assert isinstance(hub.machine, Machine)
    archive.write_bytes((hub.machine.files / "root/repository.tar").read_bytes())
    with Machine("bookworm", packages=PACKAGES) as machine:
        other = Hub.install(machine, installer)
        machine.copy(archive, "/root/repository.tar")
        sh(other, f"mkdir -p -m 700 {REPOSITORY}; tar xf /root/repository.tar -C {REPOSITORY}")
        machine.put("/root/password", f"{password[1]}\n", mode=0o600)
        # Other numbers of accounts than on the first machine.
        sh(other, "useradd --uid 2345 --create-home other; useradd --uid 2346 alice")
        said = command(other, "enable", "backups", "--yes", "--set", "password_file=/root/password")
        assert "Found a repository" in said
        command(other, "backups", "restore", "alice")
        assert sh(other, "cat ~/thesis/one.ipynb; stat -c %U ~/thesis", user="alice") == (
            "chapter\nalice\n"
        )
        command(other, "backups", "restore", "--hub", "/root/hub.tar.gz")
        command(other, "restore", "--yes", "/root/hub.tar.gz")
        assert other.answers()
        # Without the hub's programs, as its page says.
        script = "restic -r $1 restore latest --target /root/plain --include /home/alice/thesis"
        environment = {"RESTIC_PASSWORD": password[1]}
        machine.run(["sh", "-c", script, "sh", REPOSITORY], env=environment)
        assert machine.read("/root/plain/home/alice/thesis/one.ipynb") == "chapter\n"


@pytest.mark.long
def test_disabling_leaves_the_backups_and_says_so(saved: Hub) -> None:
    hub = saved
    command(hub, "backups", "now")
    size = sh(hub, f"find {REPOSITORY} -type f | wc -l")
    said = command(hub, "disable", "backups")
    assert "the repository is yours" in said
    assert PASSWORD in said
    assert sh(hub, "ls /opt/littlest-hub/state/stacks/backups") == "password\n"
    assert "backups" not in sh(hub, "ls /etc/systemd/system /run /var/lib/systemd/timers")
    assert sh(hub, f"find {REPOSITORY} -type f | wc -l") == size
    _refuses_what_is_of_no_use(hub)
    assert "Found a repository" in command(hub, "enable", "backups", "--yes")
    assert ids(hub)


def _refuses_what_is_of_no_use(hub: Hub) -> None:
    """Enable backups in ways that cannot work, and see that nothing changes."""
    before = hub.snapshot()
    sh(hub, "install -m 600 /dev/null /root/wrong; echo wrong >/root/wrong")
    for setting, reason in (
        ("password_file=/root/wrong", f"{PASSWORD} has another password than /root/wrong"),
        ("repository=/etc", "/etc contains other files, and no repository"),
        ("repository=rest:http://127.0.0.1:9/", "rest:http://127.0.0.1:9/ cannot be reached"),
    ):
        said = command(hub, "enable", "backups", "--yes", "--set", setting, check=False)
        assert "backups is not enabled: " in said
        assert reason in said
    sh(hub, f"rm /root/wrong; mv {PASSWORD} /root/kept; mv /usr/bin/restic /root/restic")
    said = command(hub, "enable", "backups", "--yes", check=False)
    assert "backups needs restic, and this machine does not have it" in said
    sh(hub, "mv /root/restic /usr/bin/restic")
    said = command(hub, "enable", "backups", "--yes", check=False)
    assert f"there is a repository at {REPOSITORY}, and no password for it" in said
    sh(hub, f"mv /root/kept {PASSWORD}")
    assert hub.snapshot() == before


@pytest.mark.long
def test_uninstalling_leaves_the_backups_and_says_so(saved: Hub) -> None:
    hub = saved
    command(hub, "backups", "now")
    password = hub.machine.read(PASSWORD).strip()
    said = command(hub, "uninstall", "--purge", "--yes")
    assert "the repository is yours" in said
    assert password not in said
    left = sh(hub, "ls /opt /etc/systemd/system /run /var/lib/systemd/timers")
    assert "littlest-hub" not in left
    listed = hub.machine.run(
        ["restic", "--no-cache", "-r", REPOSITORY, "snapshots"], env={"RESTIC_PASSWORD": password}
    )
    assert "/home" in listed.stdout
