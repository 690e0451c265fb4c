"""Root's helper for jobs: submits and cancels them as their users, and prolongs them.

systemd starts an instance for each connection, as for `littlest_hub.helpers.pam`; only the hub can
connect. A request is a verb and words, with a NUL between each; the reply is a JSON object.

The hub names a user whom it may have servers for. The helper makes the command from checked values,
and Slurm sees that user. Only root can prolong a job: so it has to be one of this user's servers, a
fragment has to allow it, and the limit of its partition holds.
"""

from __future__ import annotations

import asyncio
import json
import pwd
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.helpers.declarations import is_declared
from littlest_hub.helpers.hooks import no_user
from littlest_hub.layout import Layout
from littlest_hub.stacks.slurm import commands
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import (
    SINFO_FORMAT,
    SQUEUE_FORMAT,
    Phase,
    most_minutes,
    parse_number,
    parse_sinfo,
    parse_squeue,
)
from littlest_hub.stacks.slurm.options import Request, is_option
from littlest_hub.stacks.slurm.submission import as_user, job_name, sbatch

LIMIT_BYTES = 1 << 20
"""Longest request: a script with the variables of a server."""
DECLARATION = "prolong_hours"
"""The setting without which no job is prolonged."""
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_UNKNOWN = "no such request"


class Verb(StrEnum):
    """Kinds of requests."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    PROLONG = "prolong"


def main() -> None:
    """Answer the request on standard input."""
    request = sys.stdin.buffer.read(LIMIT_BYTES + 1)
    serve(installation.of_this_release(), request, sys.stdout)


def serve(layout: Layout, request: bytes, hub: TextIO) -> None:
    """Answer a request of the hub; a job of which it cannot be told is canceled."""
    reply = answer(layout, request)
    try:
        print(json.dumps(reply), end="", file=hub, flush=True)
    except BrokenPipeError:
        # It was killed meanwhile: no hub would ever know of the job.
        verb, user, *_ = request.decode().split("\0")
        if verb == Verb.SUBMIT and "printed" in reply:
            answer(layout, f"{Verb.CANCEL}\0{user}\0{reply['printed']}".encode())


def answer(layout: Layout, request: bytes) -> dict[str, object]:
    """Return the reply: "printed", or a "refusal", and whether "is_silent" is its reason."""
    try:
        verb, *words = request.decode(errors="replace").split("\0")
        if len(request) > LIMIT_BYTES:
            raise LittlestHubError(_UNKNOWN)
        return {"printed": asyncio.run(_done(layout, verb, words))}
    except SlurmError as error:
        refusal, is_silent = str(error), error.is_silent
    except LittlestHubError as error:
        refusal, is_silent = error.message, False
    except ValueError as error:
        # Slurm's output cannot be understood.
        refusal, is_silent = str(error), True
    print(refusal, file=sys.stderr)
    return {"refusal": refusal, "is_silent": is_silent}


async def cancel(layout: Layout, user: str, numbers: Sequence[str]) -> None:
    """Cancel jobs of a user, by number; Slurm refuses those of others.

    Raises:
        LittlestHubError: the hub has no such user, or no job has such a number.
        SlurmError: Slurm has not canceled them.
    """
    account = _account(layout, user)
    for number in numbers:
        _check(number)
    await commands.run(as_user(account.pw_name, "scancel", "--quiet", *numbers))


async def _done(layout: Layout, verb: str, words: Sequence[str]) -> str:
    """Do what was asked for, and return the number of the job.

    Raises:
        LittlestHubError: it is refused.
        SlurmError: Slurm refuses it.
        ValueError: Slurm prints something else.
    """
    match verb, words:
        case Verb.SUBMIT, [user, server, wanted, script, *options]:
            return await _submit(layout, user, server, wanted, script, options)
        case Verb.CANCEL, [user, number]:
            await cancel(layout, user, [number])
            return number
        case Verb.PROLONG, [user, number, minutes]:
            await _prolong(layout, user, _check(number), int(_check(minutes)))
            return number
    raise LittlestHubError(_UNKNOWN)


async def _submit(
    layout: Layout, user: str, server: str, wanted: str, script: str, options: Sequence[str]
) -> str:
    account = _account(layout, user)
    if wrong := [each for each in options if not is_option(each)]:
        raise LittlestHubError(f"expected options such as --qos=interactive, found {wrong[0]!r}")
    try:
        arguments = Request(**json.loads(wanted)).arguments()
    except (TypeError, ValueError, RecursionError) as error:
        raise LittlestHubError(f"{_UNKNOWN}: {error}") from error
    home = Path(account.pw_dir)
    command = sbatch(account.pw_name, home, server, [*arguments, *options])
    number = parse_number(await commands.run(command, script))
    print(f"job {number} of {account.pw_name} is submitted", file=sys.stderr)
    return number


async def _prolong(layout: Layout, user: str, number: str, minutes: int) -> None:
    account = _account(layout, user)
    fragments = layout.on_disk(layout.fragments)
    if not is_declared(DECLARATION, fragments):
        raise LittlestHubError(f"no fragment in {fragments} has {DECLARATION}")
    whose = [f"--user={account.pw_name}", f"--name={job_name(account.pw_name)}"]
    query = ["squeue", "--noheader", f"--jobs={number}", *whose, f"--format={SQUEUE_FORMAT}"]
    job = parse_squeue(await commands.run(query)).get(number)
    if job is None or job.phase is not Phase.RUNNING:
        raise LittlestHubError(f"job {number} is no server of {account.pw_name} that runs")
    printed = await commands.run(["sinfo", "--noheader", f"--format={SINFO_FORMAT}"])
    if minutes > most_minutes(parse_sinfo(printed), job.partition):
        raise LittlestHubError(f"{minutes} minutes are more than {job.partition} allows")
    await commands.run(["scontrol", "update", f"JobId={number}", f"TimeLimit={minutes}"])
    print(f"job {number} of {account.pw_name} may take {minutes} minutes", file=sys.stderr)


def _account(layout: Layout, user: str) -> pwd.struct_passwd:
    """Return the account of a user whom the hub may have servers for.

    Raises:
        LittlestHubError: there is none.
    """
    if refusal := no_user(user, layout.users_group if layout.hub_user else None):
        raise LittlestHubError(f"{user!r} {refusal}")
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise LittlestHubError(f"{user!r} has no account") from None


def _check(number: str) -> str:
    if not _NUMBER.fullmatch(number):
        raise LittlestHubError(f"{_UNKNOWN}: expected a number, found {number[:20]!r}")
    return number


if __name__ == "__main__":
    main()
