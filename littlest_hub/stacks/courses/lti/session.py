"""A learning platform as root asks it: through a program that has the network, and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.course import plain_text
from littlest_hub.stacks.courses.lti import people
from littlest_hub.stacks.courses.lti.connection import Address, Connection
from littlest_hub.stacks.courses.lti.people import Member
from littlest_hub.stacks.courses.lti.program import REQUEST_BYTES
from littlest_hub.stacks.courses.units import PLATFORM_S, platform_program

PROGRAM = "littlest_hub.stacks.courses.lti.program"
MEMBERS = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
COLUMNS = "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem"
SCORES = "https://purl.imsglobal.org/spec/lti-ags/scope/score"
_ANSWER_BYTES = 128 << 20
_UNAUTHORIZED = 401
_UNKNOWN = (400, 401, 403)
_COMPARE = (
    "Compare the client ID, the addresses, and the key with what the platform has: `course lti"
    " show`, `course lti key`"
)


class PlatformRefusalError(LittlestHubError):
    """The platform's refusal of a request.

    Args:
        message: what it says.
        status: of HTTP; 0: it does not answer.
        hint: what may help.
    """

    def __init__(self, message: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class Platform:
    """A platform, and the program that asks it.

    Args:
        connection: its addresses.
        scopes: what is needed of it.
        sign: returns a statement that says who asks.
        program: standard input and output of the program.
    """

    def __init__(
        self,
        connection: Connection,
        scopes: Sequence[str],
        sign: Callable[[], str],
        program: tuple[IO[bytes], IO[bytes]],
    ) -> None:
        self._connection, self._scopes, self._sign = connection, scopes, sign
        self._requests, self._answers = program
        self._has_token = False

    def members(self) -> list[Member]:
        """Return the members of the platform's course.

        Raises:
            LittlestHubError: the platform does not name them.
        """
        found = self._ask("members", url=self._connection.members_url)
        try:
            if not isinstance(found, list) or len(found) > people.MOST:
                raise ValueError("no list")
            return [Member.from_json(each) for each in found]
        except ValueError as error:
            raise LittlestHubError(f"the platform names no members: {error}") from error

    def column(self, resource: str, label: str, maximum: float, known: str = "") -> str:
        """Return the address of a column of the platform's gradebook, which is made if need be.

        Args:
            resource: our name for it, which the platform keeps.
            label: as people see it.
            maximum: the best score.
            known: its address so far.

        Raises:
            LittlestHubError: the platform refuses.
        """
        address = Address.parse(self._connection.grades_url, "the grades URL")
        found = self._ask(
            "column",
            url=str(address),
            resource=resource,
            label=label,
            maximum=_number(maximum),
            known=known,
        )
        return str(address.follow(str(found), "the column"))

    def send(self, column: str, score: Mapping[str, object]) -> None:
        """Send a grade.

        Raises:
            PlatformRefusalError: the platform refuses it.
        """
        self._ask("score", column=column, score=dict(score))

    def _ask(self, work: str, **fields: object) -> Any:
        if not self._has_token:
            self._get_token()
        try:
            return self._exchange(work, **fields)
        except PlatformRefusalError as error:
            # Tokens are good for an hour at most, and some platforms take them back.
            if error.status != _UNAUTHORIZED:
                raise
        self._get_token()
        return self._exchange(work, **fields)

    def _get_token(self) -> None:
        try:
            self._exchange(
                "token",
                url=self._connection.token_url,
                scopes=[*self._scopes],
                statement=self._sign(),
            )
        except PlatformRefusalError as error:
            if error.status not in _UNKNOWN:
                raise
            raise PlatformRefusalError(error.message, error.status, _COMPARE) from error
        self._has_token = True

    def _exchange(self, work: str, **fields: object) -> Any:
        line = json.dumps({"work": work, **fields}).encode() + b"\n"
        if len(line) > REQUEST_BYTES:
            raise LittlestHubError(f"a request of {len(line)} bytes is too long")
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(line)
            self._requests.flush()
        reply = self._answers.readline(_ANSWER_BYTES)
        try:
            found = json.loads(reply)
            if "answer" in found:
                return found["answer"]
            problem, status = plain_text(str(found["problem"])), int(found["status"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LittlestHubError(
                "the program that asks the platform has ended",
                "Try again: what was done stays. A platform that is busy may have taken too long",
            ) from error
        raise PlatformRefusalError(problem, status)


def _number(value: float) -> float | int:
    """Return a number as short as JSON can have it, since some platforms show it as it comes."""
    return int(value) if math.isfinite(value) and value == int(value) else value


@contextlib.contextmanager
def asking(
    connection: Connection, scopes: Sequence[str], sign: Callable[[], str], command: Sequence[str]
) -> Iterator[Platform]:
    """Run the program that asks a platform for the time of the block.

    Args:
        connection: the platform's addresses.
        scopes: what is needed of it.
        sign: returns a statement that says who asks.
        command: starts the program.

    Raises:
        LittlestHubError: it cannot be started, or ends too early.
    """
    with tempfile.TemporaryFile() as said:
        program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        assert program.stdin
        assert program.stdout
        try:
            yield Platform(connection, scopes, sign, (program.stdin, program.stdout))
        except PlatformRefusalError:
            raise
        except LittlestHubError as error:
            _end(program)
            said.seek(0)
            lines = said.read(1 << 16).decode(errors="replace").split("\n")
            last = next((plain_text(each) for each in reversed(lines) if each.strip()), "")
            if last:
                raise LittlestHubError(f"{error.message}: {last}", error.hint) from error
            raise
        finally:
            _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    """End the program, which has nothing to do without its standard input."""
    for stream in (program.stdin, program.stdout):
        assert stream
        with contextlib.suppress(BrokenPipeError):
            stream.close()
    program.wait()


def command_of(layout: Layout, name: str, timeout_s: int = PLATFORM_S) -> list[str]:
    """Return the command that starts the program in a unit of its own.

    Args:
        layout: the installation.
        name: of the course.
        timeout_s: time limit of the unit.
    """
    if not layout.is_live:  # there is no systemd
        return [sys.executable, "-m", PROGRAM]
    unit = place.platform_unit(layout, name, secrets.token_hex(4))
    argv = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect", f"--unit={unit}"]
    argv += [f"--property={each.key}={each.value}" for each in platform_program(layout, timeout_s)]
    return [*argv, "--", f"{layout.hub}/bin/python3", "-I", "-m", PROGRAM]
