"""The addresses of a host, asked for once.

The name server may be anywhere, also on this machine. So that the resolver needs no way to it, a
program of another unit (`main`) asks it: a request is the name of a host, and nothing else.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import addresses

LIMIT_BYTES = 253
"""Longest name of a host; RFC 1035, 2.3.4."""
_LIMIT_ANSWER_BYTES = 1 << 16
_TIMEOUT_S = addresses.LOOKUP_TIMEOUT_S + 2
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def main() -> None:
    """Answer the request on standard input: the addresses of a host, and those of this machine."""
    request = sys.stdin.buffer.read(LIMIT_BYTES + 1)
    print(json.dumps(answer(request)), end="", flush=True)


def answer(request: bytes) -> dict[str, object]:
    """Return the reply: "addresses" and "own", or "refusal"."""
    host = request.decode("ascii", errors="replace")
    if len(request) > LIMIT_BYTES or not _HOST.fullmatch(host):
        return {"refusal": "expected the name of a host"}
    found = addresses.resolve([host])[host]
    if isinstance(found, str):
        return {"refusal": found}
    return {"addresses": sorted(found), "own": sorted(addresses.local_addresses())}


def ask(host: str, place: Path | None) -> tuple[list[str], list[str]]:
    """Return the addresses of a host, and those of this machine.

    Args:
        host: its name.
        place: socket of the program that asks the name server; None: this process does.

    Raises:
        LittlestHubError: the host is unknown, or there is no answer.
    """
    reply = answer(host.encode()) if place is None else _reply(host, place)
    if "refusal" in reply:
        raise LittlestHubError(f"{host[:80]!r} cannot be found: {str(reply['refusal'])[:200]}")
    found, own = reply.get("addresses"), reply.get("own")
    if not isinstance(found, list) or not isinstance(own, list):
        raise LittlestHubError("the program that looks up names answers something else")
    return [*map(str, found)], [*map(str, own)]


def _reply(host: str, place: Path) -> dict[str, object]:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(place))
            connection.sendall(host.encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                reply = json.loads(stream.read(_LIMIT_ANSWER_BYTES))
    except (OSError, ValueError) as error:
        raise LittlestHubError(f"names of hosts cannot be looked up: {error}") from None
    return reply if isinstance(reply, dict) else {}


if __name__ == "__main__":
    main()
