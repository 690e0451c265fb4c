"""How people log in to a class."""

from __future__ import annotations

from typing import Any

from littlest_hub.errors import LittlestHubError

LOGINS = ("system", "other")
"""Values of `LOGIN` in the fragment."""


def configure(c: Any, login: str, admin: str) -> None:
    """Configure the authenticator, as the fragment of the stack says.

    Args:
        c: the configuration of the hub.
        login: one of `LOGINS`.
        admin: a name that administers the hub; "": only those of other fragments.

    Raises:
        LittlestHubError: there is no such kind of login.
    """
    if login not in LOGINS:
        raise LittlestHubError(f"LOGIN = {login!r}: expected one of {', '.join(LOGINS)}")
    if admin:
        c.Authenticator.admin_users.update({admin})
