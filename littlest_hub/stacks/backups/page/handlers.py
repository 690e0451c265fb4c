"""The page on which people restore their own files, as a service.

It has no rights, and sees no backup: root's helper does, and asks the hub who the visitor is.
"""

from __future__ import annotations

import datetime
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tornado.web import authenticated

from littlest_hub.service.pages import templates_in
from littlest_hub.service.web import Handler, serve
from littlest_hub.stacks.backups.page.client import RefusedError, ask
from littlest_hub.stacks.backups.page.helper import Verb
from littlest_hub.stacks.backups.page.jobs import Jobs
from littlest_hub.stacks.backups.presentation import human
from littlest_hub.stacks.backups.units import HELPER
from littlest_hub.system.restic import seconds_of

_WAIT_S = 2.5
"""Time that a click on "Restore" waits for the end."""
_LOOK_AGAIN_S = 2
_PAGE = templates_in(Path(__file__).parent / "templates").get_template("restore.html")


class RestorePage(Handler):
    """Shows the backups of the visitor by date, and restores what they choose."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        # The arrow of the list of dates is a picture in the hub's style sheet.
        policy = self._headers["Content-Security-Policy"]
        self.set_header(
            "Content-Security-Policy", policy.replace("img-src 'self'", "img-src 'self' data:")
        )

    @property
    def jobs(self) -> Jobs:
        jobs: Jobs = self.settings["jobs"]
        return jobs

    @property
    def visitor(self) -> str:
        return str(self.current_user["name"])

    async def ask(
        self,
        verb: Verb,
        *words: str,
        told: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> dict[str, Any]:
        """Ask root's helper, as the visitor.

        Raises:
            RefusedError: it refuses.
        """
        token = str(self.hub_auth.get_token(self) or "")
        address = os.environ[HELPER]
        return await ask(address, self.visitor, self.hub_base, token, verb, *words, told=told)

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        chosen = self.get_query_argument("backup", "")
        path = self.get_query_argument("path", "", strip=False).strip("/")
        dates: list[dict[str, str]] = []
        entries: list[dict[str, Any]] = []
        more, problem = 0, ""
        try:
            found = (await self.ask(Verb.DATES))["dates"]
            dates = [{"id": each["id"], "text": _date(each["time"])} for each in reversed(found)]
            chosen = chosen or (dates[0]["id"] if dates else "")
            if chosen:
                listed = await self.ask(Verb.LIST, chosen, path)
                entries, more = [_entry(each, path) for each in listed["entries"]], listed["more"]
        except RefusedError as error:
            problem = str(error)
            self.set_status(404 if dates else 503)
        self._show(dates, chosen, path, entries, more, problem)

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        if self.get_body_argument("forget", ""):
            self.jobs.forget(self.visitor)
        else:
            await self._restore()
        chosen = self.get_body_argument("backup", "")
        folder = self.get_body_argument("folder", "", strip=False)
        self.redirect(f"{self.request.path}?{_query(chosen, folder)}", status=303)

    async def _restore(self) -> None:
        chosen = self.get_body_argument("backup", "")
        path = self.get_body_argument("path", "", strip=False)
        application = self.application

        async def restore(told: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
            # The service goes on until it is done.
            application.begin()
            try:
                return await self.ask(Verb.RESTORE, chosen, path, told=told)
            finally:
                application.end()

        what = posixpath.basename(path) or "all your files"
        await self.jobs.start(self.visitor, what, restore, _WAIT_S)

    def _show(
        self,
        dates: list[dict[str, str]],
        chosen: str,
        path: str,
        entries: list[dict[str, Any]],
        more: int,
        problem: str,
    ) -> None:
        job = self.jobs.of(self.visitor)
        text = _PAGE.render(
            hub=f"{self.hub_base}hub/",
            own=self.request.path,
            lab=f"{self.hub_base}user-redirect/lab/tree/restored",
            dates=dates,
            chosen=chosen,
            when=next((each["text"] for each in dates if each["id"] == chosen), ""),
            path=path,
            crumbs=_crumbs(path),
            entries=entries,
            more=more,
            problem=problem,
            job=job,
            again_s=_LOOK_AGAIN_S if job and job.is_running else 0,
            query=_query,
            human=human,
            xsrf_field=self.xsrf_form_html(),
        )
        self.finish(text)


def _query(backup: str, path: str) -> str:
    # A name may have characters that are none, which a browser sends back as they came.
    return urlencode({"backup": backup, "path": path}, errors="surrogateescape")


def _crumbs(path: str) -> list[tuple[str, str]]:
    """Return the folders from the home to a path: names, and their paths."""
    parts = [part for part in path.split("/") if part]
    return [(part, "/".join(parts[: number + 1])) for number, part in enumerate(parts)]


def _entry(found: dict[str, Any], folder: str) -> dict[str, Any]:
    name = str(found["name"])
    return {
        "name": name,
        "kind": found["kind"],
        "size": human(float(found["size"])) if found["kind"] == "file" else "",
        "time": _date(found["time"], is_short=True),
        "path": f"{folder}/{name}" if folder else name,
        # restic replaces bytes that are no text, so the file cannot be named.
        "is_nameable": "\ufffd" not in name,
    }


def _date(time: str, *, is_short: bool = False) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds_of(time)).astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    if is_short:
        return moment.strftime("%Y-%m-%d %H:%M")
    days = (datetime.date.today() - moment.date()).days
    near = {0: "today", 1: "yesterday"}.get(days, "")
    return moment.strftime("%A, %d %B %Y, %H:%M") + (f" ({near})" if near else "")


if __name__ == "__main__":
    serve([("", RestorePage)], jobs=Jobs())
