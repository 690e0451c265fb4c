"""Submissions as the formgrader shows them: nothing that a student has written runs in a browser.

nbgrader shows what is in a submission as it is, on a page of the hub's own address: a script in it
would act as the instructor, and as the grader. So only formatting, tables, and pictures are left of
HTML; of metadata, which nbgrader's page contains as well, only nbgrader's own.
"""

from __future__ import annotations

import re
import time
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import from_dict
from traitlets.config import Config

from littlest_hub.system.signals import at_most

_TAGS = frozenset(
    (
        *("a", "abbr", "b", "blockquote", "br", "caption", "center", "cite", "code", "col"),
        *("colgroup", "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption"),
        *("figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li"),
        *("mark", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strong", "sub"),
        *("summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u"),
        *("ul", "var"),
    )
)
_ATTRIBUTES = frozenset(
    ("align", "alt", "border", "colspan", "height", "rowspan", "start", "title", "valign", "width")
)
# Pictures in the page itself or beside the notebook. Any other address would make the instructor's
# browser send a request.
_PICTURE = re.compile(
    r"data:image/(?:png|jpeg|gif|svg\+xml|webp);.*"
    r"|(?!.*(?:\.|%2e)(?:\.|%2e))\w[\w./% ()-]*",
    re.IGNORECASE | re.DOTALL,
)
_LINK = re.compile(r"https?://|mailto:|#", re.IGNORECASE)
# Classes with which Pygments marks code. nbgrader's buttons obey other classes.
_CLASS = re.compile(r"[a-z][a-z0-9]{0,2}|highlight|dataframe")
_STYLES = CSSSanitizer(
    allowed_css_properties=(
        *("background-color", "border", "color", "font-style", "font-weight", "height"),
        *("text-align", "text-decoration", "vertical-align", "width"),
    )
)
# bleach leaves the text of elements that it removes.
_OPENING = re.compile(r"<(script|style)\b", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}
_PAGE_S = 10
"""Time for all of a page: nobody else is served meanwhile, and HTML can be made so that parsing it
takes hours."""
_TOO_MUCH = "<em>This is too large to be shown here. Open the notebook in JupyterLab.</em>"
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
_SHOWN = (
    *("text/html", "text/markdown", "image/svg+xml", "text/latex", "image/png", "image/jpeg"),
    "text/plain",
)
"""Kinds of outputs, those first that are preferred: no scripts, and no widgets."""


def cleaned(html: str) -> str:
    """Return what may be shown of a student's HTML."""
    shown: str = bleach.clean(
        _without_scripts(html),
        tags=_TAGS,
        attributes=_is_shown,
        protocols=("data", "http", "https", "mailto"),
        strip=True,
        css_sanitizer=_STYLES,
    )
    return shown


def _without_scripts(html: str) -> str:
    """Return HTML without scripts and styles, as far as they end."""
    parts, at, endless = [], 0, set[str]()
    for found in _OPENING.finditer(html):
        name = found[1].lower()
        if found.start() < at or name in endless:
            continue
        end = _CLOSING[name].search(html, found.end())
        if end is None:
            endless.add(name)
            continue
        parts.append(html[at : found.start()])
        at = end.end()
    return "".join([*parts, html[at:]])


def _is_shown(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return all(map(_CLASS.fullmatch, value.split()))
    if (tag, name) == ("img", "src"):
        return _PICTURE.fullmatch(value) is not None
    if (tag, name) == ("a", "href"):
        return _LINK.match(value) is not None
    return name in _ATTRIBUTES or name == "style"


class SubmissionExporter(HTMLExporter):  # type: ignore[misc]
    """nbgrader's exporter for its page of a submission."""

    _left_s: float = _PAGE_S
    """Time that is left for this page."""

    @property
    def default_config(self) -> Config:
        """The settings of nbconvert, and which outputs are shown."""
        found = super().default_config.copy()
        found.merge({"NbConvertBase": {"display_data_priority": [*_SHOWN]}})
        return found

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sanitize_html = True
        self.skip_svg_encoding = False

    def default_filters(self) -> Any:
        """Yield the functions of templates; nbconvert's own would show no table and no picture."""
        yield from super().default_filters()
        yield "clean_html", self._cleaned
        yield "markdown2html", self.markdown2html

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Return a text as HTML; nbgrader's template takes it as it is."""
        return self._cleaned(super().markdown2html(context, source))

    def _cleaned(self, html: object) -> str:
        text = html.decode(errors="replace") if isinstance(html, bytes) else str(html)
        began_s = time.monotonic()
        try:
            with at_most(self._left_s):
                return cleaned(text)
        except TimeoutError:
            return _TOO_MUCH
        finally:
            self._left_s -= time.monotonic() - began_s

    def from_notebook_node(self, nb: Any, resources: Any = None, **more: Any) -> Any:
        """Return the page of a notebook."""
        self._left_s = _PAGE_S
        return super().from_notebook_node(_plain(nb), resources, **more)


def _plain(nb: Any) -> Any:
    """Return a notebook without metadata, which nbgrader's page would contain as it is."""
    plain = nb.copy()
    language = nb.metadata.get("language_info", {})
    name = str(language.get("name", "")) if isinstance(language, dict) else ""
    kept = {"language_info": {"name": name}} if _NAME.fullmatch(name) else {}
    plain.metadata = from_dict(kept)
    plain.cells = [_plain_cell(cell) for cell in nb.cells]
    return plain


def _plain_cell(cell: Any) -> Any:
    plain = cell.copy()
    marks = cell.metadata.get("nbgrader", {})
    is_known = isinstance(marks, dict) and (
        "grade_id" not in marks or _NAME.fullmatch(str(marks["grade_id"]))
    )
    plain.metadata = from_dict({"nbgrader": marks} if marks and is_known else {})
    if cell.cell_type == "code":
        number = cell.get("execution_count")
        plain.execution_count = number if isinstance(number, int) else None
        plain.outputs = [_plain_output(output) for output in cell.get("outputs", ())]
    return plain


def _plain_output(output: Any) -> Any:
    plain = output.copy()
    if "metadata" in output:
        plain.metadata = from_dict({})
    if "execution_count" in output and not isinstance(output.execution_count, int):
        plain.execution_count = None
    return plain
