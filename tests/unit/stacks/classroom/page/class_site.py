"""A hub with the pages of a class, root's helper for accounts behind it, and browsers."""

from __future__ import annotations

import contextlib
import html
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import helper, table
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.logins import passwords
from littlest_hub.stacks.classroom.logins.people import People, file_of
from tests.network import free_port
from tests.unit.hub import hub_program
from tests.unit.hub.hub_program import xsrf

BASE = Path("/opt/hub-of-a-test-of-a-class")
PAGE = "/hub/class"
PASSWORD = "seven blue umbrellas"
PEOPLE = ("alice", "bob", "dora", "maria")
GROUPS = {
    "chemistry": {"users": ["s01"]},
    "mathematics": {"users": ["dora", "maria"]},
    "physics": {"users": ["bob"]},
}


def address_of(layout: Layout) -> Path:
    """Return where the helper listens in this test."""
    return layout.root / "accounts.socket"


@dataclass(frozen=True)
class Site:
    """A class that alice teaches. PEOPLE have a password; s01 has a code only."""

    url: str
    layout: Layout

    @property
    def people(self) -> People:
        return People(self.layout.on_disk(file_of(self.layout)))


class Browser(httpx.Client):
    """A browser, in which somebody has logged in."""

    def __init__(self, site: Site, name: str) -> None:
        own = {"Sec-Fetch-Site": "same-origin"}
        super().__init__(
            base_url=site.url, follow_redirects=True, trust_env=False, timeout=60, headers=own
        )
        page = self.get("/hub/login?next=/hub/home")
        fields = {"username": name, "password": PASSWORD, "_xsrf": xsrf(page)}
        page = self.post("/hub/login?next=/hub/home", data=fields)
        assert page.is_success, page.text + (site.layout.root / "log").read_text()

    def decide(self, decision: str, **fields: str) -> httpx.Response:
        """Press a button of the page; return the page that follows."""
        whole = {"_xsrf": xsrf(self.get(PAGE)), "decision": decision, **fields}
        return self.post(PAGE, data=whole)

    def about(self, name: str) -> str:
        """Return what the page shows of a person; "": nothing."""
        found = re.search(rf'<li[^>]* data-name="{name}">(.*?)</li>', self.get(PAGE).text, re.S)
        return text_of(found[1]) if found else ""


def text_of(markup: str) -> str:
    """Return the text of markup on one line."""
    main = markup.partition("<main")[2] or f">{markup}"
    text = re.sub(r"<script.*?</script>|<[^>]+>", " ", main.partition(">")[2], flags=re.S)
    return " ".join(html.unescape(text).split())


@contextlib.contextmanager
def running() -> Iterator[Site]:
    """Run the hub and the helper."""
    port = free_port()
    # pytest's directories are too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="class-") as name:
        layout = Layout(BASE, root=Path(name))
        site = Site(f"http://127.0.0.1:{port}", layout)
        _prepare(site, port)
        program = Path(__file__).with_name("class_hub.py")
        with (
            hub_program.helper_at(
                address_of(layout), lambda message: (helper.answer(layout, message), None)
            ),
            hub_program.running(program, port, layout.root),
        ):
            yield site


def _prepare(site: Site, port: int) -> None:
    layout = site.layout
    for each in (layout.system_units, layout.state, layout.stacks, layout.fragments):
        layout.on_disk(each).mkdir(parents=True, exist_ok=True)
    table.directory(layout).mkdir(parents=True)
    unit = layout.on_disk(layout.system_units) / layout.hub_socket
    unit.write_text(f"[Socket]\nListenStream=127.0.0.1:{port}\n")
    (layout.on_disk(layout.fragments) / FRAGMENT).write_text('LOGIN = "sign-up"\n')
    for name in (*PEOPLE, "s01"):
        site.people.grant(name, f"code of {name}")
    stored = passwords.hashed(PASSWORD)
    for name in PEOPLE:
        site.people.use_code(name, f"code of {name}", stored)
