"""A hub with the page of courses, root's helper behind it, and browsers."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import READY, Course, Student
from littlest_hub.stacks.courses.page import changes, helper
from tests.eventually import eventually

REPOSITORY = Path(__file__).parents[4]
BASE = Path("/opt/hub-of-a-test-of-courses")
PAGE = "/hub/courses"
BOB, CAROL = Student("bob", "Bob", "B"), Student("carol", "Carol", "C")


@dataclass(frozen=True)
class Site:
    """The courses ps131, which alice teaches, and chem1, which dora teaches."""

    url: str
    directory: Path
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

    def serve(self, listening: socket.socket) -> None:
        """Answer requests of the hub as the helper does, until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    with connection.makefile("rb") as reader:
                        message = reader.read()
                    reply, work = helper.answer(self.layout, message)
                    connection.sendall(json.dumps(reply).encode())
                if work:
                    work()


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


def xsrf(page: httpx.Response) -> str:
    found = re.search(r'xsrf_token: "([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def text_of(page: httpx.Response) -> str:
    """Return the text of a page's messages, on one line."""
    found = re.findall(r'class="alert[^>]*>(.*?)</(?:p|div|form)>', page.text, re.DOTALL)
    found += re.findall(r'class="invalid-feedback">(.*?)</div>', page.text, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", " ".join(found))).split())


@contextlib.contextmanager
def running() -> Iterator[Site]:
    """Run the hub and the helper."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # pytest's directories are too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="courses-") as name:
        directory = Path(name)
        layout = Layout(BASE, root=directory)
        site = Site(f"http://127.0.0.1:{port}", directory, layout)
        _prepare(layout, port)
        site.reset()
        with _helper(site), _hub(site, port):
            yield site


def _prepare(layout: Layout, port: int) -> None:
    units = layout.on_disk(layout.system_units)
    units.mkdir(parents=True)
    (units / layout.hub_socket).write_text(f"[Socket]\nListenStream=127.0.0.1:{port}\n")
    for each in (layout.state, layout.stacks, place.page_address(layout).parent):
        layout.on_disk(each).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _helper(site: Site) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(site.layout.on_disk(place.page_address(site.layout))))
        listening.listen()
        serving = threading.Thread(target=site.serve, args=[listening], daemon=True)
        serving.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()


@contextlib.contextmanager
def _hub(site: Site, port: int) -> Iterator[None]:
    program = [sys.executable, str(Path(__file__).with_name("courses_hub.py"))]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    log = site.directory / "log"
    with log.open("w") as opened:
        hub = subprocess.Popen(
            [*program, str(port), str(site.directory)],
            env=environment,
            stdout=opened,
            stderr=opened,
        )
    try:
        eventually(lambda: _answers(site.url, hub, log), 60, "a hub")
        yield
    finally:
        hub.terminate()
        hub.wait()


def _answers(url: str, hub: subprocess.Popen[Any], log: Path) -> bool:
    if hub.poll() is not None:
        raise RuntimeError(log.read_text())
    try:
        return httpx.get(f"{url}/hub/login", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
