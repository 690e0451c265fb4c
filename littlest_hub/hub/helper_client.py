"""Client of root's helpers: one request for each connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import jupyterhub.auth

from littlest_hub.helpers.pam import LIMIT_BYTES
from littlest_hub.system.pam import Outcome

PAM_TIMEOUT_S = 60
"""The same as RuntimeMaxSec= of the PAM helper's unit."""


async def request(address: str, words: Sequence[bytes], timeout_s: float) -> Any:
    """Send words to the helper at a socket, and return its reply.

    Raises:
        OSError: no helper answers.
        ValueError: it has ended without a reply.
        TimeoutError: its reply takes too long.
    """

    async def exchange() -> bytes:
        reader, writer = await asyncio.open_unix_connection(address)
        try:
            writer.write(b"\0".join(words))
            writer.write_eof()
            return await reader.read()
        finally:
            writer.close()

    return json.loads(await asyncio.wait_for(exchange(), timeout_s))


class NoAnswerError(Exception):
    """The failure of the PAM helper to answer: whether a password is right is unknown."""


async def ask_pam(address: str, verb: str, service: str, name: bytes, *secrets: bytes) -> Outcome:
    """Return the PAM helper's answer about a user.

    Raises:
        NoAnswerError: there is none.
    """
    words = [verb.encode(), service.encode(), name, *secrets]
    if any(b"\0" in word for word in words) or sum(map(len, words)) > LIMIT_BYTES // 2:
        return Outcome("no such user", [])
    try:
        return Outcome(*await request(address, words, PAM_TIMEOUT_S))
    except (OSError, ValueError, TypeError) as error:
        text = f"{address}: {str(error) or type(error).__name__}; see the journal"
        raise NoAnswerError(text) from error


class HelperPamela:
    """The module `pamela` as JupyterHub's PAMAuthenticator uses it, with the helper behind it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.PAMError = jupyterhub.auth.pamela.PAMError

    def authenticate(self, name: str, password: str | Iterable[str], **options: str) -> None:
        secrets = [password] if isinstance(password, str) else list(password)
        self._ask("login", name, secrets, **options)

    def check_account(self, name: str, **options: str) -> None:
        self._ask("check_account", name, **options)

    def open_session(self, name: str, **options: str) -> None:
        self._ask("open_session", name, **options)

    def close_session(self, name: str, **options: str) -> None:
        self._ask("close_session", name, **options)

    def _ask(
        self,
        verb: str,
        name: str,
        secrets: Iterable[str] = (),
        service: str = "login",
        encoding: str = "utf8",
    ) -> None:
        # PAMAuthenticator calls this in a thread of its own.
        words = [each.encode(encoding, "replace") for each in (name, *secrets)]
        try:
            outcome = asyncio.run(ask_pam(self._address, verb, service, *words))
        except NoAnswerError as error:
            raise self.PAMError(str(error)) from error
        if outcome.refusal:
            raise self.PAMError(" ".join([outcome.refusal, *outcome.messages]))
