"""Root's helper for the page: it makes courses and changes rosters, as the commands do.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.courses import administration, records
from littlest_hub.stacks.courses.course import (
    DELETING,
    MAKING,
    Course,
    Student,
    checked_login,
    checked_name,
    named,
    number_of,
    plain_text,
)
from littlest_hub.stacks.courses.page import changes
from littlest_hub.stacks.courses.page.changes import DONE, FAILED, Change
from littlest_hub.stacks.courses.page.request import LIMIT_BYTES, Request, Verb
from littlest_hub.stacks.courses.roster.columns import students_of
from littlest_hub.system.progress import Progress, to_stderr
from littlest_hub.units.ports import address_of

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
_MOST_INSTRUCTORS = 100
Reply = dict[str, Any]
Work = Callable[[], None]


@dataclass(frozen=True)
class Visitor:
    """The person whom the hub has logged in."""

    name: str
    is_admin: bool


@dataclass(frozen=True)
class Plan:
    """A change that the visitor may have, and that nothing speaks against so far."""

    course: str
    begins: str
    """The work, as people read it."""
    carry_out: Callable[[Progress], str]
    """Does it; returns what people read at the end."""


class RefusalError(Exception):
    """The refusal of a request.

    Args:
        text: for the visitor.
        field: the field of the form that is wrong.
        status: of HTTP.
    """

    def __init__(self, text: str, field: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.reply: Reply = {"refusal": text, "field": field, "status": status}


class UnsureError(Exception):
    """Students would lose the course, and the visitor has not agreed.

    Args:
        new: logins of those who come.
        gone: logins of those who would go.
    """

    def __init__(self, new: list[str], gone: list[str]) -> None:
        super().__init__()
        self.reply: Reply = {"new": new, "gone": gone}


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
        plan = _PLANS[request.verb](layout, request, visitor)
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


def _making(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that makes a course.

    Raises:
        RefusalError: the visitor may not, or a field is wrong.
        LittlestHubError: there can be no courses now.
    """
    if not visitor.is_admin:
        raise RefusalError("Only administrators make courses.", status=403)
    with _field("course"):
        name = checked_name(request.course.strip())
        # A killed command may have left one that is not whole; making it removes that first.
        if (left := records.read(layout).get(name)) is None or left.stage not in (MAKING, DELETING):
            administration.refuse_taken(layout, name)
    with _field("instructors"):
        words = [each for each in re.split(r"[\s,;]+", request.instructors) if each]
        if not 0 < len(words) <= _MOST_INSTRUCTORS:
            raise LittlestHubError(f"expected 1 to {_MOST_INSTRUCTORS} logins, as in alice, bob")
        teaching = tuple(dict.fromkeys(map(checked_login, words)))
    students = _students(request) if request.roster.strip() else []
    administration.require_nbgrader(layout)
    wanted = Course(name, 0, plain_text(request.title), instructors=teaching)

    def carry_out(progress: Progress) -> str:
        course = administration.create(layout, wanted.with_roster(students), progress)
        return f"{name} is ready, with {number_of(course.students, 'student')}."

    return Plan(name, f"Making {name}", carry_out)


def _changing_roster(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that replaces a roster.

    Raises:
        RefusalError: the visitor may not, or the roster is wrong.
        UnsureError: the visitor has to agree that students lose the course.
        LittlestHubError: the list of courses is damaged.
    """
    course = records.read(layout).get(request.course)
    if course is None or not (visitor.is_admin or visitor.name in course.instructors):
        # The same for both: others' courses are nobody's business.
        raise RefusalError("You teach no course of this name.", status=403)
    if not course.is_open:
        raise RefusalError(f"{course.name} is {course.stage}.", status=409)
    if not request.roster.strip():
        raise RefusalError("Choose a file, or paste the roster.", "roster")
    students = _students(request)
    wanted = {each.login for each in students}
    new, gone = sorted(wanted - course.students.keys()), sorted(course.students.keys() - wanted)
    if gone and not request.may_drop:
        raise UnsureError(new, gone)

    def carry_out(progress: Progress) -> str:
        administration.set_roster(layout, course.name, students, progress)
        present = number_of(wanted, "student")
        return f"{course.name} has {present}. New: {named(new)}. Dropped out: {named(gone)}."

    return Plan(course.name, f"Changing the roster of {course.name}", carry_out)


_PLANS = {Verb.CREATE: _making, Verb.ROSTER: _changing_roster}


def _students(request: Request) -> list[Student]:
    with _field("roster"):
        return students_of(
            request.roster, request.login_column, strips_domain=request.strips_domain
        )


@contextlib.contextmanager
def _field(name: str) -> Iterator[None]:
    """Blame a field of the form for what is wrong; hints are about the command line."""
    try:
        yield
    except LittlestHubError as error:
        raise RefusalError(error.message, name) from error


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
                tell(_failure(layout, error, visitor), FAILED)

    tell(f"{plan.begins} ...")
    return work


def _failure(layout: Layout, error: Exception, visitor: Visitor) -> str:
    """Return why a change has failed; the reason may be in fragments, which are administrators'."""
    if not visitor.is_admin:
        return "Nothing was changed. Try again; if that does not help, ask an administrator."
    if not isinstance(error, LittlestHubError):
        return f"Nothing was changed: {error}. See: {layout.command} doctor"
    return ". ".join(filter(None, (f"Nothing was changed: {error.message}", error.hint)))


if __name__ == "__main__":
    main()
