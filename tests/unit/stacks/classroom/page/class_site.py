"""A hub with the pages of a class, root's helper for accounts behind it, and browsers."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import helper, table
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.logins import passwords
from littlest_hub.stacks.classroom.logins.people import People, file_of
from tests.eventually import eventually

REPOSITORY = Path(__file__).parents[5]
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

    def serve(self, listening: socket.socket) -> None:
        """Answer requests of the hub as the helper does, until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    with connection.makefile("rb") as reader:
                        message = reader.read()
                    connection.sendall(json.dumps(helper.answer(self.layout, message)).encode())


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


def xsrf(page: httpx.Response) -> str:
    found = re.search(r'xsrf_token: "([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def text_of(markup: str) -> str:
    """Return the text of markup on one line."""
    main = markup.partition("<main")[2] or f">{markup}"
    text = re.sub(r"<script.*?</script>|<[^>]+>", " ", main.partition(">")[2], flags=re.S)
    return " ".join(html.unescape(text).split())


@contextlib.contextmanager
def running() -> Iterator[Site]:
    """Run the hub and the helper."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # pytest's directories are too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="class-") as name:
        layout = Layout(BASE, root=Path(name))
        site = Site(f"http://127.0.0.1:{port}", layout)
        _prepare(site, port)
        with _helper(site), _hub(site, port):
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


@contextlib.contextmanager
def _helper(site: Site) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address_of(site.layout)))
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
    program = [sys.executable, str(Path(__file__).with_name("class_hub.py"))]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    log = site.layout.root / "log"
    with log.open("w") as opened:
        hub = subprocess.Popen(
            [*program, str(port), str(site.layout.root)],
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
