"""The hub's side of root's helper for jobs: its requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from littlest_hub.hub.helper_client import request
from littlest_hub.layout import Layout
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.helper import Verb
from littlest_hub.stacks.slurm.options import Request
from littlest_hub.stacks.slurm.units import HELPER_TIMEOUT_S, address_of
from littlest_hub.units.helpers import MAX_CONNECTIONS

_TURNS = asyncio.Semaphore(MAX_CONNECTIONS // 2)


async def submit(
    layout: Layout, user: str, server: str, wanted: Request, script: str, options: Sequence[str]
) -> str:
    """Submit a job of a user, and return its number.

    Args:
        layout: the installation.
        user: the name of the account.
        server: its name; "": the one without a name.
        wanted: its request.
        script: its program.
        options: more options of sbatch.

    Raises:
        SlurmError: there is no job.
    """
    text = json.dumps(vars(wanted))
    return await _ask(layout, Verb.SUBMIT, user, server, text, script, *options)


async def cancel(layout: Layout, user: str, number: str) -> None:
    """Cancel a job of a user.

    Raises:
        SlurmError: it may go on.
    """
    await _ask(layout, Verb.CANCEL, user, number)


async def prolong(layout: Layout, user: str, number: str, minutes: int) -> None:
    """Give a job of a user another time limit.

    Raises:
        SlurmError: it has the old one.
    """
    await _ask(layout, Verb.PROLONG, user, number, str(minutes))


async def _ask(layout: Layout, *words: str) -> str:
    address = str(address_of(layout))
    try:
        async with _TURNS:
            reply = await request(address, [each.encode() for each in words], HELPER_TIMEOUT_S)
        if "refusal" not in reply:
            return str(reply["printed"])
        refusal, is_silent = str(reply["refusal"]), bool(reply["is_silent"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        refusal = f"{address}: {str(error) or type(error).__name__}; see the journal"
        is_silent = True
    raise SlurmError(refusal, is_silent=is_silent)
