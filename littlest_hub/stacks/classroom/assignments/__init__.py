"""Links to material in git repositories: a page of the hub makes them, nbgitpuller follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATES = str(Path(__file__).parent / "templates")
PAGES = {"assignment-link": "littlest_hub.stacks.classroom.assignments.pages:LinkPage"}
LINK = {"text": "Assignment link", "path": "hub/assignment-link", "scope": "admin:users"}


def configure(c: Any) -> None:
    """Add the page that makes links, for administrators."""
    c.Pages.handlers.update(PAGES)
    c.JupyterHub.template_paths.append(TEMPLATES)
    c.Pages.links.append(LINK)
