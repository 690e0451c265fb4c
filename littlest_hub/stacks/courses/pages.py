"""The hub's page of courses: what people take part in, what they grade, and what there is."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from jupyterhub.handlers.base import BaseHandler
from tornado.web import authenticated

from littlest_hub.stacks.courses import records


class OtherAddress(BaseHandler):  # type: ignore[misc]
    """Redirects to the page."""

    def get(self) -> None:
        self.redirect(f"{self.hub.base_url}courses")


class CoursesPage(BaseHandler):  # type: ignore[misc]
    """Shows people their courses, and administrators all of them."""

    @authenticated
    async def get(self) -> None:
        name, is_admin = self.current_user.name, self.current_user.admin
        courses = records.read(self.app.layout).values()
        shown = [
            {
                "course": each,
                "grades": each.is_open and (is_admin or name in each.instructors),
                "takes_part": each.is_open and name in each.students,
            }
            for each in courses
            if is_admin or name in each.people
        ]
        self.set_header("Cache-Control", "no-store")
        page = await self.render_template(
            "courses.html",
            courses=shown,
            is_admin=is_admin,
            command=self.app.layout.command,
            base=self.hub.base_url.removesuffix("hub/"),
        )
        self.finish(page)
