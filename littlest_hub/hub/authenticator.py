"""The default authenticator: system accounts, by PAM, which root's helper calls."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from jupyterhub.auth import PAMAuthenticator
from tornado.web import HTTPError
from traitlets import Unicode

from littlest_hub.hub.helper_client import NoAnswerError, ask_pam
from littlest_hub.system.pam import Outcome
from littlest_hub.units.helpers import MAX_CONNECTIONS

_SESSION_TURNS = asyncio.Semaphore(MAX_CONNECTIONS // 2)
"""A hundred servers may start at once; logins need some of the connections."""
_NO_ANSWER = (
    "The system did not say in time whether this password is right. Try again in a minute; if that"
    " does not help, tell your administrator."
)


class SystemAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """PAMAuthenticator that lets a helper call PAM, and that checks the name that it lets in.

    The hub's sandbox is too tight for many modules of PAM: a locked account would get in where
    pam_faillock cannot read its records.
    JupyterHub converts a name to lower case after PAM has accepted it as typed: with accounts
    "Alice" and "alice", the password of one would log in as the other.
    """

    address = Unicode(help='Socket of the helper; "": none, PAM is called here.').tag(config=True)

    async def authenticate(self, handler: Any, data: Mapping[str, Any]) -> str | None:
        name: str = data["username"].lower()
        if not self.address:
            is_right = await super().authenticate(handler, {**data, "username": name})
            return name if is_right else None
        secrets = [data[key] for key in ("password", "otp") if key in data]
        verb = "login" if self.check_account else "authenticate"
        address = handler.request.remote_ip if handler else "?"
        try:
            outcome = await self._ask(verb, name, *secrets)
        except NoAnswerError as error:
            self.log.error("PAM says nothing about %.32r@%s: %s", name, address, error)
            raise RefusedLoginError(_NO_ANSWER, 503) from error
        if not outcome.refusal:
            return name
        self.log.warning("PAM refuses %.32r@%s: %s", name, address, outcome.refusal)
        if outcome.messages:
            raise RefusedLoginError(" ".join(outcome.messages))
        return None

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        if self.address:
            await self._session("open_session", user.name)
        else:
            await super().pre_spawn_start(user, spawner)

    async def post_spawn_stop(self, user: Any, spawner: Any) -> None:
        if self.address:
            await self._session("close_session", user.name)
        else:
            await super().post_spawn_stop(user, spawner)

    async def _session(self, verb: str, name: str) -> None:
        if not self.open_sessions:
            return
        try:
            async with _SESSION_TURNS:
                refusal = (await self._ask(verb, name)).refusal
        except NoAnswerError as error:
            refusal = str(error)
        if refusal:
            self.log.warning("PAM, %s of %s: %s", verb, name, refusal)

    async def _ask(self, verb: str, name: str, *secrets: str) -> Outcome:
        words = [each.encode(self.encoding, "replace") for each in (name, *secrets)]
        return await ask_pam(self.address, verb, self.service, *words)


class RefusedLoginError(HTTPError):  # type: ignore[misc]
    """A refused login; its message is shown above the login form."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(status, message)
        self.jupyterhub_message = message
        self.headers: dict[str, str] = {}
