"""Pages of a stack from templates, with one that says why there is no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from littlest_hub.errors import LittlestHubError
from littlest_hub.service.web import Handler

_COMMON = Path(__file__).parent / "templates"


def templates_in(directory: Path) -> Environment:
    """Return the templates of a directory, which may extend `service.html`.

    Values are escaped, and none may be missing.
    """
    return Environment(
        loader=FileSystemLoader([directory, _COMMON]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class TemplatePage(Handler):
    """A page from a template. If there is none, the template `error.html` says why."""

    templates: Environment
    """Those of the stack, as `templates_in` returns them."""

    def rendered(self, template: str, **values: Any) -> str:
        """Return a page."""
        hub = f"{self.hub_base}hub/"
        return self.templates.get_template(template).render(
            **values, **self.common_values(), hub=hub
        )

    def common_values(self) -> dict[str, Any]:
        """Return the values that all templates of the stack have, besides `hub`."""
        return {}

    def status_of(self, error: LittlestHubError) -> int:
        """Return the status of an answer whose message is on the page."""
        return 502

    def reason(self, error: BaseException | None) -> str:
        """Return what people learn of an error that is no `LittlestHubError`; "": its status."""
        return ""

    def explain(self, message: str, hint: str) -> None:
        """Answer why there is no page."""
        self.finish(self.rendered("error.html", message=message, hint=hint))

    def log_exception(self, kind: Any, value: Any, trace: Any) -> None:
        # Its message is on the page.
        if not isinstance(value, LittlestHubError):
            super().log_exception(kind, value, trace)

    def write_error(self, status_code: int, **about: Any) -> None:
        error = about.get("exc_info", (None, None))[1]
        if isinstance(error, LittlestHubError):
            self.set_status(self.status_of(error))
            self.explain(error.message, error.hint or "")
        else:
            self.explain(self.reason(error) or f"{status_code} {self._reason}", "")
