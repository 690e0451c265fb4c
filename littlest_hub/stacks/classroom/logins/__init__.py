"""The kinds of login of a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError

SIGN_UP = "sign-up"
LOGINS = ("system", "first-use", SIGN_UP, "other")
"""Values of `LOGIN` in the fragment."""
TEMPLATES = str(Path(__file__).parent / "templates")
PASSWORD_LINK = {"text": "Password", "path": "hub/change-password", "scope": ""}
_MODULE = "littlest_hub.stacks.classroom.logins.authenticators"
_CLASSES = {"first-use": f"{_MODULE}.FirstUse", SIGN_UP: f"{_MODULE}.SignUp"}
_OF_THE_CORE = ("SystemAuthenticator", "OwnerAuthenticator")
"""The authenticators of a hub whose fragments choose none."""


def configure(c: Any, login: str, admin: str) -> None:
    """Configure the authenticator, as the fragment of the stack says.

    Args:
        c: the configuration of the hub.
        login: one of `LOGINS`.
        admin: a name that administers the hub; "": only those of other fragments.

    Raises:
        LittlestHubError: there is no such kind of login, or another fragment has chosen one.
    """
    if login not in LOGINS:
        raise LittlestHubError(f"LOGIN = {login!r}: expected one of {', '.join(LOGINS)}")
    if admin:
        c.Authenticator.admin_users.update({admin})
    if login == "other":
        return
    chosen = c.JupyterHub.get("authenticator_class", _OF_THE_CORE[0])
    if (name := getattr(chosen, "__name__", str(chosen))) not in _OF_THE_CORE:
        raise LittlestHubError(
            f"LOGIN = {login!r}, but another fragment has chosen the logins of {name};"
            ' expected LOGIN = "other", or no such fragment'
        )
    if login in _CLASSES:
        c.JupyterHub.authenticator_class = _CLASSES[login]
        c.JupyterHub.template_paths.append(TEMPLATES)
        c.Pages.links.append(PASSWORD_LINK)
    if login == SIGN_UP:
        c.JupyterHub.template_vars.update({"people_page": "class"})


def has_sign_up(c: Any) -> bool:
    """Return whether people sign up at the hub of a configuration."""
    return bool(c.JupyterHub.get("authenticator_class") == _CLASSES[SIGN_UP])
