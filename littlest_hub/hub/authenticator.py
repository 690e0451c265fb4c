"""The default authenticator: system accounts, by PAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.auth import PAMAuthenticator


class SystemAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """JupyterHub's PAM authenticator, which checks the password of the name that it lets in.

    JupyterHub converts a name to lower case after PAM has accepted it as typed: with accounts
    "Alice" and "alice", the password of one would log in as the other.
    """

    def authenticate(self, handler: Any, data: Mapping[str, Any]) -> Any:
        return super().authenticate(handler, {**data, "username": data["username"].lower()})
