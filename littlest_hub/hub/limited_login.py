"""The limits of logins in JupyterHub: around the authenticator, whatever its class."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tornado.web import HTTPError

from littlest_hub.hub import refusals
from littlest_hub.hub.access import refusal
from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.login_limits import LoginLimits, TooManyLoginsError

FAILURE_S = 2
"""Delay of the answer to a wrong password; modules of PAM ask for the same."""
COOKIE = "littlest-hub-browser"
"""Signed cookie of a browser in which a user has logged in: its identifier, and the user's name."""

Authenticate = Callable[[Any, Any], Awaitable[Any]]


def limited(
    authenticator: Any, limits: LoginLimits, address_of: Callable[[Any], str]
) -> Authenticate:
    """Return `Authenticator.get_authenticated_user` with limits, and with reasons for a refusal.

    Args:
        authenticator: the authenticator whose method this replaces.
        limits: counts failures.
        address_of: returns where a request comes from, or another name for it.
    """
    authenticate: Authenticate = authenticator.get_authenticated_user

    async def authenticate_with_limits(handler: Any, data: Any) -> Any:
        if handler is None or not isinstance(data, Mapping) or "password" not in data:
            user = await authenticate(handler, data)
            if not user and (name := getattr(handler, "name_elsewhere", None)):
                raise _stranger(authenticator, handler, name)
            return user
        name = str(data.get("username", "")).lower()
        browser = _browser(handler, name)
        try:
            attempt = limits.begin(address_of(handler.request), name, browser)
        except TooManyLoginsError as error:
            raise _refused(error) from None
        try:
            await asyncio.sleep(attempt.delay_s)
            failure = None
            async with contextlib.AsyncExitStack() as entered:
                for turn in attempt.turns:
                    await entered.enter_async_context(turn)
                limits.check(attempt)
                try:
                    user = await authenticate(handler, data)
                except HTTPError as error:
                    # Refused, with a message for the user.
                    if error.status_code != 403:
                        raise
                    user, failure = None, error
                (limits.succeed if user else limits.fail)(attempt)
            if user:
                _remember(handler, name, browser)
                return user
            await asyncio.sleep(FAILURE_S)
            raise failure or await _explained(authenticator, handler, data)
        except TooManyLoginsError as error:
            raise _refused(error) from None
        finally:
            limits.end(attempt)

    return authenticate_with_limits


def _browser(handler: Any, name: str) -> str | None:
    """Return the identifier of a browser in which the user has logged in; None: unknown."""
    value = handler.get_secure_cookie(COOKIE)
    identifier, _, user = (value or b"").decode(errors="replace").partition(":")
    return identifier if identifier and user == name else None


def _remember(handler: Any, name: str, browser: str | None) -> None:
    identifier = browser or secrets.token_urlsafe(12)
    handler._set_cookie(COOKIE, f"{identifier}:{name}", path=handler.hub.base_url)


async def _explained(authenticator: Any, handler: Any, data: Any) -> RefusedLoginError:
    """Write the reason to the journal, and return what the person sees."""
    typed = str(data.get("username", ""))
    reason = await refusal(authenticator, typed)
    shown, address = typed[: refusals.NAME_LENGTH], handler.request.remote_ip
    authenticator.log.warning(refusals.LOGGED, shown, address, reason)
    return RefusedLoginError(refusals.answer(typed, reason))


def _stranger(authenticator: Any, handler: Any, name: str) -> RefusedLoginError:
    """Write to the journal whom another site has sent in vain, and return what they see."""
    name = authenticator.normalize_username(name)
    is_valid = authenticator.validate_username(name)
    reason = refusals.NOT_ALLOWED if is_valid else refusals.INVALID_NAME
    authenticator.log.warning(refusals.LOGGED, name, handler.request.remote_ip, reason)
    return RefusedLoginError(refusals.stranger(name, authenticator.login_service, reason))


def _refused(error: TooManyLoginsError) -> RefusedLoginError:
    seconds = "second" if error.wait_s == 1 else "seconds"
    refused = RefusedLoginError(f"{error}. Try again in {error.wait_s} {seconds}.", 429)
    refused.headers = {"Retry-After": str(error.wait_s)}
    return refused
