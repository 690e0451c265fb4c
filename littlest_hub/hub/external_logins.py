"""Logins at another web site, such as GitHub: what all of our authenticators for them share.

The hub knows nobody's password then, and learns a user's name from the other site.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator

from littlest_hub.hub.access import UnknownLogin
from littlest_hub.hub.authenticator import RefusedLoginError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def accepted_name(name: object, *, ignores_case: bool) -> str:
    """Return the name of a user in the spelling of the hub.

    Args:
        name: as the other site says it.
        ignores_case: "Alice" and "alice" are the same person there. If they are not, both would be
            "alice" here.

    Raises:
        RefusedLoginError: the hub would change the name, so two people could share one.
    """
    if isinstance(name, str) and name.isascii() and (ignores_case or name == name.lower()):
        return name.lower()
    raise RefusedLoginError(
        f"Your user name there is {name!r}. Here, user names are in lower-case letters, and another"
        " spelling is not another person. Ask the administrator of this hub."
    )


def require_https(url: str) -> None:
    """Refuse a login that would come back over the network without HTTPS.

    Raises:
        RefusedLoginError: the address is neither https nor this machine's own.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise RefusedLoginError(
            "This login needs HTTPS: without it, others on the network could log in as you. The"
            " administrator runs: littlest-hub enable https",
            400,
        )


class ExternalLogin(Authenticator):  # type: ignore[misc]
    """Part of an authenticator whose users log in at another web site. Comes before its class."""

    @property
    def knows_administrators(self) -> bool:
        """Whether the fragments alone say who administers the hub."""
        return True

    def is_admin(self, handler: Any, authentication: Any) -> bool | None:
        # Upstream returns None for others, which leaves an administrator who is named no more.
        if authentication["name"] in self.admin_users:
            return True
        return False if self.knows_administrators else None

    async def authenticate(self, handler: Any, data: Any = None, **options: Any) -> Any:
        model = await super().authenticate(handler, data, **options)
        if model is not None:
            # For the reason of a refusal: littlest_hub.hub.limited_login.
            handler.name_elsewhere = model["name"]
        return model

    def known_of(self, name: str, model: Any) -> Any:
        """Return a login, or what is known about a user who is not logging in.

        Args:
            name: of the user.
            model: what `check_allowed` gets: nothing of a login, when the hub asks who may stay
                (`littlest_hub.hub.access`).
        """
        if model is not None and not isinstance(model, UnknownLogin):
            return model
        unknown = UnknownLogin()
        is_admin = name in self.admin_users
        admin = is_admin if is_admin or self.knows_administrators else unknown
        return {"name": name, "admin": admin, "auth_state": unknown, "groups": unknown}
