"""A terminal of a user server, as JupyterLab shows it."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import websocket

from tests.client import Person

_TEXT = websocket.ABNF.OPCODE_TEXT


class Terminal:
    """One websocket to one terminal (terminado's protocol: lists of a kind and a text)."""

    def __init__(self, channel: websocket.WebSocket) -> None:
        self._channel = channel
        self.shown = ""
        """Everything that the terminal has shown."""

    def type(self, text: str) -> None:
        """Type a line, and press Enter."""
        self._channel.send(json.dumps(["stdin", f"{text}\r"]))

    def press(self, key: str) -> None:
        """Press a key, such as Ctrl-C, the character 3."""
        self._channel.send(json.dumps(["stdin", key]))

    def run(self, command: str, *, timeout_s: float = 20) -> str:
        """Type a command for a shell of sh's kind, and return what it prints.

        Raises:
            AssertionError: it has not ended in time.
        """
        mark = uuid.uuid4().hex
        began = len(self.shown)
        # The typed text is shown as well, so it must not contain the marks as they are printed.
        self.type(f"printf '%s%s\\n' {mark[:9]} {mark[9:]}; {command}; echo {mark}'-'end")
        self.await_text(f"{mark}-end\r\n", timeout_s=timeout_s, since=began)
        printed = self.shown[began:].rpartition(f"{mark}-end\r\n")[0]
        return printed.rpartition(f"{mark}\r\n")[2].replace("\r\n", "\n")

    def await_text(self, text: str, *, timeout_s: float = 20, since: int = 0) -> None:
        """Wait until the terminal shows a text.

        Raises:
            AssertionError: it does not in time.
        """
        deadline = time.monotonic() + timeout_s
        while text not in self.shown[since:]:
            self._channel.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                # Unlike `recv`, this returns at each ping, so that the time limit holds.
                opcode, frame = self._channel.recv_data_frame(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise websocket.WebSocketConnectionClosedException("the server has closed it")
                kind, *words = json.loads(frame.data) if opcode == _TEXT else [""]
            except (websocket.WebSocketException, ValueError) as error:
                raise AssertionError(f"no {text!r} in {self.shown[since:]!r}") from error
            if kind == "stdout":
                self.shown += words[0]


@contextlib.contextmanager
def opened(person: Person) -> Iterator[Terminal]:
    """Open a terminal at a person's server; it is closed and ended afterwards."""
    path = f"/user/{person.name}"
    xsrf = {"X-XSRFToken": person._xsrf_token(f"{path}/")}
    answer = person.browser.post(f"{path}/api/terminals", json={}, headers=xsrf)
    assert answer.status_code == 200, answer.text
    name = answer.json()["name"]
    address = urlsplit(person.url)
    channel = websocket.create_connection(
        f"ws://{address.netloc}{path}/terminals/websocket/{name}",
        cookie=person.cookies(f"{path}/terminals/websocket/{name}"),
        origin=person.url,
        timeout=20,
    )
    try:
        yield Terminal(channel)
    finally:
        channel.close()
        person.browser.delete(f"{path}/api/terminals/{name}", headers=xsrf)
