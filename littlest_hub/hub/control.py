"""The control channel between a hub and its supervisor: datagrams over a socket pair.

A hub finds the number of its descriptor in LITTLEST_HUB_CONTROL. Messages are a word and a text:

    sender      message         meaning
    hub         "prepared"      configuration loaded, and its part for the proxy applied to the
                                proxy; neither the database nor the hub's port touched
    supervisor  "go"            no other hub has the database open
    hub         "ready STATUS"  answers requests; STATUS is for `systemctl status`
    hub         "status STATUS" after "ready": STATUS is another now
    hub         "failed REASON" instead of "prepared", or after it instead of "ready"; the hub then
                                exits
    supervisor  "restore"       the next hub has failed: apply your configuration to the proxy again
    supervisor  "retire"        finish pending servers, then accept no more requests, then exit

A hub and a supervisor may be of different releases: messages may be added, never changed.

This module imports little of the standard library: the supervisor has to start at once and
use little memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from littlest_hub.errors import LittlestHubError

DESCRIPTOR = "LITTLEST_HUB_CONTROL"
"""Environment variable: the hub's descriptor of the channel."""
BESIDE = "LITTLEST_HUB_BESIDE"
"""Environment variable: "1" if another hub is serving meanwhile."""
_MESSAGE_BYTES = 8192
_REASON_LENGTH = 500


class ControlChannel:
    """The hub's end of the channel."""

    def __init__(self, channel: socket.socket, *, is_beside: bool = False) -> None:
        self._channel = channel
        self.is_beside = is_beside
        """Whether another hub is serving, and continues if this one fails to prepare itself."""

    @classmethod
    def from_environ(cls) -> ControlChannel:
        """Return the channel that this process was started with.

        Raises:
            LittlestHubError: no supervisor started this process.
        """
        number = os.environ.pop(DESCRIPTOR, "")
        if not number:
            raise LittlestHubError("this is how the supervisor starts a hub; see `systemctl start`")
        channel = socket.socket(fileno=int(number))
        channel.set_inheritable(False)
        return cls(channel, is_beside=os.environ.pop(BESIDE, "") == "1")

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, word: str, text: str = "") -> None:
        send(self._channel, word, text)

    def receive(self) -> str:
        """Return the word of the supervisor's next message; "" if the supervisor is gone."""
        return receive(self._channel)[0]

    @contextlib.contextmanager
    def reporting_failure(self) -> Iterator[None]:
        """Report any exception within the block to the supervisor."""
        try:
            yield
        except LittlestHubError as error:
            self.send("failed", error.message)
            raise
        except Exception as error:
            self.send("failed", one_line(error))
            raise
        except SystemExit as error:
            self.send("failed", str(error.code))
            raise


def send(channel: socket.socket, word: str, text: str = "") -> None:
    """Send a message; the other end may be gone."""
    line = " ".join(f"{word} {text}".split("\n")).strip()
    with contextlib.suppress(OSError):
        channel.send(line.encode(errors="replace")[:_MESSAGE_BYTES])


def receive(channel: socket.socket) -> tuple[str, str]:
    """Return the word and the text of the next message; two empty strings at the end."""
    try:
        data = channel.recv(_MESSAGE_BYTES)
    except ConnectionError:
        data = b""
    word, _, text = data.decode(errors="replace").partition(" ")
    return word, text


def one_line(error: BaseException) -> str:
    """Return an exception as one line."""
    # The message of the database driver, without the query.
    error = getattr(error, "orig", None) or error
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_REASON_LENGTH]}".removesuffix(": ")
