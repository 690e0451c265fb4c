"""A hub with the page of courses, root's helper behind it, and browsers."""

from __future__ import annotations

import contextlib
import html
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import READY, Course, Student
from littlest_hub.stacks.courses.page import changes, helper
from tests.eventually import eventually
from tests.network import free_port
from tests.unit.hub import hub_program
from tests.unit.hub.hub_program import xsrf

BASE = Path("/opt/hub-of-a-test-of-courses")
PAGE = "/hub/courses"
BOB, CAROL = Student("bob", "Bob", "B"), Student("carol", "Carol", "C")


@dataclass(frozen=True)
class Site:
    """The courses ps131, which alice teaches, and chem1, which dora teaches."""

    url: str
    layout: Layout

    def reset(self) -> None:
        """Give the courses the people that they have at first, and forget changes."""
        for file in changes.directory(self.layout).glob("*.json"):
            file.unlink()
        people = {BOB.login: BOB, CAROL.login: CAROL}
        with records.changing(self.layout):
            records.save(
                self.layout,
                {
                    "ps131": Course("ps131", 15010, "Physics", READY, "", ("alice",), people),
                    "chem1": Course("chem1", 15011, "", READY, "", ("dora",), {"bob": BOB}),
                },
            )

    def students(self, course: str) -> set[str]:
        return {*records.of_name(self.layout, course).students}


class Browser(httpx.Client):
    """A browser, in which somebody has logged in."""

    def __init__(self, site: Site, name: str) -> None:
        own = {"Sec-Fetch-Site": "same-origin"}
        super().__init__(
            base_url=site.url, follow_redirects=True, trust_env=False, timeout=60, headers=own
        )
        page = self.get("/hub/login?next=/hub/home")
        fields = {"username": name, "_xsrf": xsrf(page)}
        assert self.post("/hub/login?next=/hub/home", data=fields).is_success

    def submit(
        self,
        decision: str,
        roster: bytes | None = None,
        origin: Mapping[str, str] | None = None,
        /,
        **fields: str,
    ) -> httpx.Response:
        """Send a form of the page; return the page that follows, when no change goes on.

        Args:
            decision: the button.
            roster: a file.
            origin: headers that say which page has sent it.
            fields: of the form.
        """
        whole = {"_xsrf": xsrf(self.get(PAGE)), "decision": decision, **fields}
        # Without a file, browsers send a part without a name.
        part = (None, b"") if roster is None else ("roster.csv", roster)
        # httpx would send the type of this body with the next request, which has none.
        answer = self.post(
            PAGE, data=whole, files={"file": part}, headers=origin, follow_redirects=False
        )
        return self.settled() if answer.is_redirect else answer

    def settled(self) -> httpx.Response:
        """Return the page when no change goes on."""
        pages: list[httpx.Response] = []

        def settles() -> bool:
            pages.append(self.get(PAGE))
            return not is_waiting(pages[-1])

        eventually(settles, 60, "the end of a change")
        return pages[-1]


def is_waiting(page: httpx.Response) -> bool:
    return 'http-equiv="refresh"' in page.text


def text_of(page: httpx.Response) -> str:
    """Return the text of a page's messages, on one line."""
    found = re.findall(r'class="alert[^>]*>(.*?)</(?:p|div|form)>', page.text, re.DOTALL)
    found += re.findall(r'class="invalid-feedback">(.*?)</div>', page.text, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", " ".join(found))).split())


@contextlib.contextmanager
def running() -> Iterator[Site]:
    """Run the hub and the helper."""
    port = free_port()
    # pytest's directories are too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="courses-") as name:
        layout = Layout(BASE, root=Path(name))
        site = Site(f"http://127.0.0.1:{port}", layout)
        _prepare(layout, port)
        site.reset()
        address = layout.on_disk(place.page_address(layout))
        program = Path(__file__).with_name("courses_hub.py")
        with (
            hub_program.helper_at(address, lambda message: helper.answer(layout, message)),
            hub_program.running(program, port, layout.root),
        ):
            yield site


def _prepare(layout: Layout, port: int) -> None:
    units = layout.on_disk(layout.system_units)
    units.mkdir(parents=True)
    (units / layout.hub_socket).write_text(f"[Socket]\nListenStream=127.0.0.1:{port}\n")
    for each in (layout.state, layout.stacks, place.page_address(layout).parent):
        layout.on_disk(each).mkdir(parents=True, exist_ok=True)
