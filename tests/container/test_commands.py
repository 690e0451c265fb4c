"""Commands that lack rights or room: what they say, and that nothing half done is left."""

import re

import pytest

from tests.hub import Hub

COMMAND = "hub/bin/littlest-hub"


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "check",
        "backup",
        "uninstall",
        "enable https",
        "disable users",
        "edit 10-users",
        "rollback",
        "restore --yes /etc/hostname",
        "install",
        "run",
    ],
)
def test_without_rights_a_command_names_the_one_that_has_them(hub: Hub, line: str) -> None:
    command = hub.path(COMMAND)
    done = hub.machine.run([command, *line.split()], user="nobody", check=False)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert f": sudo {command} {line}\n" in done.stderr


def test_on_a_full_or_read_only_disk_a_command_says_so_and_leaves_nothing(hub: Hub) -> None:
    command, fragments = hub.path(COMMAND), str(hub.layout.fragments)
    fill = f"head --bytes=300k /dev/zero >{fragments}/fill"
    full = f"mount -t tmpfs -o size=64k,mode=0700 full {fragments}; {fill}"
    lines = ("enable https", "edit 30-new", f"backup {fragments}/backup.tar.gz")
    hub.machine.run(["sh", "-c", full], check=False)
    try:
        for line in lines:
            argv = [command, *line.split()]
            done = hub.machine.run(argv, env={"EDITOR": "true"}, check=False)
            assert done.returncode == 1, line
            told = r"littlest-hub: \S+: No space left on device\n.*: df -h \S+\n"
            assert re.search(told, done.stderr), done.stderr
            assert "Traceback" not in done.stderr
            assert hub.machine.run(["ls", "-A", fragments]).stdout == "fill\n", line
        hub.machine.run(["mount", "-o", "remount,ro", fragments])
        for line in lines:
            argv = [command, *line.split()]
            done = hub.machine.run(argv, env={"EDITOR": "true"}, check=False)
            assert done.returncode == 1, line
            assert re.search(r"Read-only file system\n.*findmnt --target", done.stderr), done.stderr
    finally:
        hub.machine.run(["umount", fragments])


def test_edit_without_a_terminal_names_what_it_needs_and_leaves_nothing_hidden(hub: Hub) -> None:
    argv = [hub.path(COMMAND), "edit", "70-edited"]
    fragments = str(hub.layout.fragments)
    before = hub.machine.run(["ls", "-A", fragments]).stdout
    refused = hub.machine.run(argv, check=False)
    assert "there is no terminal for an editor" in refused.stderr
    assert hub.machine.run(["ls", "-A", fragments]).stdout == before
    # An editor that leaves files of its own beside the text, as vi and nano do.
    script = '#!/bin/sh\necho \'c.JupyterHub.prot = 1\' >>"$1"; touch "${1%/*}/.$$.swp"\n'
    hub.machine.put("/usr/local/bin/editor-for-test", script, mode=0o755)
    bad = hub.machine.run(argv, env={"EDITOR": "editor-for-test"}, check=False)
    kept = f"{fragments}/70-edited.py.unsaved"
    assert f"Your text is kept in {kept}" in bad.stderr
    try:
        after = hub.machine.run(["ls", "-A", fragments]).stdout.split()
        assert {*after} - {*before.split()} == {"70-edited.py.unsaved"}
        assert "70-edited.py.unsaved" in hub.machine.run([hub.path(COMMAND), "list"]).stdout
        # The hub would not start with it.
        advice = hub.machine.run([hub.path(COMMAND), "doctor"], check=False).stdout
        assert f"less {kept}; rm -i {kept}" in advice
    finally:
        hub.machine.run(["rm", "--force", kept])
