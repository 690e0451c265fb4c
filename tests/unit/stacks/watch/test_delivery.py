"""Messages by webhook, to a real server; mail is tried on a machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.watch.delivery import post
from littlest_hub.stacks.watch.probes import age
from tests.network import free_port


class Hook(BaseHTTPRequestHandler):
    """Keeps what is sent to /secret, and refuses the rest."""

    received: list[dict[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/secret":
            self.received.append(json.loads(body))
        self.send_response(200 if self.path == "/secret" else 403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    received: list[dict[str, str]] = []
    handler = type("Handler", (Hook,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_gets_title_and_text(
    hook: tuple[str, list[dict[str, str]]], tmp_path: Path
) -> None:
    address, received = hook
    post(f"{address}/secret", "1 problem", "disk: full\n")
    file = tmp_path / "address"
    file.write_text(f"{address}/secret\n")
    post(str(file), "1 warning", "")
    assert received == [{"text": "1 problem\n\ndisk: full\n"}, {"text": "1 warning\n\n"}]


@pytest.mark.parametrize("path", ["/other?key=hidden", ""])
def test_a_refusal_is_reported_without_the_address(
    hook: tuple[str, list[dict[str, str]]], path: str
) -> None:
    address = f"{hook[0]}{path}" if path else f"http://127.0.0.1:{free_port()}/hidden"
    with pytest.raises(LittlestHubError) as refused:
        post(address, "title", "text")
    assert "hidden" not in str(refused.value)
    assert refused.value.message.startswith("webhook: ")


def test_a_file_without_an_address_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "address"
    with pytest.raises(LittlestHubError, match="No such file"):
        post(str(file), "", "")
    file.write_text("file:///etc/passwd\n")
    with pytest.raises(LittlestHubError, match="contains no web address"):
        post(str(file), "", "")


@pytest.mark.parametrize(
    ("version", "severity"),
    [("2026.11.0", "ok"), ("2026.2.3", "warning"), ("2025.12.0", "warning"), ("2027.1.0", "ok")],
)
def test_a_release_is_old_after_nine_months(version: str, severity: str) -> None:
    november = 1795000000.0
    assert [each.severity for each in age(version, november)] == [severity]
