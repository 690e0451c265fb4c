"""System accounts, each by one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.auth import PAMAuthenticator


class SystemAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """JupyterHub's PAM authenticator, which asks PAM for the name that it then lets in.

    JupyterHub makes names lower-case after PAM has said yes to them as they were typed: where there
    are accounts "Alice" and "alice", one's password opens the other's.
    """

    def authenticate(self, handler: Any, data: Mapping[str, Any]) -> Any:
        return super().authenticate(handler, {**data, "username": data["username"].lower()})
