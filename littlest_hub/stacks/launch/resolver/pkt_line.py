"""The lines of git's protocol (gitprotocol-common): four hexadecimal digits of length, bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from littlest_hub.errors import LittlestHubError

_DIGITS = 4
_DATA, _PROGRESS, _ERROR = 1, 2, 3
"""Bands of `demultiplexed`."""
CUT_OFF = "the server has ended in the middle"


class Mark(Enum):
    """A packet that separates lines."""

    FLUSH = b"0000"
    DELIMITER = b"0001"
    END = b"0002"


Packet = bytes | Mark


class ProtocolError(LittlestHubError):
    """A server that does not speak git's protocol, or stops in the middle of it."""

    def __init__(self, message: str = "the server does not speak git's protocol") -> None:
        super().__init__(message)


def line(text: str) -> bytes:
    """Return a line to send."""
    data = f"{text}\n".encode()
    return f"{len(data) + _DIGITS:04x}".encode() + data


def packets(parts: Iterable[bytes]) -> Iterator[Packet]:
    """Yield lines, without the end of each, and marks.

    Raises:
        ProtocolError: these are none, or the last one is cut off.
    """
    stream = _Stream(parts)
    while head := stream.take(_DIGITS, may_end=True):
        if not head.isalnum():  # int() takes "+", "_" and spaces
            raise ProtocolError
        try:
            size = int(head, 16)
            mark = Mark(head) if size < _DIGITS else None
        except ValueError:
            raise ProtocolError from None
        yield mark or stream.take(size - _DIGITS)


def text_of(packet: Packet) -> str:
    """Return the text of a line; "" for a mark.

    Raises:
        ProtocolError: it is the message of a failure.
    """
    if isinstance(packet, Mark):
        return ""
    text = packet.removesuffix(b"\n").decode(errors="replace")
    if text.startswith("ERR "):
        raise ProtocolError(f"the server says {text[4:204]!r}")
    return text


def demultiplexed(lines: Iterable[Packet]) -> Iterator[bytes]:
    """Yield the data of a sideband, up to its end.

    Raises:
        ProtocolError: the server reports a failure, or ends too early.
    """
    for packet in lines:
        if packet is Mark.FLUSH:
            return
        if isinstance(packet, Mark) or not packet or packet[0] not in (_DATA, _PROGRESS, _ERROR):
            raise ProtocolError
        if packet[0] == _ERROR:
            raise ProtocolError(f"the server says {packet[1:201].decode(errors='replace')!r}")
        if packet[0] == _DATA:
            yield packet[1:]
    raise ProtocolError(CUT_OFF)


class _Stream:
    """Parts of bytes, taken in other sizes."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._rest = b""
        self._at = 0

    def take(self, size: int, *, may_end: bool = False) -> bytes:
        """Return so many bytes; none at the end, if this may be it."""
        while len(self._rest) - self._at < size:
            part = next(self._parts, b"")
            if not part:
                if may_end and self._at == len(self._rest):
                    return b""
                raise ProtocolError(CUT_OFF)
            self._rest, self._at = self._rest[self._at :] + part, 0
        self._at += size
        return self._rest[self._at - size : self._at]
