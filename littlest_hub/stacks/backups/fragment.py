"""The hub's part of the stack, as its fragment configures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets.config import Config

from littlest_hub.manifest.enabled import stack_service
from littlest_hub.stacks.backups.settings import STACK

_ACCESS = f"access:services!service={STACK}"


def configure(c: Config, variables: Mapping[str, Any]) -> None:
    """Let people visit the page, if the fragment says so.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    c.JupyterHub.services.append(stack_service(STACK, oauth_no_confirm=True, display=False))
    if variables.get("PEOPLE_RESTORE") is not True:
        return
    c.Pages.links.append({"text": "Restore files", "path": f"services/{STACK}/", "scope": _ACCESS})
    # All users have the role "user". Another fragment may have changed it.
    for role in c.JupyterHub.load_roles:
        if role.get("name") == "user":
            role["scopes"] = [*role.get("scopes", ["self"]), _ACCESS]
            return
    c.JupyterHub.load_roles.append({"name": "user", "scopes": ["self", _ACCESS]})
