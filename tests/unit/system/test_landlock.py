"""Processes that give up access to files."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.system import landlock

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not landlock.is_usable(), reason="this kernel has no Landlock"),
]

TRY = """
import os, sys
from pathlib import Path
from littlest_hub.system import landlock
own, other = map(Path, sys.argv[1:])
system = [Path("/usr"), Path("/lib"), Path("/lib64"), Path("/etc"), Path("/missing")]
assert landlock.restrict(system, [own, Path("/dev/null")])

def moved():
    (own / "a/file").write_text("x")
    os.link(own / "a/file", own / "b/link")
    (own / "b/link").rename(own / "a/moved")

for attempt in (
    moved,
    lambda: Path("/dev/null").write_text("x"),
    lambda: (other / "file").read_text(),
    lambda: (other / "new").write_text("x"),
    lambda: (own / "link").read_text(),
    lambda: os.listdir(other),
    lambda: os.system("cat " + str(other / "file")) and open(other / "file"),
    lambda: Path("/proc", str(os.getppid()), "environ").read_bytes(),
):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
"""


def test_a_restricted_process_uses_only_files_below_its_paths(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for each in (own / "a", own / "b", other):
        each.mkdir(parents=True)
    (other / "file").write_text("secret")
    (own / "link").symlink_to(other / "file")
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(own), str(other)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["done"] * 2 + ["refused"] * 6, done.stderr
    assert sorted(each.name for each in (own / "a").iterdir()) == ["file", "moved"]


CONNECT = """
import socket, sys
from pathlib import Path
from littlest_hub.system import landlock
permitted, *ports = map(int, sys.argv[1:])
landlock.restrict([Path("/")], [], permitted)
for port in ports:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        print("done")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel's Landlock does not restrict TCP")
def test_a_restricted_process_connects_to_one_port_or_to_any() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        ports = [str(each.getsockname()[1]) for each in (one, other)]
        for permitted, expected in ((ports[0], ["done", "refused"]), ("0", ["done", "done"])):
            command = [sys.executable, "-c", CONNECT, permitted, *ports]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.stdout.split() == expected, done.stderr
