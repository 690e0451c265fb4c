"""A hub in one file, and back: onto itself, onto another machine, or not at all."""

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import Person
from tests.container.test_killing import KILLS
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

EVERYBODY = "c.Authenticator.allow_all = True\n"


def command(hub: Hub, *arguments: str, check: bool = True, timeout_s: float = 120) -> str:
    """Run `littlest-hub …`, and return its output on both streams."""
    argv = [hub.path("hub/bin/littlest-hub"), *arguments]
    done = hub.machine.run(argv, check=check, timeout_s=timeout_s)
    return done.stdout + done.stderr


def exit_code(hub: Hub, *arguments: str) -> tuple[int, str]:
    argv = [hub.path("hub/bin/littlest-hub"), *arguments]
    done = hub.machine.run(argv, check=False)
    return done.returncode, done.stdout + done.stderr


def users(hub: Hub) -> set[str]:
    script = "import sqlite3, sys; print(*[r[0] for r in sqlite3.connect(sys.argv[1]).execute("
    script += "'SELECT name FROM users')])"
    argv = [hub.path("hub/bin/python3"), "-I", "-c", script, str(hub.layout.database)]
    return set(hub.machine.run(argv).stdout.split())


def fetch(hub: Hub, path: str) -> bytes:
    return base64.b64decode(hub.machine.run(["base64", path]).stdout)


def send(hub: Hub, path: str, content: bytes) -> str:
    hub.machine.put(f"{path}.base64", base64.b64encode(content).decode())
    hub.machine.run(["sh", "-c", f"base64 -d {path}.base64 > {path}"])
    return path


@pytest.fixture(scope="module")
def first(installer: Path) -> Iterator[Hub]:
    with Machine("bookworm") as machine:
        machine.add_user("boss", "boss-password")
        machine.add_user("alice", "alice-password")
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        machine.put(hub.path("state/proxy/dynamic/tls.key"), _KEY, mode=0o600)
        machine.put(hub.path("state/stack/notes.txt"), "of a stack\n")
        hub.reload()
        yield hub


_KEY = "-----BEGIN PRIVATE KEY-----\nnot really\n-----END PRIVATE KEY-----\n"


@pytest.mark.row(25)
def test_a_hub_moves_to_another_machine_and_another_base_directory(
    first: Hub, installer: Path
) -> None:
    layout = first.layout
    first.write_fragment("30-path.py", f"# reads {layout.base}/state/stack\n")
    drop_in = f"/etc/systemd/system/{layout.hub_service}.d/mine.conf"
    first.machine.put(drop_in, "[Service]\nEnvironment=MINE=yes\n")
    of_stack = "/etc/systemd/system/{}.announce.service.d/mine.conf"
    first.machine.put(of_stack.format("littlest-hub"), "[Service]\nNice=1\n")
    with (
        Person(first.url, "alice", "alice-password") as alice,
        Person(first.url, "boss", "boss-password") as boss,
    ):
        alice.log_in()
        boss.log_in()
        alice.start_server()
        token = boss._api("POST", "users/boss/tokens", json={"note": "script"}).json()["token"]
        printed = command(first, "backup", "/root/all.tar.gz", "--secrets")
        assert "Anyone with this file" in printed
        printed = command(first, "backup", "/root/plain.tar.gz")
        assert layout.cookie_secret.name in printed
        assert "tls.key" in printed
        assert exit_code(first, "backup", "/root/plain.tar.gz")[0] == 1
        assert first.machine.run(["stat", "-c%a", "/root/all.tar.gz"]).stdout.strip() == "600"
        plain = fetch(first, "/root/plain.tar.gz")
        everything = fetch(first, "/root/all.tar.gz")
        secret = first.machine.read(str(layout.cookie_secret)).strip()
        cookies = [(c.name, c.value, c.path) for c in alice.browser.cookies.jar]
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            content = b"".join(f.read() for i in tar if (f := tar.extractfile(i)))
            assert secret.encode() not in content
            assert b"not really" not in content
        # The server still runs: a backup disturbs no user.
        assert alice.run_cell("6 * 7") == "42"
        alice.stop_server()

    with Machine("bookworm") as machine:
        machine.add_user("boss", "boss-password")
        machine.add_user("alice", "alice-password")
        hub = Hub.install(machine, installer, base=Path("/srv/physics"))
        backup = send(hub, "/root/all.tar.gz", everything)
        listed = command(hub, "restore", "--list", backup)
        assert "database/jupyterhub.sqlite" in listed
        manifest = json.loads(command(hub, "restore", "--list", "--json", backup))
        assert manifest["base"] == str(layout.base)
        assert "database/jupyterhub.sqlite" in manifest["members"]
        assert users(hub) == set()
        code, printed = exit_code(hub, "restore", backup)
        assert code == 1, "asks, and nobody answers"
        assert users(hub) == set()
        printed = command(hub, "restore", "--yes", backup)
        assert f"/srv/physics/jupyterhub_config.d/30-path.py:1: names {layout.base}" in printed
        eventually(hub.answers, 30, "the login page of the restored hub")

        assert {"boss", "alice"} <= users(hub)
        shown = machine.systemctl("show", "-p", "Environment", hub.layout.hub_service).stdout
        assert "MINE=yes" in shown
        assert "Nice=1" in machine.read(of_stack.format("littlest-hub-physics"))
        assert machine.read(hub.path("state/stack/notes.txt")) == "of a stack\n"
        answer = httpx.get(
            f"{hub.url}/hub/api/users",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        with httpx.Client(base_url=hub.url, trust_env=False) as browser:
            for name, value, path in cookies:
                browser.cookies.set(name, value or "", path=path)
            home = browser.get("/hub/home")
            assert home.status_code == 200, "alice is still logged in"
        with Person(hub.url, "alice", "alice-password") as alice:
            alice.log_in()
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
            alice.stop_server()
        with Person(hub.url, "boss", "boss-password") as boss:
            boss.log_in()
            assert boss._api("GET", "users").status_code == 200, "boss is administrator"
        left = machine.run(
            ["find", "/srv/physics", "/etc/systemd/system", "-name", "releases", "-prune", "-o",
             "-name", "*restore*", "!", "-name", "before-restore-*", "!", "-name", "*.lock",
             "-print"]
        )  # fmt: skip
        assert left.stdout == ""


@pytest.mark.row(19)
def test_a_restore_names_the_servers_it_forgets_and_their_users_get_them_back(first: Hub) -> None:
    command(first, "backup", "/root/before.tar.gz")
    with Person(first.url, "alice", "alice-password") as alice:
        alice.log_in()
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            printed = command(first, "restore", "--yes", "/root/before.tar.gz")
            unit = f"{first.layout.instance}.user-alice.service"
            assert f"systemctl stop {unit}" in printed
            assert kernel.run("x + 1") == "42"
            pid = first.main_pid(unit)
            # The restored hub may know the earlier session, or not.
            alice.browser.cookies.clear()
            alice.log_in()
            assert not alice.has_server()
            alice.start_server()
            assert first.main_pid(unit) == pid
            assert kernel.run("x + 1") == "42"
            assert alice.run_cell("6 * 7") == "42"
        first.machine.systemctl("stop", unit)


def test_a_hub_that_does_not_start_with_the_backup_is_put_back(first: Hub) -> None:
    drop_in = f"/etc/systemd/system/{first.layout.hub_service}.d/broken.conf"
    first.machine.put(drop_in, "[Service]\nExecStartPre=/bin/false\n")
    command(first, "backup", "/root/broken.tar.gz")
    first.machine.run(["rm", drop_in])
    first.machine.systemctl("daemon-reload")
    before = first.snapshot()
    code, printed = exit_code(first, "restore", "--yes", "/root/broken.tar.gz")
    assert code == 1
    assert "Everything is as it was" in printed
    assert first.answers()
    after = first.snapshot()
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    # Directories have a new time; a backup of the previous files may stay.
    assert not {path for path in changed if path.endswith((".py", ".conf", "secret"))}, changed
    assert drop_in not in after


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        ("c.JupyterHub.nonsense = 1\n", "40-bad.py:1"),
        ("import no_such_module\n", "40-bad.py:1"),
    ],
)
def test_fragments_that_do_not_work_here_are_refused_before_anything_changes(
    first: Hub, fragment: str, reason: str
) -> None:
    first.write_fragment("40-bad.py", fragment)
    first.machine.run(["rm", "-f", "/root/bad.tar.gz"])
    command(first, "backup", "/root/bad.tar.gz")
    first.machine.run(["rm", first.path("jupyterhub_config.d/40-bad.py")])
    pid = first.main_pid()
    code, printed = exit_code(first, "restore", "--yes", "/root/bad.tar.gz")
    assert code == 1
    assert reason in printed
    assert first.main_pid() == pid
    assert "40-bad.py" not in first.machine.run(["ls", first.path("jupyterhub_config.d")]).stdout


def test_a_full_disk_leaves_no_half_a_backup(first: Hub) -> None:
    script = (
        "mkdir -p /mnt/small && mount -t tmpfs -o size=16k small /mnt/small &&"
        f" {first.path('hub/bin/littlest-hub')} backup /mnt/small/x.tar.gz; echo rc=$?;"
        " ls -A /mnt/small; umount /mnt/small"
    )
    first.machine.run(
        ["sh", "-c", f"head -c 60000 /dev/urandom > {first.path('state/stack/noise')}"]
    )
    done = first.machine.run(["sh", "-c", script])
    first.machine.run(["rm", first.path("state/stack/noise")])
    assert done.stdout.splitlines() == ["rc=1"]
    assert "No space left" in done.stderr


# The output so far, and the seconds since then; each third one without LITTLEST_HUB_KILLS.
KILLED_WHEN = (
    ("Verifying", 0),
    ("Verifying", 0.5),
    *(("Stopping", later_s) for later_s in (0, 0.05, 0.2)),
    *(("Keeping", later_s) for later_s in (0, 0.02, 0.05, 0.1, 0.3, 0.6)),
    *(("Starting", later_s) for later_s in (0, 0.3, 1)),
)


def test_a_killed_restore_leaves_the_old_or_the_new(first: Hub) -> None:
    """SIGKILL at points all over its course; then the next request starts a complete hub."""
    layout = first.layout
    first.machine.run(["rm", "-f", "/root/a.tar.gz", "/root/b.tar.gz"])
    marks = {"a": {"only-in-a"}, "b": {"only-in-b"}}
    for name in marks:
        with Person(first.url, "boss", "boss-password") as boss:
            boss.log_in()
            boss._api("DELETE", "users/only-in-a")
            first.machine.run(["useradd", f"only-in-{name}"])
            assert boss._api("POST", f"users/only-in-{name}").status_code == 201
        first.write_fragment("50-which.py", f"# {name}\n")
        command(first, "backup", f"/root/{name}.tar.gz")
    binary = first.path("hub/bin/littlest-hub")
    seen = set()
    for said, later_s in KILLED_WHEN if KILLS > 1 else KILLED_WHEN[::3]:
        target = "a" if _which(first) == "b" else "b"
        kill = (
            f"{binary} restore --yes /root/{target}.tar.gz 2>/tmp/said & pid=$!;"
            f" until grep -q '{said}' /tmp/said; do sleep 0.01; done;"
            f" sleep {later_s}; kill -KILL $pid; wait $pid; rm /tmp/said"
        )
        first.machine.run(["sh", "-c", kill], check=False)
        eventually(first.answers, 60, "the login page")
        which = _which(first)
        seen.add(which == target)
        names = users(first) & {"only-in-a", "only-in-b"}
        assert names == marks[which], f"killed {later_s} s after {said!r}"
    assert seen == {True, False}, "killed before the decision and after it"
    command(first, "restore", "--yes", "/root/a.tar.gz")
    left = first.machine.run(
        ["find", str(layout.base), "/etc/systemd/system", "-name", "releases", "-prune", "-o",
         "(", "-name", "*.restored", "-o", "-name", "*.replaced", "-o",
         "-name", "unfinished*", "-o",
         "-name", ".restore-*", "-o", "-name", "restore.json", ")", "-print"]
    )  # fmt: skip
    assert left.stdout == ""


def _which(hub: Hub) -> str:
    return hub.machine.read(hub.path("jupyterhub_config.d/50-which.py")).split()[1]


def test_a_postgres_database_is_said_not_to_be_in_it(first: Hub) -> None:
    url = "postgresql://hub:hunter2@db.example/hub"
    path = first.write_fragment("60-db.py", f"c.JupyterHub.db_url = {url!r}\n")
    try:
        printed = command(first, "backup", "/root/postgres.tar.gz")
    finally:
        first.machine.run(["rm", path])
    assert "db.example" in printed
    assert "hunter2" not in printed
    manifest = json.loads(
        first.machine.run(
            ["tar", "--extract", "--to-stdout", "--file=/root/postgres.tar.gz", "manifest.json"]
        ).stdout
    )
    assert "database/jupyterhub.sqlite" not in manifest["members"]
