"""The hosts of an index's files."""

import http.server
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from littlest_hub.system.package_index import addresses_of_files

HTML = b"""<!DOCTYPE html><a href="../../files/wheel-1-py3-none-any.whl#sha256=00">wheel</a>
<a href="https://files.example.org/wheel-2-py3-none-any.whl">wheel</a><a>no link</a>"""
JSON = (
    b'{"files": [{"url": "https://files.example.org/wheel-2.whl"}, {"url": "/here/wheel-1.whl"}]}'
)


class Index(http.server.BaseHTTPRequestHandler):
    """Answers with the pages that a test has put there."""

    pages: ClassVar[dict[str, tuple[str, bytes]]] = {}
    logins: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.logins.append(self.headers["Authorization"])
        kind, content = self.pages.get(self.path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an index, as in a browser; pip's configuration has it with a login."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@{host}/simple")
        yield f"http://{host}"
        server.shutdown()
    Index.pages, Index.logins = {}, []


def test_the_links_of_an_index_in_html_and_in_json_are_found(address: str) -> None:
    Index.pages = {"/simple/wheel/": ("text/html", HTML)}
    assert addresses_of_files() == {
        f"{address}/files/wheel-1-py3-none-any.whl#sha256=00",
        "https://files.example.org/wheel-2-py3-none-any.whl",
    }
    assert Index.logins == ["Basic bWU6c2VjcmV0"]
    # An index without the one has the other.
    Index.pages = {"/simple/setuptools/": ("application/vnd.pypi.simple.v1+json", JSON)}
    found = {"https://files.example.org/wheel-2.whl", f"{address}/here/wheel-1.whl"}
    assert addresses_of_files() == found


@pytest.mark.parametrize("content", [b"[]", b"{}", b"{"])
def test_an_index_that_answers_nonsense_links_to_nothing(address: str, content: bytes) -> None:
    Index.pages = {"/simple/wheel/": ("application/vnd.pypi.simple.v1+json", content)}
    assert addresses_of_files() == set()


def test_an_index_that_does_not_answer_links_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert addresses_of_files() == set()
