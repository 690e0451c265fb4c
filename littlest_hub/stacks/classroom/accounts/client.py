"""Requests of the hub to root's helper for accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tornado.web import HTTPError

from littlest_hub.hub.helper_client import request
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.helper import Verb
from littlest_hub.stacks.classroom.accounts.units import address_of
from littlest_hub.units.helpers import HOOK_TIMEOUT_S, MAX_CONNECTIONS

_TURNS = asyncio.Semaphore(MAX_CONNECTIONS // 2)
_TIMEOUT_S = HOOK_TIMEOUT_S + 80


class NoAccountError(HTTPError):  # type: ignore[misc]
    """The refusal of a request, with the reason; JupyterHub logs and shows it."""

    def __init__(self, reason: str) -> None:
        super().__init__(500, reason)
        self.jupyterhub_message = reason


async def account_of(layout: Layout, login: str, person: str) -> str:
    """Return the name of a login's account; the helper makes the account if it is missing.

    Raises:
        NoAccountError: the login gets no account.
    """
    async with _TURNS:
        reply = await _ask(layout, Verb.ACCOUNT, login, person)
    if "refusal" in reply:
        raise NoAccountError(f"No account: {reply['refusal']}")
    return str(reply["account"])


async def set_administrators(layout: Layout, logins: Iterable[str]) -> str:
    """Send the names of administrators; return the reason why they cannot use sudo, or "".

    Raises:
        NoAccountError: the helper refused, or did not answer.
    """
    reply = await _ask(layout, Verb.ADMINISTRATORS, *logins)
    if "refusal" in reply:
        raise NoAccountError(str(reply["refusal"]))
    return str(reply["problem"])


async def leave(layout: Layout, login: str) -> None:
    """Report that a person has left; nobody may use the account until root decides.

    Raises:
        NoAccountError: the helper refused, or did not answer.
    """
    reply = await _ask(layout, Verb.GONE, login)
    if "refusal" in reply:
        raise NoAccountError(str(reply["refusal"]))


async def make_folders(layout: Layout) -> None:
    """Let the helper make the shared folders that the fragment names, and close all others.

    Raises:
        NoAccountError: a folder was not made.
    """
    reply = await _ask(layout, Verb.FOLDERS)
    if "refusal" in reply:
        raise NoAccountError(str(reply["refusal"]))


async def set_locked(layout: Layout, login: str, *, is_locked: bool) -> None:
    """Let the helper lock or unlock the account of a login; the hub itself ends sessions.

    Raises:
        NoAccountError: the helper refused, or did not answer.
    """
    reply = await _ask(layout, Verb.LOCK if is_locked else Verb.UNLOCK, login)
    if "refusal" in reply:
        raise NoAccountError(str(reply["refusal"]))


async def _ask(layout: Layout, *words: str) -> dict[str, Any]:
    address = str(address_of(layout))
    try:
        return dict(await request(address, [word.encode() for word in words], _TIMEOUT_S))
    except (OSError, ValueError, TypeError) as error:
        raise NoAccountError(
            f"{address}: {str(error) or type(error).__name__}; see the journal"
        ) from error
