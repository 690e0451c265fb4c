"""Root's helper for the page: it makes, changes and deletes courses, as the commands do.

systemd starts an instance for each connection, and only the hub can connect. The helper asks the
hub who the visitor is, decides whether they may have what they want, and answers. Then it closes
the connection and begins: the hub is reloaded at the end, and nobody's request waits for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.courses.page import changes
from littlest_hub.stacks.courses.page.changes import DONE, FAILED, Change
from littlest_hub.stacks.courses.page.plans import (
    NOTHING,
    PLANS,
    PlainError,
    Plan,
    RefusalError,
    Reply,
    UnsureError,
    Visitor,
)
from littlest_hub.stacks.courses.page.request import LIMIT_BYTES, Request
from littlest_hub.system.progress import to_stderr
from littlest_hub.units.ports import address_of

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
Work = Callable[[], None]


def main() -> None:
    """Serve the connection that is standard input."""
    layout = installation.of_this_release()
    with socket.socket(fileno=os.dup(0)) as connection:
        if peer_of(connection) != 0:
            raise SystemExit("only the hub, which is root, may ask")
        reply, work = answer(layout, sys.stdin.buffer.read(LIMIT_BYTES + 1))
        with contextlib.suppress(OSError):  # the hub does not wait any more
            connection.sendall(json.dumps(reply).encode())
            # systemd has the connection open as well.
            connection.shutdown(socket.SHUT_RDWR)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    if work:
        work()


def peer_of(connection: socket.socket) -> int:
    """Return the user who has opened a connection (SO_PEERCRED in unix(7))."""
    packed = struct.Struct("iII")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, packed.size)
    return int(packed.unpack(found)[1])


def answer(layout: Layout, message: bytes) -> tuple[Reply, Work | None]:
    """Return the answer to a request, and what is to be done after it was sent."""
    try:
        request = Request.from_bytes(message)
        visitor = whose(layout, request.token)
        plan = PLANS[request.verb](layout, request, visitor)
        return {}, _begun(layout, plan, visitor)
    except (RefusalError, UnsureError) as decision:
        return decision.reply, None
    except ValueError:
        return RefusalError("no such request").reply, None
    except LittlestHubError as error:
        print(error, file=sys.stderr)
        return RefusalError(error.message, status=409).reply, None


def whose(layout: Layout, token: str) -> Visitor:
    """Return the visitor whose token it is, as the hub knows them.

    Raises:
        LittlestHubError: the hub does not answer, or knows no such token.
    """
    address = address_of(layout, layout.hub_socket)
    if not (_TOKEN.fullmatch(token) and address):
        raise LittlestHubError("no such request")
    host, port = address
    found = HubClient(f"{host or '127.0.0.1'}:{port}", token).get_json("api/user")
    if not isinstance(found, dict) or found.get("kind") != "user" or not found.get("name"):
        raise LittlestHubError("the hub does not say who you are")
    return Visitor(str(found["name"]), found.get("admin") is True)


def _begun(layout: Layout, plan: Plan, visitor: Visitor) -> Work:
    """Record that a change has begun, and return the rest of it.

    Raises:
        RefusalError: another one of the visitor goes on.
    """
    claim = changes.claim(layout, visitor.name)
    if claim is None:
        raise RefusalError("Your last change has not ended. Wait for it.", status=409)
    invocation = os.environ.get("INVOCATION_ID", "")

    def tell(text: str, stage: str = changes.RUNNING) -> None:
        to_stderr(f"{visitor.name}: {text}")
        change = Change(visitor.name, plan.course, text, stage, invocation)
        changes.record(layout, change)

    def work() -> None:
        with claim, changes.turn(layout):
            try:
                tell(plan.carry_out(lambda text: tell(f"{plan.begins}: {text}")), DONE)
            except (LittlestHubError, OSError, subprocess.SubprocessError) as error:
                to_stderr(f"{plan.begins} has failed: {error}")
                tell(_failure(layout, error, visitor, plan.fails), FAILED)

    tell(f"{plan.begins} ...")
    return work


def _failure(layout: Layout, error: Exception, visitor: Visitor, fails: str) -> str:
    """Return why a change has failed; the reason may be in fragments, which are administrators'."""
    if isinstance(error, PlainError):
        return error.message
    if not visitor.is_admin:
        return f"{NOTHING}. Try again; if that does not help, ask an administrator."
    if not isinstance(error, LittlestHubError):
        return f"{fails}: {error}. See: {layout.command} doctor"
    return ". ".join(filter(None, (f"{fails}: {error.message}", error.hint)))


if __name__ == "__main__":
    main()
