"""The hub's page of courses: what people take part in, what they grade, and what there is."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from tornado.web import authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.forms import Form
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import ARCHIVED, READY, Course, named
from littlest_hub.stacks.courses.lti import records as platforms
from littlest_hub.stacks.courses.page import changes
from littlest_hub.stacks.courses.page.client import RefusedError, ask
from littlest_hub.stacks.courses.page.request import Request, Verb

ROSTER_BYTES = 1 << 19
"""The largest roster here: it fits into a request to the hub even when it is sent back."""
_TOKEN_S = 120
_LOOK_AGAIN_S = 2
_FIELDS = (
    *("course", "title", "instructors", "repo", "branch", "confirmation", "assignment"),
    "login_column",
)
_HAVE_ROSTER = (Verb.CREATE, Verb.ROSTER)


class OtherAddress(BaseHandler):  # type: ignore[misc]
    """Redirects to the page."""

    def get(self) -> None:
        self.redirect(f"{self.hub.base_url}courses")


class PublicKeys(BaseHandler):  # type: ignore[misc]
    """The public half of the key with which this hub asks learning platforms (RFC 7517)."""

    def _record_activity(self, *_: Any) -> bool:
        return False

    def get(self) -> None:
        try:
            text = self.app.layout.on_disk(place.public_keys(self.app.layout)).read_text()
        except FileNotFoundError:
            text = '{"keys": []}\n'
        self.set_header("Content-Type", "application/json")
        # A platform asks again when it sees a statement that is signed with another key.
        self.set_header("Cache-Control", "public, max-age=60")
        self.finish(text)


class CoursesPage(Form):
    """Shows people their courses, and administrators all of them; takes wishes to change them.

    The hub decides nothing here: root's helper asks whose token it gets, and checks all fields.
    """

    template = "courses.html"

    @authenticated
    async def get(self) -> None:
        await self._show()

    @authenticated
    async def post(self) -> None:
        decision = self.field("decision")
        verb = Verb(decision) if decision in {*Verb} else Verb.ROSTER
        form = Verb.CREATE if verb == Verb.CREATE else f"{verb}-{self.field('course')}"
        try:
            roster = self._roster() if verb in _HAVE_ROSTER else b""
            reply = await self._ask(verb, roster)
        except RefusedError as error:
            typed = {name: self.field(name) for name in (*_FIELDS, "roster", "strips_domain")}
            problems = {error.field: error.text}
            await self._show(status=error.status, form=form, typed=typed, problems=problems)
            return
        if "gone" in reply:
            doubt = {
                "new": named(reply["new"]),
                "gone": named(reply["gone"]),
                "roster": base64.b64encode(roster).decode(),
                "login_column": self.field("login_column"),
                "strips_domain": self.field("strips_domain"),
            }
            await self._show(form=form, doubt=doubt)
            return
        # The hub is reloaded soon. The page that follows finds the change in its file.
        self.redirect(f"{self.hub.base_url}courses", status=303)

    def _roster(self) -> bytes:
        """Return the roster that was uploaded, pasted, or sent back.

        Raises:
            RefusedError: it is too large, or there are two.
        """
        uploaded = [each.body for each in self.request.files.get("file", [])]
        # The raw bytes: `get_body_argument` would remove control characters.
        pasted = [each for each in self.request.body_arguments.get("roster", []) if each.strip()]
        found = [*uploaded, *pasted]
        if kept := self.field("kept"):
            try:
                found = [base64.b64decode(kept, validate=True)]
            except ValueError:
                found = []
        if len(found) > 1:
            raise RefusedError("Choose a file or paste the roster, not both.", "roster")
        roster = b"".join(found)
        if len(roster) > ROSTER_BYTES:
            expected = f"expected at most {ROSTER_BYTES >> 10} KB"
            raise RefusedError(f"The roster has {len(roster) >> 10} KB; {expected}.", "roster")
        return roster

    async def _ask(self, verb: Verb, roster: bytes) -> dict[str, Any]:
        """Ask root's helper, as the visitor.

        Raises:
            RefusedError: it refuses.
        """
        # It permits nothing, and only says who has it.
        token = self.current_user.new_api_token(
            note="a change of a course", scopes=[], expires_in=_TOKEN_S
        )
        request = Request(
            verb,
            token,
            **{name: self.field(name) for name in _FIELDS},
            strips_domain=bool(self.field("strips_domain")),
            may_drop=bool(self.field("may_drop")),
            roster=roster,
        )
        try:
            return await ask(self.app.layout, request)
        finally:
            if found := orm.APIToken.find(self.db, token):
                self.db.delete(found)
                self.db.commit()

    async def _show(
        self, *, form: str = "", doubt: Mapping[str, str] | None = None, **values: Any
    ) -> None:
        """Answer with the page.

        Args:
            form: the form that was sent: what it asks for, and of which course.
            doubt: a change of this course's roster to which the visitor has to agree.
            values: as `show` has them.
        """
        name, is_admin = self.current_user.name, self.current_user.admin
        courses = records.read(self.app.layout).values()
        graded = {
            each.name for each in courses if each.is_open and (is_admin or name in each.instructors)
        }
        shown = [
            {
                "course": each,
                "grades": each.name in graded,
                "takes_part": each.is_open and name in each.students,
            }
            for each in courses
            if is_admin or name in each.people
        ]
        change = changes.last_of(self.app.layout, name)
        again_s = _LOOK_AGAIN_S if change and change.is_running else 0
        forms = {f"{Verb.ROSTER}-{each}" for each in graded}
        forms |= {*_of_platforms(self.app.layout, graded)}
        if is_admin:
            forms |= {Verb.CREATE, *_administrative(courses)}
        await self.show(
            courses=shown,
            change=change,
            again_s=again_s,
            forms=frozenset() if again_s else forms,
            form=form,
            doubt=doubt,
            most_kb=ROSTER_BYTES >> 10,
            command=self.app.layout.command,
            base=self.hub.base_url.removesuffix("hub/"),
            **values,
        )


def _of_platforms(layout: Layout, names: Iterable[str]) -> Iterator[str]:
    """Yield the forms of courses that are connected to a learning platform."""
    for name in names:
        with contextlib.suppress(LittlestHubError):
            found = platforms.read(layout, name)
            if found:
                yield f"{Verb.PLATFORM}-{name}"
            if found and found.connection.grades_url:
                yield f"{Verb.GRADES}-{name}"


def _administrative(courses: Iterable[Course]) -> Iterator[str]:
    """Yield the forms for administrators that courses have in their present stages."""
    for course in courses:
        for verb in _AT_STAGES.get(course.stage, ()):
            yield f"{verb}-{course.name}"


_AT_STAGES = {
    READY: (Verb.INSTRUCTORS, Verb.ARCHIVE, Verb.DELETE),
    ARCHIVED: (Verb.REOPEN, Verb.DELETE),
}
