"""The interface between a service and systemd: inherited sockets, readiness, status, journal.

This module uses no third-party libraries: a supervisor has to start fast and stay small.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

# systemd ignores messages of more than NOTIFY_BUFFER_MAX, 4096 bytes (its notify-recv.h).
_STATE_LENGTH = 900
FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START, sd_listen_fds(3)."""


class Inherited(NamedTuple):
    """A listening socket that systemd holds and has passed to this process."""

    name: str
    """FileDescriptorName= of its unit."""
    fd: int

    def duplicate(self) -> socket.socket:
        """Return a socket that may be closed: the original stays open for the next process."""
        return socket.socket(fileno=os.dup(self.fd))


def inherited_sockets(environ: Mapping[str, str] = os.environ) -> list[Inherited]:
    """Return the listening sockets that were passed to this process (sd_listen_fds(3)).

    As with that function, children do not inherit them from now on, except through `spawn`.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    number = int(environ.get("LISTEN_FDS", "0"))
    names += ["unknown"] * (number - len(names))
    inherited = [Inherited(names[index], FIRST_INHERITED + index) for index in range(number)]
    for each in inherited:
        os.set_inheritable(each.fd, False)
    return inherited


def spawn(
    command: Sequence[str],
    sockets: Sequence[Inherited] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    keep: Sequence[int] = (),
    output: int | None = None,
) -> int:
    """Start a child that inherits sockets as if systemd had started it; return its process id.

    Args:
        command: absolute path and arguments.
        sockets: its sockets, in this order.
        environ: its environment, to which the variables of sd_listen_fds(3) are added.
        keep: further descriptors that it inherits under their own numbers, which must not be below
            FIRST_INHERITED + len(sockets).
        output: descriptor that becomes its standard output and error; None: ours.
    """
    pid = os.fork()
    if pid == 0:
        _become(command, sockets, environ, keep, output)
    return pid


def _become(
    command: Sequence[str],
    sockets: Sequence[Inherited],
    environ: Mapping[str, str],
    keep: Sequence[int],
    output: int | None,
) -> NoReturn:
    try:
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        # Move them out of the way first: a target number may be another socket's number.
        high = [os.dup(each.fd) for each in sockets]
        first_free = FIRST_INHERITED + len(sockets)
        while any(fd < first_free for fd in high):
            high = [fd if fd >= first_free else os.dup(fd) for fd in high]
        for number, fd in enumerate(high, FIRST_INHERITED):
            os.dup2(fd, number, inheritable=True)
        for fd in keep:
            os.set_inheritable(fd, True)
        listen = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(sockets)),
            "LISTEN_FDNAMES": ":".join(each.name for each in sockets),
        }
        os.execve(command[0], list(command), {**environ, **listen})
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def notify(*state: str, descriptors: Sequence[int] = ()) -> None:
    """Notify systemd, if it listens (sd_notify(3)).

    Args:
        state: assignments such as "READY=1"; line breaks become spaces, and text that is too long
            for systemd is cut.
        descriptors: files that the notification is about.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    lines = (" ".join(line.split("\n"))[:_STATE_LENGTH] for line in state)
    text = "\n".join(lines).encode(errors="replace")
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    # A notification that is lost must not end the service.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
        channel.connect(address)
        socket.send_fds(channel, [text], descriptors)


def store(descriptor: int, name: str) -> None:
    """Let systemd keep a file descriptor for the next process of this service.

    Args:
        descriptor: a copy of it is kept until `forget`, or until the service is stopped.
        name: under which `inherited_sockets` will return it.
    """
    # Without FDPOLL=0, systemd drops sockets that have an error or were shut down.
    notify("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", descriptors=[descriptor])


def forget(name: str) -> None:
    """Let systemd close a file descriptor that it keeps."""
    notify("FDSTOREREMOVE=1", f"FDNAME={name}")


def log_to_journal(message: str, unit: str, priority: int) -> None:
    """Write a message to the journal; `journalctl -u UNIT` shows it. Do nothing without a journal.

    Args:
        message: any text.
        unit: the unit that the message is about.
        priority: as in syslog(3).
    """
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(priority),
        "SYSLOG_IDENTIFIER": "littlest-hub",
        "OBJECT_SYSTEMD_UNIT": unit,
    }
    # https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: the form that takes line breaks.
    entry = b""
    for name, value in fields.items():
        data = value.encode()
        entry += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        contextlib.suppress(OSError),
    ):
        channel.sendto(entry, "/run/systemd/journal/socket")
