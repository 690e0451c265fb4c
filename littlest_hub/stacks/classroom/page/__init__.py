"""The teacher's page: who is here, what their servers need, and what can be done for them.

It is a page of the hub, and no service: nearly all that it shows and does is the hub's. A service
would need a token as powerful as an administrator. What only root sees or may do is in units of its
own: the disk (`disk`), accounts and generations (their helpers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from littlest_hub.stacks.classroom.page.link import PageLink

TEMPLATES = str(Path(__file__).parent / "templates")
PATH = "class"
"""Below the hub's prefix."""
_PAGES = "littlest_hub.stacks.classroom.page.handlers"
_HANDLERS = {
    PATH: f"{_PAGES}:TeachersPage",
    # JupyterHub leads there from /services/class/, where services of other stacks are.
    "services/class/?": f"{_PAGES}:OtherAddress",
}


def configure(c: Any) -> None:
    """Add the page and the link to it."""
    c.Pages.handlers.update(_HANDLERS)
    c.JupyterHub.template_paths.append(TEMPLATES)
    c.Pages.links.insert(0, {"text": PageLink(), "path": f"hub/{PATH}", "scope": "admin:users"})
