"""Links with which people get material from a git repository: nbgitpuller, and a maker of links."""

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
