"""Root's helper of the page believes the hub, and nobody else."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups.page import helper
from littlest_hub.stacks.backups.restore.people import Person, above

SCOPE = "access:services!service=backups"


class HubThatAnswers(BaseHTTPRequestHandler):
    """The one address of a hub that the helper asks."""

    def do_GET(self) -> None:
        token = (self.headers["Authorization"] or "").removeprefix("token ")
        found = USERS.get(token) if self.path == "/base/hub/api/user" else None
        self.send_response(200 if found else 403)
        self.end_headers()
        self.wfile.write(json.dumps(found or {}).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


USERS = {
    "token-of-alice": {"name": "alice", "kind": "user", "scopes": [SCOPE]},
    "token-of-a-service": {"name": "announce", "kind": "service", "scopes": [SCOPE]},
    "token-for-others": {"name": "alice", "kind": "user", "scopes": ["read:users"]},
    "token-of-root": {"name": "root", "kind": "user", "scopes": [SCOPE]},
    "token-of-nobody": {"name": "no-such-account", "kind": "user", "scopes": [SCOPE]},
    "token-of-a-path": {"name": "../alice", "kind": "user", "scopes": [SCOPE]},
}


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """An installation whose hub answers."""
    server = HTTPServer(("127.0.0.1", 0), HubThatAnswers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    units = layout.on_disk(layout.system_units)
    units.mkdir(parents=True)
    socket = f"[Socket]\nListenStream=127.0.0.1:{server.server_port}\n"
    (units / layout.hub_socket).write_text(socket)
    yield layout
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("token-of-a-service", "does not know you"),
        ("token-for-others", "does not know you"),
        ("token-that-is-unknown", "does not know you"),
        ("token-of-root", "is an account of the system"),
        ("token-of-nobody", "has no account on this machine"),
        ("token-of-a-path", "is no name of a user"),
        ("short", "no such request"),
        ("with\r\nHeader: injected", "no such request"),
    ],
)
def test_a_token_that_is_not_of_a_visitor_is_refused(layout: Layout, token: str, why: str) -> None:
    request = f"dates\0/base/\0{token}".encode()
    assert why in helper.answer(layout, request, lambda _: None)["refusal"]


@pytest.mark.parametrize("base", ["//evil/", "/a/../", "http://evil/", "/base", "", "/base /"])
def test_no_other_hub_is_asked(layout: Layout, base: str) -> None:
    with pytest.raises(LittlestHubError, match=r"no such request|does not know you"):
        helper.visitor(layout, base, "token-of-alice")


@pytest.mark.parametrize(
    "request_", [b"", b"\xff\xfe", b"dates", b"dates\0/base/", b"x" * (helper.LIMIT_BYTES + 1)]
)
def test_a_request_that_is_none_is_refused(layout: Layout, request_: bytes) -> None:
    assert helper.answer(layout, request_, lambda _: None) == {"refusal": "no such request"}


def test_paths_are_those_of_the_home_alone() -> None:
    person = Person("alice", 1001, 1001, "/home/alice")
    assert person.path_of("") == "/home/alice"
    assert person.path_of("work//plan") == "/home/alice/work/plan"
    assert above("/home/alice", "/home/alice/a/b") == [
        "/home/alice",
        "/home/alice/a",
        "/home/alice/a/b",
    ]
    for hostile in ("..", "a/../../bob", "/home/alicex", "/home/alice/../bob", "a\0"):
        with pytest.raises(LittlestHubError, match="is not in /home/alice"):
            person.path_of(hostile)


def test_permissions_of_the_time_of_the_backup_count() -> None:
    person = Person("alice", 1001, 1001, "/home/alice")
    person.__dict__["groups"] = [1001, 2000]
    assert person.may_read(1001, 5, 0o000)
    assert person.may_read(1002, 5, 0o604)
    assert not person.may_read(1002, 5, 0o640)
    assert person.may_read(1002, 2000, 0o640)
    # A group that may do less than others is less, also here.
    assert not person.may_read(1002, 2000, 0o604)
    assert not person.may_enter(1002, 5, 0o700)
