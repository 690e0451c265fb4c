"""The page of a server that did not start: which reasons it shows at once."""

from pathlib import Path
from typing import Any

import jinja2
import jupyterhub
import pytest

from littlest_hub.hub import launch
from littlest_hub.hub.launch import NotStartedError

pytestmark = pytest.mark.unit

_THEIRS = jinja2.FileSystemLoader(f"{Path(jupyterhub.__file__).parent}/templates")
_OURS = jinja2.FileSystemLoader(Path(launch.__file__).parent / "templates")
PAGES = jinja2.Environment(
    loader=jinja2.ChoiceLoader([_OURS, jinja2.PrefixLoader({"templates": _THEIRS})]),
    autoescape=True,
)


def shown(block: str, error: NotStartedError) -> str:
    """Return a block of the page, as JupyterHub renders it for an error."""
    template = PAGES.get_template("not_running.html")
    values: dict[str, Any] = {
        "failed": True,
        "failed_message": error.jupyterhub_message,
        "failed_html_message": getattr(error, "jupyterhub_html_message", ""),
    }
    return "".join(template.blocks[block](template.new_context(values)))


def test_a_reason_for_people_is_shown_at_once_and_others_are_folded() -> None:
    for_people = NotStartedError("Job 7: <b>it failed", is_for_people=True)
    assert "Job 7: &lt;b&gt;it failed" in shown("message", for_people)
    assert "Details" not in shown("start_button", for_people)
    technical = NotStartedError("littlest-hub.user-alice.service: <b>")
    assert not shown("message", technical).strip()
    folded = shown("start_button", technical).partition("<details")[2]
    assert "littlest-hub.user-alice.service: &lt;b&gt;" in folded
