"""Root's helper for volumes of groups: it makes and deletes them, for one request of the hub.

systemd starts an instance for each connection, and only the hub can connect. A request is a verb
and words, separated by NUL; the reply is a JSON object. The hub knows who its people are and in
which groups they are; root's fragment decides whether there are such volumes, and how many. No path
is in a request: each one is made of names that are judged again.

Files are removed after the answer, since that may take long.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import fragment
from littlest_hub.stacks.launch.group_volumes import store
from littlest_hub.stacks.launch.group_volumes.store import FILES, MOST, RECORD, GroupVolume
from littlest_hub.system import acl
from littlest_hub.system.files import write
from littlest_hub.system.ownership import loose_step

LIMIT_BYTES = 1 << 12
HALF, REMOVED = ".new-", ".removed-"
"""The beginnings of names of directories that are no volumes, yet or any more."""
_CLOSED, _OPEN = 0o700, 0o777
_FULL = 0o7


class Verb(StrEnum):
    """Kinds of requests."""

    MAKE = "make"
    DELETE = "delete"


def main() -> None:
    """Answer the request on standard input, and then remove files that nobody has any more."""
    layout = installation.of_this_release()
    with socket.socket(fileno=os.dup(0)) as connection:
        reply = answer(layout, sys.stdin.buffer.read(LIMIT_BYTES + 1))
        with contextlib.suppress(OSError):  # the hub does not wait any more
            connection.sendall(json.dumps(reply).encode())
            # systemd has the connection open as well.
            connection.shutdown(socket.SHUT_RDWR)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    sweep(layout)


def answer(layout: Layout, request: bytes) -> dict[str, object]:
    """Carry out a request, and return the reply: {}, or a "refusal"."""
    try:
        if len(request) > LIMIT_BYTES:
            raise LittlestHubError("no such request")
        verb, *words = request.decode().split("\0")
        _carry_out(layout, verb, words)
    except UnicodeDecodeError:
        return {"refusal": "no such request"}
    except LittlestHubError as error:
        print(error.message, error.hint or "", file=sys.stderr)
        return {"refusal": error.message}
    except OSError as error:
        print(error, file=sys.stderr)
        return {"refusal": f"the volume cannot be written: {error.strerror}"}
    return {}


def _carry_out(layout: Layout, verb: str, words: Sequence[str]) -> None:
    match verb, words:
        case Verb.MAKE, [group, own, owner, person, ("all" | "owner") as writers, most]:
            if not (most.isascii() and most.isdigit()):
                raise LittlestHubError("no such request")
            name = store.name_of(group, own)
            try:
                wanted = GroupVolume(name, group, owner, person, writers == "all", int(time.time()))
            except ValueError as error:
                raise LittlestHubError("no such request") from error
            make(layout, wanted, int(most))
            print(f"{owner} has made {name}", file=sys.stderr)
        case Verb.DELETE, [name, who]:
            delete(layout, name)
            print(f"{who} has deleted {name}", file=sys.stderr)
        case _:
            raise LittlestHubError("no such request")


def make(layout: Layout, volume: GroupVolume, most: int) -> None:
    """Make an empty volume.

    Args:
        layout: the installation.
        volume: it.
        most: how many volumes its owner may have.

    Raises:
        LittlestHubError: there cannot be such a volume.
        OSError: it cannot be written.
    """
    makers = fragment.read(layout).group_volumes
    most = min(most, max(makers.values(), default=0))
    place = _made_place(layout)
    with _turn(place):
        found = store.all_of(layout)
        if os.path.lexists(place / volume.name):
            raise LittlestHubError(f"there is a volume {volume.name} already")
        if sum(each.person == volume.person for each in found.values()) >= most:
            raise LittlestHubError(f"you have {most} volumes; expected fewer, to make another one")
        if len(found) >= MOST:
            raise LittlestHubError(f"this hub has {MOST} volumes of groups, and makes no more")
        half = place / f"{HALF}{volume.name}"
        if os.path.lexists(half):  # of a helper that was killed
            half.replace(_removed(place))
        half.mkdir(mode=_CLOSED)
        files = half / FILES
        files.mkdir(mode=_CLOSED)
        with _opened(files) as directory:
            _open_to_all(directory)
        write(half / RECORD, store.text_of(volume))
        half.rename(place / volume.name)


def delete(layout: Layout, name: str) -> None:
    """Take a volume from everybody, also from servers that run.

    Raises:
        LittlestHubError: there is no such volume.
        OSError: it cannot be changed.
    """
    place = layout.on_disk(store.place_of(layout))
    if not store.is_name(name) or not place.is_dir():
        raise LittlestHubError("there is no such volume")
    with _turn(place):
        removed = _removed(place)
        try:
            # First: a helper that is killed here has deleted it, and leaves the rest to the next.
            (place / name).rename(removed)
        except FileNotFoundError:
            raise LittlestHubError("there is no such volume") from None
        with contextlib.suppress(FileNotFoundError), _opened(removed / FILES) as directory:
            # Servers that run have it mounted; from here on, they find nothing in it.
            os.fchmod(directory, _CLOSED)


def sweep(layout: Layout) -> None:
    """Remove the files of volumes that were deleted, also those that a killed helper has left."""
    place = layout.on_disk(store.place_of(layout))
    for each in place.glob(f"{REMOVED}*"):
        # It copes with trees of any depth, follows no link, and enters no other file system.
        command = ["rm", "-rf", "--one-file-system", "--", str(each)]
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if each.exists():
            print(f"{each} could not be removed; the next request tries again", file=sys.stderr)


def _made_place(layout: Layout) -> Path:
    """Return the directory of all volumes, which is made if it is missing.

    Raises:
        LittlestHubError: others could put a link in its place.
    """
    path = store.place_of(layout)
    place = layout.on_disk(path)
    if os.geteuid() == 0 and (loose := loose_step(path, layout.root)):
        raise LittlestHubError(f"there can be no volumes: {loose.reason}", loose.repair)
    place.mkdir(mode=_CLOSED, parents=True, exist_ok=True)
    with _opened(place) as directory:
        os.fchmod(directory, _CLOSED)
    return place


def _open_to_all(directory: int) -> None:
    """Let everybody who sees a directory do everything in it.

    Raises:
        LittlestHubError: its file system cannot say so.
    """
    try:
        acl.set_default(directory, _FULL, _FULL, _FULL)
    except OSError as error:
        if not acl.is_unsupported(error):
            raise
        text = "the file system of /srv has no access control lists"
        raise LittlestHubError(text, "Mount it with the option acl") from error
    os.fchmod(directory, _OPEN)  # independent of the umask


def _removed(place: Path) -> Path:
    return place / f"{REMOVED}{secrets.token_hex(8)}"


@contextlib.contextmanager
def _turn(place: Path) -> Iterator[None]:
    """Keep other helpers from changing volumes."""
    with _opened(place) as directory:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a directory, and refuse a link.

    Raises:
        OSError: it is none.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        directory = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "a link"
        raise
    try:
        yield directory
    finally:
        os.close(directory)


if __name__ == "__main__":
    main()
