"""Changing the configuration, rightly and wrongly, as an administrator does."""

import base64
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pexpect
import pytest

from tests.broken import BROKEN, Broken
from tests.eventually import eventually
from tests.hub import Hub

COMMAND = "hub/bin/littlest-hub"
JOBS = "# Servers as jobs.\nc.Spawner.start_timeout = 300\n"
RIGHTS = "[Service]\nCapabilityBoundingSet=CAP_SETUID CAP_SETGID\nPrivateUsers=no\n"


@contextmanager
def broken_fragments(hub: Hub, fragments: Sequence[Broken]) -> Iterator[dict[Broken, str]]:
    """Add broken fragments to those of the hub, and yield their paths."""
    paths = {broken: f"{hub.layout.fragments}/50-{broken.what}.py" for broken in fragments}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for broken, path in paths.items():
            text = broken.text if isinstance(broken.text, bytes) else broken.text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    encoded = base64.b64encode(packed.getvalue()).decode()
    hub.machine.run(["sh", "-c", "base64 -d | tar -x --directory=/"], input=encoded)
    try:
        yield paths
    finally:
        hub.machine.run(["rm", *paths.values()])


def found_together(hub: Hub, fragments: Sequence[Broken]) -> list[Broken]:
    """Return those whose mistake one check of all of them names, with its line."""
    with broken_fragments(hub, fragments) as paths:
        done = hub.machine.run([hub.path(COMMAND), "check", "--json"], check=False)
    assert done.returncode == 1, done
    said: dict[tuple[str, int], str] = defaultdict(str)
    for problem in json.loads(done.stdout)["problems"]:
        said[problem["file"], problem["line"]] += problem["message"]
    return [each for each, path in paths.items() if each.message in said[path, each.line]]


def test_the_line_of_every_broken_fragment_is_named(hub: Hub) -> None:
    # Few checks instead of a hundred: what others hide is found without them.
    left = list(BROKEN)
    while found := found_together(hub, left):
        left = [broken for broken in left if broken not in found]
    assert len(left) < len(BROKEN) / 3
    for broken in left:
        assert found_together(hub, [broken]) == [broken]


def test_a_reload_refuses_a_broken_fragment_with_its_line_and_the_hub_goes_on(hub: Hub) -> None:
    pid = hub.main_pid()
    # Each is found by another part of the check.
    for broken in (each for each in BROKEN if each.what in ("raised", "setting", "jinja", "write")):
        with broken_fragments(hub, [broken]) as paths:
            assert hub.reload(check=False).returncode != 0, broken
            status = ["status", "--full", "--no-pager", "--lines=20", hub.layout.hub_service]
            said = hub.machine.systemctl(*status, check=False).stdout
            assert f"{paths[broken]}:{broken.line}: " in said, broken
            assert broken.message in said, broken
            assert hub.answers(), broken
    assert hub.main_pid() == pid
    hub.reload()


def check(hub: Hub, text: str) -> tuple[int, str]:
    """Return exit code and output of `littlest-hub check` with one more fragment."""
    path = hub.write_fragment("60-checked.py", text)
    try:
        done = hub.machine.run([hub.path(COMMAND), "check"], check=False)
    finally:
        hub.machine.run(["rm", path])
    return done.returncode, done.stdout + done.stderr


@pytest.mark.row(40)
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("open('/etc/written', 'w')\n", 1, "may not write"),
        ("\nopen('/opt/littlest-hub/state/written', 'w')\n", 2, "may not write"),
        ("\nopen('/run/littlest-hub/written', 'w')\n", 2, "may not write"),
        ("import subprocess\nsubprocess.check_call(['systemctl', 'stop', 'littlest-hub'])\n", 2,
         "access to systemd"),
        ("import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/run/systemd/private')\n", 3,
         "no orders to systemd"),
        ("import os\nos.kill(1, 9)\n", 2, "may send no signals"),
        ("import resource\nresource.prlimit(1, resource.RLIMIT_NOFILE)\n", 2, "no other process"),
        ("import time\nwhile True:\n    time.sleep(1)\n", 3, "still at this line after"),
        ("x = []\nwhile True:\n    x.append(bytearray(1 << 24))\n", 3, "MemoryError"),
    ],
)  # fmt: skip
def test_a_fragment_does_no_harm_while_it_is_checked(
    hub: Hub, text: str, line: int, message: str
) -> None:
    code, said = check(hub, text)
    assert code == 1
    assert f"60-checked.py:{line}: " in said
    assert message in said
    hub.machine.systemctl("is-active", hub.layout.hub_service, hub.layout.proxy_service)
    assert hub.machine.run(["sh", "-c", "ls /etc/written"], check=False).returncode != 0
    left = hub.machine.systemctl("list-units", "--all", "--no-legend", "*.check-*").stdout
    assert left.strip() == ""


def kill_check(hub: Hub) -> None:
    """Kill a check once systemd has its unit."""
    path = hub.write_fragment("60-checked.py", "import time\ntime.sleep(9)\n")
    try:
        start = f"{hub.path(COMMAND)} check >/dev/null 2>&1 & echo $!"
        pid = hub.machine.run(["sh", "-c", start]).stdout.strip()
        eventually(lambda: "/run/systemd/system/" in traces(hub), 30, "the link of the unit")
        hub.machine.run(["sh", "-c", f"kill -KILL {pid}"])
    finally:
        hub.machine.run(["rm", path])


def traces(hub: Hub) -> str:
    """Return the files and units of checks."""
    find = "find /run -maxdepth 3 -ignore_readdir_race -name '*.check-*'"
    units = "systemctl list-units --all --no-legend '*.check-*'"
    return hub.machine.run(["sh", "-c", f"{find}; {units}"]).stdout


def test_what_a_killed_check_leaves_is_removed_by_the_next_one(hub: Hub) -> None:
    kill_check(hub)
    assert traces(hub)
    hub.machine.run([hub.path(COMMAND), "check"])
    assert traces(hub).strip() == ""


def test_fragments_are_checked_in_the_environment_of_the_hub(hub: Hub) -> None:
    drop_in = f"/etc/systemd/system/{hub.layout.hub_service}.d/50-environment.conf"
    hub.machine.put(drop_in, "[Service]\nEnvironment='GREETING=good morning' OTHER=x\n")
    hub.machine.systemctl("daemon-reload")
    try:
        code, said = check(hub, "import os\nprint(os.environ['GREETING'], os.getcwd())\n")
    finally:
        hub.machine.run(["rm", "-r", drop_in.rpartition("/")[0]])
        hub.machine.systemctl("daemon-reload")
    assert code == 0, said
    assert "good morning /opt/littlest-hub/state" in said


def test_facts_about_the_machine_are_considered(hub: Hub) -> None:
    listen = ["systemd-run", "--unit=taken", "systemd-socket-activate", "--listen=8123", "true"]
    hub.machine.run(listen)
    hub.machine.add_user("zoe", "x")
    try:
        _, said = check(
            hub,
            "c.JupyterHub.hub_bind_url = 'http://:8123'\n"
            "c.JupyterHub.cookie_secret_file = '/srv/secret'\n"
            "c.Authenticator.allowed_users = {'zoe', 'zoee'}\n",
        )
        assert "60-checked.py:1: JupyterHub.hub_bind_url: port 8123 is in use by" in said
        assert (
            "60-checked.py:2: JupyterHub.cookie_secret_file: the hub's unit may not write" in said
        )
        assert "60-checked.py:3: warning: Authenticator.allowed_users: this machine has no" in said
        assert "'zoe'" not in said
        _, own_ports = check(
            hub, "c.JupyterHub.bind_url = 'http://:80/x'\nc.JupyterHub.hub_port = 15001\n"
        )
        assert "60-checked.py" not in own_ports
    finally:
        hub.machine.systemctl("stop", "taken")


# --- edit

ADD = '#!/bin/sh\necho \'c.JupyterHub.template_vars = {"announcement": "edited"}\' >>"$1"\n'
BREAK = "#!/bin/sh\necho 'c.JupyterHub.prot = 1' >>\"$1\"\n"
# It reads a line and appends it, as ed(1) would.
TYPE = "#!/bin/sh\nprintf 'line: '; read -r line; printf '%s\\n' \"$line\" >>\"$1\"\n"


@contextmanager
def editing(hub: Hub, name: str, script: str) -> Iterator["pexpect.spawn[str]"]:
    """Run `littlest-hub edit NAME` in a terminal, with an editor that is a script."""
    hub.machine.put("/usr/local/bin/editor-for-test", script, mode=0o755)
    command = ["env", "EDITOR=editor-for-test", hub.path(COMMAND), "edit", name]
    terminal = hub.machine.terminal(command)
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def in_fragments(hub: Hub, *arguments: str) -> list[str]:
    return hub.machine.run(["ls", *arguments, str(hub.layout.fragments)]).stdout.split()


def test_an_edited_fragment_is_checked_saved_and_applied(hub: Hub) -> None:
    try:
        with editing(hub, "70-edited", ADD) as terminal:
            terminal.expect("70-edited.py is saved")
            terminal.expect("Reload the hub now")
            terminal.sendline("y")
            terminal.expect("Reloaded")
            terminal.expect(pexpect.EOF)
        with hub.person() as alice:
            assert "edited" in alice.browser.get("/hub/home").text
        assert hub.machine.read(hub.path("jupyterhub_config.d/70-edited.py")).startswith("# 70-")
        assert not [name for name in in_fragments(hub, "-A") if name.startswith(".")]
    finally:
        hub.machine.run(["rm", "--force", hub.path("jupyterhub_config.d/70-edited.py")])
        hub.reload()


def test_a_mistake_is_shown_and_edited_again(hub: Hub) -> None:
    path = hub.write_fragment("70-edited.py", "# of mine\n")
    hub.machine.run(["chmod", "0640", path])
    try:
        with editing(hub, "70-edited.py", TYPE) as terminal:
            terminal.expect("line: ")
            terminal.sendline("c.JupyterHub.prot = 1")
            terminal.expect(f"{path}:2: JupyterHub.prot: .*did you mean 'port'")
            terminal.expect("What now")
            assert hub.machine.read(path) == "# of mine\n"
            terminal.sendline("e")
            terminal.expect("line: ")
            terminal.sendline("del c.JupyterHub['prot']")
            terminal.expect("is saved")
            terminal.expect("Reload the hub now")
            terminal.sendline("q")  # whatever is not yes
            terminal.expect("To apply it: systemctl reload littlest-hub")
            terminal.expect(pexpect.EOF)
        assert "prot" in hub.machine.read(path)
        assert hub.machine.run(["stat", "--format=%a", path]).stdout == "640\n"
        with editing(hub, "70-edited", BREAK) as terminal:
            terminal.expect("What now")
            terminal.sendline("q")
            terminal.expect("is as it was")
    finally:
        hub.machine.run(["rm", "--force", path])


def test_nothing_that_was_typed_is_lost(hub: Hub) -> None:
    path = hub.write_fragment("70-edited.py", "# of mine\n")
    try:
        with editing(hub, "70-edited", BREAK) as terminal:
            terminal.expect("What now")
            with editing(hub, "70-edited", BREAK) as second:
                second.expect(f"{path} is being edited by root.*, process \\d+, since")
            terminal.sendcontrol("c")
            terminal.expect("Your text is kept in \\S+\r")
            kept = str(terminal.after).split()[-1]
        assert hub.machine.read(kept).endswith("prot = 1\n")
        with editing(hub, "70-edited", TYPE) as terminal:
            terminal.expect("line: ")
            hub.write_fragment("70-edited.py", "# of another\n")
            terminal.sendline("# and mine")
            terminal.expect("was changed by another program meanwhile")
            terminal.expect("Your text is kept in")
        assert hub.machine.read(path) == "# of another\n"
    finally:
        hub.machine.run(
            ["sh", "-c", f"rm -f {hub.layout.fragments}/*70-* {hub.layout.fragments}/.70-*"]
        )


def test_without_a_terminal_what_is_good_is_saved_and_nothing_is_asked(hub: Hub) -> None:
    command = [hub.path(COMMAND), "edit", "70-edited"]
    path = hub.path("jupyterhub_config.d/70-edited.py")
    try:
        hub.machine.put("/usr/local/bin/editor-for-test", BREAK, mode=0o755)
        environment = {"VISUAL": "editor-for-test"}
        bad = hub.machine.run(command, env=environment, check=False)
        assert bad.returncode == 1
        assert "Your text is kept in" in bad.stderr
        assert hub.machine.run(["ls", path], check=False).returncode != 0
        hub.machine.put("/usr/local/bin/editor-for-test", ADD, mode=0o755)
        assert "is saved" in hub.machine.run(command, env=environment).stdout
        same = hub.machine.run(command, env={"VISUAL": "true"})
        assert "is unchanged" in same.stdout
    finally:
        hub.machine.run(
            ["sh", "-c", f"rm -f {hub.layout.fragments}/*70-* {hub.layout.fragments}/.70-*"]
        )


def test_a_fragment_that_the_hub_may_not_read_is_refused_with_the_command_that_mends_it(
    hub: Hub,
) -> None:
    with hub.fragment("70-theirs.py", "c.JupyterHub.concurrent_spawn_limit = 3\n"):
        file = f"{hub.layout.fragments}/70-theirs.py"
        hub.machine.run(["chown", "games:games", file])
        hub.machine.run(["chmod", "0600", file])
        refused = hub.machine.run([hub.path(COMMAND), "check"], check=False)
        assert refused.returncode == 1
        assert f"{file}: the hub may not read this" in refused.stdout
        assert hub.machine.systemctl("reload", "littlest-hub", check=False).returncode != 0
        assert hub.answers()
        mend = f"chown root:root {file}"
        assert mend in refused.stdout
        hub.machine.run(["sh", "-c", mend])
        hub.machine.systemctl("reload", "littlest-hub")


# --- the catalogue


@pytest.fixture
def jobs(hub: Hub) -> Iterator[None]:
    """A ready fragment 57-jobs.py, with a drop-in, in the catalogue."""
    files = {"py": JOBS, "conf": RIGHTS}
    for suffix, text in files.items():
        hub.machine.put(str(hub.layout.catalogue / f"57-jobs.{suffix}"), text)
    yield
    hub.machine.run(["rm", *(str(hub.layout.catalogue / f"57-jobs.{each}") for each in files)])


@pytest.mark.usefixtures("jobs")
def test_a_fragment_of_the_catalogue_is_enabled_and_disabled(hub: Hub) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = hub.machine.run([hub.path(COMMAND), *arguments], check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def state(name: str) -> str:
        found: dict[str, str] = {
            entry["name"]: entry["state"] for entry in json.loads(run("list", "--json"))
        }
        return found[name]

    assert state("57-jobs.py") == "available"
    assert "Did you mean 57-jobs.py?" in run("enable", "jbos", code=1)
    drop_in = str(hub.layout.hub_drop_ins / "57-jobs.conf")
    told = run("enable", "jobs")
    assert f"{drop_in} gives the hub's unit the rights" in told
    assert "systemctl restart littlest-hub" in told
    show = ["show", "--property=CapabilityBoundingSet", "littlest-hub"]
    assert "cap_setuid" in hub.machine.systemctl(*show).stdout
    assert state("57-jobs.py") == "enabled"
    assert "already, unchanged" in run("enable", "57-jobs.py")
    assert f"{drop_in} is removed" in run("disable", "jobs")
    assert "cap_setuid" not in hub.machine.systemctl(*show).stdout
    assert state("57-jobs.py") == "available"
    # As after an upgrade to a release with another version.
    run("enable", "jobs")
    stock = str(hub.layout.catalogue / "57-jobs.conf")
    hub.machine.run(["cp", "--preserve", stock, "/tmp/stock.conf"])
    try:
        hub.machine.run(["sh", "-c", f"echo '# of the next release' >>{stock}"])
        assert f"{drop_in} is removed" in run("disable", "jobs")
        assert "cap_setuid" not in hub.machine.systemctl(*show).stdout
    finally:
        hub.machine.run(["mv", "/tmp/stock.conf", stock])
    run("enable", "57-jobs")
    hub.machine.run(["sh", "-c", f"echo '# mine' >>{hub.layout.fragments}/57-jobs.py"])
    assert state("57-jobs.py") == "changed"
    assert "not the stock one" in run("enable", "jobs", code=1)
    assert "57-jobs.py.disabled" in run("disable", "jobs")
    assert state("57-jobs.py") == "disabled"
    assert "as you had it" in run("enable", "jobs")
    assert "Ready fragments of this release:" in run("list")
    assert "Your own:" in run("list")
    hub.machine.run(["rm", "--recursive", drop_in, str(hub.layout.fragments / "57-jobs.py")])
    hub.machine.run(["rmdir", str(hub.layout.hub_drop_ins)])
    hub.machine.systemctl("daemon-reload")
