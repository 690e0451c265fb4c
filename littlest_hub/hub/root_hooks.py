"""Hooks that run as root, in a helper: what a fragment declares, and how the hub requests it."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.web import HTTPError

from littlest_hub import installation
from littlest_hub.helpers.hooks import ADD_USER
from littlest_hub.hub.helper_client import request
from littlest_hub.units.helpers import HOOK_TIMEOUT_S, MAX_CONNECTIONS

_TURNS = asyncio.Semaphore(MAX_CONNECTIONS // 2)
"""Other spawners than ours start a hundred servers at once, each with its hook."""


class RootHookError(HTTPError):  # type: ignore[misc]
    """A failed hook, with the reason; JupyterHub logs and shows it."""

    def __init__(self, reason: str) -> None:
        super().__init__(500, reason)
        self.jupyterhub_message = reason


class RootHook:
    """Hook of a spawner that runs a program of root's: `c.Spawner.pre_spawn_hook`, for example.

    The program is `jupyterhub_config.d/root-hooks/NAME`, or one of the built-in hooks
    (`littlest_hub.helpers.hooks.BUILT_IN`); its only argument is the name of the user's account.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, spawner: Any) -> None:
        """Run it, and return when it has succeeded.

        Raises:
            RootHookError: it has failed.
        """
        # With other spawners than ours, the account has the name of the user.
        await run_root_hook(self.name, getattr(spawner, "account_name", spawner.user.name))


async def run_root_hook(name: str, user: str) -> None:
    """Request that root's helper run a hook for a user.

    Raises:
        RootHookError: it has failed; with the reason.
    """
    address = str(installation.of_this_release().hook_address)
    try:
        words = [name.encode(), user.encode()]
        async with _TURNS:
            reason = str(await request(address, words, HOOK_TIMEOUT_S + 20))
    except (OSError, ValueError) as error:
        reason = f"{address}: {str(error) or type(error).__name__}; see the journal"
    if reason:
        raise RootHookError(f"Root's hook {reason}")


async def add_system_user(authenticator: Any, user: Any) -> None:
    """Create a system account, in place of `LocalAuthenticator.add_system_user`.

    Raises:
        RootHookError: it cannot be created.
    """
    authenticator.log.info("Creating the account %s", user.name)
    await run_root_hook(ADD_USER, user.name)
