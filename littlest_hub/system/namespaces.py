"""Namespaces of Linux (namespaces(7)): programs that see a directory as it is to become."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.system.processes import mounts, process_ids, user_ids

_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
"""Flags of umount2(2)."""
_CLONE_NEWNS = 0x00020000
"""The kind of setns(2) and unshare(2): mounts."""
# redirect_dir and metacopy would leave directories and files in the upper layer that mean nothing
# without the lower one; rename(2) of a directory of the lower layer fails, and programs copy it.
_OPTIONS = "redirect_dir=off,metacopy=off,index=off"
# $1 options of the mount, $2 the directory, then the command.
_SCRIPT = 'umask 022; mount -t overlay -o "$1" overlay "$2" && shift 2 && exec "$@"'
# The command is process 1 of its namespace: what it leaves running ends with it, and so does the
# mount. All of it ends when our process does, even if that is killed.
_UNSHARE = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)


@dataclass(frozen=True)
class Overlay:
    """A directory, and a layer over it that gets all changes (the kernel's overlayfs)."""

    lower: Path
    """The directory; it stays as it is."""
    upper: Path
    """The layer: an empty directory at first."""
    work: Path
    """An empty directory on the same file system, for the kernel."""

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the command that runs another one, which sees the layer at the directory."""
        layers = f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"
        options = f"{layers},{_OPTIONS}"
        return [*_UNSHARE, "sh", "-c", _SCRIPT, "sh", options, str(self.lower), *words]


def put_in_memory(directory: Path) -> None:
    """Let this process and its children see a file system in memory at a directory.

    Nobody else sees it, and it is gone when they have ended, however they end.

    Raises:
        OSError: this process may not have mounts of its own.
        subprocess.CalledProcessError: memory cannot be mounted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare", str(directory))
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(directory)]
    for command in (["mount", "--make-rprivate", "/"], mount):
        subprocess.run(command, check=True, capture_output=True, text=True)


def free_memory(directory: Path) -> None:
    """Undo `put_in_memory`, if it was called for this directory."""
    if os.path.ismount(directory):
        subprocess.run(["umount", "--lazy", str(directory)], capture_output=True)


def leave_unit(slice_name: str) -> None:
    """See the machine's files instead of those of a unit, if this process is in one of a slice.

    A user server sees neither the hub's state nor its fragments; what root does there, with sudo,
    is meant for the machine.
    """
    if f"/{slice_name}/" not in Path("/proc/self/cgroup").read_text():
        return
    directory = Path.cwd()
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open("/proc/1/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "setns", "/proc/1/ns/mnt")
    finally:
        os.close(descriptor)
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")


def unmount_for(users: Set[int], directory: Path) -> int:
    """Take a mounted directory away from users' programs that have mounts of their own.

    What a program has opened stays open until it ends. Needs root.

    Args:
        users: numbers of the users.
        directory: where it is mounted, as these programs see it.

    Returns:
        In how many namespaces it was mounted. It may still be, see `seen_by`.
    """
    number = 0
    for pid in _viewers(users, directory):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _unmount(descriptor, directory)
            finally:
                os.close(descriptor)
            number += 1
    return number


def seen_by(users: Set[int], directory: Path) -> int:
    """Return in how many namespaces of users' programs a directory is mounted."""
    return sum(1 for _ in _viewers(users, directory))


def _viewers(users: Set[int], directory: Path) -> Iterator[int]:
    """Yield a process of each namespace of users in which a directory is mounted."""
    seen = {Path("/proc/self/ns/mnt").stat().st_ino}
    for pid in process_ids():
        if not user_ids(pid) & users:
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            number = Path(f"/proc/{pid}/ns/mnt").stat().st_ino
            if number not in seen and directory in mounts(pid):
                yield pid
            seen.add(number)


def _unmount(namespace: int, directory: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(directory)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # From here on, the user chooses what names of files lead to: nothing is opened or imported.
    if libc.setns(namespace, _CLONE_NEWNS) == 0:
        for _ in range(16):  # one above the other
            if libc.umount2(path, _MNT_DETACH | _UMOUNT_NOFOLLOW):
                break
    os._exit(0)
