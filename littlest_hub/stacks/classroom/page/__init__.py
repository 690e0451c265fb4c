"""The teacher's page: people, the resources of their servers, and actions for the teacher.

It is a page of the hub, and no service, because it shows and changes mostly data of the hub. A
service would need a token as powerful as an administrator. Other units do what requires root: they
measure the disk (`disk`), and change accounts and generations (their helpers).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from littlest_hub.stacks.classroom import group_start
from littlest_hub.stacks.classroom.logins import has_sign_up
from littlest_hub.stacks.classroom.page.link import PageLink

TEMPLATES = str(Path(__file__).parent / "templates")
PATH = "class"
"""Path of the page below the hub's prefix."""
_PAGES = "littlest_hub.stacks.classroom.page.handlers"
_HANDLERS = {
    PATH: f"{_PAGES}:TeachersPage",
    # JupyterHub redirects requests for /services/class/ to this path of the hub.
    "services/class/?": f"{_PAGES}:OtherAddress",
}


def configure(c: Any) -> None:
    """Add the page, the link to it, and the hub's part of `class start`."""
    group_start.configure(c)
    c.Pages.handlers.update(_HANDLERS)
    c.JupyterHub.template_paths.append(TEMPLATES)
    c.JupyterHub.template_vars.update({"group_messages": _messages_for})
    c.Pages.home_parts.append("group-messages.html")
    c.Pages.notices.append(_notices)
    c.Pages.links.insert(
        0, {"text": PageLink(has_sign_up(c)), "path": f"hub/{PATH}", "scope": "admin:users"}
    )


def _messages_for(user: Any) -> Callable[[], list[str]]:
    """Return what gives the messages to a user, when a page shows them."""
    return lambda: _notices(user) if user else []


def _notices(user: Any) -> list[str]:
    # It imports JupyterHub's pages, which a check of fragments does not need.
    from littlest_hub.stacks.classroom.page import group

    return group.notices(user)
