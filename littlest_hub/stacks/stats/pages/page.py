"""The pages, and the same as JSON and CSV."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError, authenticated

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.service.pages import TemplatePage, templates_in
from littlest_hub.service.web import Handler
from littlest_hub.stacks.stats import capacity
from littlest_hub.stacks.stats.pages import report
from littlest_hub.stacks.stats.pages.period import NAMES, Period
from littlest_hub.stacks.stats.pages.report import Report
from littlest_hub.stacks.stats.pages.viewer import Viewer
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.reading import Figures
from littlest_hub.stacks.stats.values import Values

TEMPLATES = Path(__file__).parent / "templates"
_VALUES_S = 15
"""Time for which the values that the hub tells are used again."""
_LATE = 3
"""Number of intervals without a sample after which the page says so."""
_LONGEST_NAME = 255
_FIRST = {"me": "month", "capacity": "month"}
"""Periods that pages show at first, instead of a day."""


class Page(TemplatePage):
    """The base of all pages."""

    templates = templates_in(TEMPLATES)

    async def values(self) -> Values:
        """Return the values of the fragment, which the hub tells.

        Raises:
            LittlestHubError: the hub does not answer.
        """
        known: dict[str, tuple[float, Values]] = self.settings.setdefault("known_values", {})
        asked_s, values = known.get(self.hub_base, (None, Values()))
        if asked_s is None or time.monotonic() > asked_s + _VALUES_S:
            values = Values.from_json(await self.published())
            known[self.hub_base] = time.monotonic(), values
        return values

    @property
    def own(self) -> str:
        """The path of this service."""
        return f"{self.hub_base}services/{self.application.name}/"

    def common_values(self) -> dict[str, Any]:
        return {"own": self.own}

    @contextmanager
    def figures(self) -> Iterator[Figures]:
        """Open the database for the time of a block.

        Raises:
            LittlestHubError: it cannot be read.
        """
        try:
            with closing(database.open_to_read(Path())) as connection:
                yield Figures(connection)
        except sqlite3.Error as error:
            raise LittlestHubError(
                f"the figures cannot be read: {error}",
                "The first ones are there a minute after the start. If this stays, ask the"
                " administrator, whose `doctor` says more",
            ) from error

    def reason(self, error: BaseException | None) -> str:
        return (error.log_message or "") if isinstance(error, HTTPError) else ""

    def explain(self, message: str, hint: str) -> None:
        if self.request.path.endswith(".json"):
            self.finish({"status": self.get_status(), "message": message})
        else:
            super().explain(message, hint)


class Start(Page):
    """Leads to the page that a person may see."""

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        viewer = Viewer.of(self.current_user, await self.values())
        page = "hub" if viewer.is_admin else "groups" if viewer.groups else "me"
        self.redirect(f"{self.own}{page}")


@dataclass(frozen=True)
class _Asked:
    """A request of a person."""

    what: str
    """"hub", "groups", "group", "capacity", or "me"."""
    group: str
    period: Period
    viewer: Viewer
    values: Values

    def refuse(self) -> None:
        """Refuse what the person may not see.

        Raises:
            HTTPError: they may not.
        """
        viewer = self.viewer
        if self.what == "hub" and not viewer.is_admin:
            raise HTTPError(403, "Only administrators see the figures of the whole hub.")
        if self.what == "capacity" and not viewer.is_admin:
            raise HTTPError(403, "Only administrators see how many people this machine can serve.")
        if self.what == "group" and not viewer.may_see_group(self.group):
            # Whether there is such a group is not said.
            raise HTTPError(403, "You may not see the figures of this group.")
        if self.what == "groups" and not (viewer.is_admin or viewer.groups):
            raise HTTPError(403, "Only administrators and instructors see figures of groups.")

    def report(self, figures: Figures) -> Report:
        """Return the report."""
        values, period = self.values, self.period
        if self.what == "me":
            return report.of_person(figures, period, self.viewer.name)
        if self.what == "capacity":
            machine = capacity.measure(installation.of_this_release())
            span = period.use_begin_s, period.end_s
            return report.of_capacity(capacity.read(figures, machine, *span), period)
        if self.what == "group":
            return report.of_group(figures, values, period, self.group)
        groups = figures.groups() if self.viewer.is_admin else sorted(self.viewer.groups)
        if self.what == "hub":
            return report.of_hub(figures, values, period, groups)
        return Report(
            "Groups that you may see", period, {}, [report.of_groups(figures, period, groups)]
        )


class Figured(Page):
    """A report, as a page, as JSON, or one of its tables as CSV."""

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self, what: str, form: str | None = None) -> None:
        asked = await self._asked(what)
        asked.refuse()
        with self.figures() as figures:
            found, last_s = asked.report(figures), figures.last_sample_s()
        if form == ".json":
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps(found.to_json()))
        elif form == ".csv":
            self._send_csv(found)
        else:
            self._show(asked, found, _late_s(asked.values, last_s))

    async def _asked(self, what: str) -> _Asked:
        """Return what the request asks for.

        Raises:
            HTTPError: there is no such period.
        """
        values = await self.values()
        name = self.get_query_argument("period", _FIRST.get(what, "day"))
        if name not in NAMES:
            raise HTTPError(400, f"There is no such period. Expected one of: {', '.join(NAMES)}.")
        group = ""
        if what == "group":
            group = self.get_query_argument("group", "", strip=False)[:_LONGEST_NAME]
        period = Period.of(name, values, time.time())
        return _Asked(what, group, period, Viewer.of(self.current_user, values), values)

    def _send_csv(self, found: Report) -> None:
        part = found.part(self.get_query_argument("part", ""))
        if part is None:
            names = ", ".join(each.name for each in found.parts)
            raise HTTPError(400, f"Expected part= one of: {names}.")
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        file = f"{part.name}-{found.period.name}.csv"
        self.set_header("Content-Disposition", f'attachment; filename="{file}"')
        self.finish(part.table.to_csv())

    def _show(self, asked: _Asked, found: Report, late_s: int) -> None:
        period = {"period": found.period.name}

        def link(form: str = "", **more: str) -> str:
            query = {**period, **({"group": asked.group} if asked.group else {}), **more}
            return f"{self.own}{asked.what}{form}?{urlencode(query)}"

        def link_of_group(name: str) -> str:
            return f"{self.own}group?{urlencode({'group': name, **period})}"

        text = self.rendered(
            "report.html",
            report=found,
            values=asked.values,
            viewer=asked.viewer,
            what=asked.what,
            periods=NAMES,
            link=link,
            link_of_group=link_of_group,
            late_s=late_s,
        )
        self.finish(text)


class Stored(Page):
    """All that is stored about the person who asks, as JSON."""

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        with self.figures() as figures:
            self.finish(figures.stored_about(str(self.current_user["name"])))


class Style(Page):
    """The style sheet, which no one has to log in for."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/css")
        self.finish((TEMPLATES / "stats.css").read_bytes())


def _late_s(values: Values, last_s: int | None) -> int:
    """Return for how many seconds samples are missing now; 0: they are not."""
    age_s = int(time.time()) - (last_s or 0)
    return age_s if age_s > _LATE * values.every_s + 60 else 0


ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("", Start),
    (r"stats\.css", Style),
    (r"stored\.json", Stored),
    (r"(hub|groups|group|capacity|me)(\.json|\.csv)?", Figured),
)
