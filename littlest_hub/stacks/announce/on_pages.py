"""The announcement on the hub's pages, as its templates show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2.utils import urlize

from littlest_hub import installation
from littlest_hub.stacks.announce.announcement import Current

TEMPLATES = str(Path(__file__).parent / "templates")


class Shown:
    """A part of the announcement in a template: what it is when a page is made.

    Args:
        current: the announcement.
        part: banner or message.
    """

    def __init__(self, current: Current, part: str) -> None:
        self._current, self._part = current, part

    def __bool__(self) -> bool:
        return bool(self._text())

    def __html__(self) -> str:
        """Return the text as HTML: escaped, with links."""
        return str(urlize(self._text(), rel="noopener noreferrer")).replace("\n", "<br>\n")

    # JupyterHub marks what this returns as safe.
    __str__ = __html__

    def _text(self) -> str:
        return str(getattr(self._current.get(), self._part))


def template_vars() -> dict[str, Any]:
    """Return the variables of the hub's templates that show the announcement."""
    current = Current(installation.of_this_release().stack_data("announce"))
    return {
        "announcement": Shown(current, "banner"),
        "message_of_the_day": Shown(current, "message"),
    }
