"""The page at which announcements are written, as a service."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from tornado.web import authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.service.web import Handler, serve
from littlest_hub.stacks.announce.announcement import (
    BANNER_LENGTH,
    MESSAGE_LENGTH,
    Announcement,
    read,
    save,
)

_PAGE = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape()
).get_template("page.html")


class AnnouncementPage(Handler):
    """The form, and what is sent with it."""

    @authenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        try:
            announcement, problem = read(Path()), ""
        except (ValueError, OSError) as error:
            announcement, problem = Announcement(), f"The present one cannot be read: {error}"
        is_saved = bool(self.get_query_argument("saved", ""))
        self._show(announcement, "Saved. Pages show it from now on." if is_saved else "", problem)

    @authenticated  # type: ignore[untyped-decorator]
    def post(self) -> None:
        banner = self.get_body_argument("banner", "", strip=False)
        message = self.get_body_argument("message", "", strip=False)
        author = str(self.current_user["name"])
        try:
            save(Path(), Announcement.written(banner, message, author))
        except (LittlestHubError, OSError) as error:
            self.set_status(400 if isinstance(error, LittlestHubError) else 500)
            # The form keeps the text that was typed.
            self._show(Announcement(banner, message), "", f"Not saved: {error}")
        else:
            self.redirect(f"{self.request.path}?saved=1", status=303)

    def _show(self, announcement: Announcement, done: str, problem: str) -> None:
        text = _PAGE.render(
            announcement=announcement,
            done=done,
            problem=problem,
            hub=f"{self.hub_base}hub/",
            xsrf_field=self.xsrf_form_html(),
            banner_length=BANNER_LENGTH,
            message_length=MESSAGE_LENGTH,
        )
        self.finish(text)


if __name__ == "__main__":
    serve([("", AnnouncementPage)])
