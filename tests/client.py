"""A person with a browser, without the browser: logs in, starts their server, runs cells.

Does what JupyterHub's and JupyterLab's pages do: cookies, hidden XSRF fields, OAuth redirects, a
kernel over a websocket.
"""

import contextlib
import html
import json
import queue
import re
import ssl
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import websocket

from tests.eventually import eventually


class RefusedError(AssertionError):
    """The hub did not let the person do what they asked; the message has its answer."""


class CellError(AssertionError):
    """The cell raised; the message is its traceback."""


class Person:
    """`with Person("http://10.1.2.3", "alice", password) as alice:` one browser session.

    Args:
        url: the hub's public URL, as typed into the address bar.
        timeout_s: of each single request.
        trusted: certificate to believe, where the URL is one of HTTPS.
    """

    def __init__(
        self,
        url: str,
        name: str,
        password: str,
        *,
        timeout_s: float = 30,
        trusted: Path | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._base_path = urlsplit(self.url).path
        self.name = name
        self.password = password
        self._trusted = str(trusted) if trusted else None
        self.browser = httpx.Client(
            base_url=self.url,
            follow_redirects=True,
            timeout=timeout_s,
            trust_env=False,
            verify=ssl.create_default_context(cafile=self._trusted),
        )

    def __enter__(self) -> "Person":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.browser.close()

    def log_in(self) -> None:
        """Fill in the login form, on the way to the hub's own page, where no server is started.

        Raises:
            RefusedError: wrong password, or a person who may not use this hub.
        """
        answer = self.try_to_log_in()
        if answer.status_code != 200 or answer.url.path.startswith(f"{self._base_path}/hub/login"):
            raise RefusedError(f"{answer.status_code} {answer.url}: {_visible_text(answer)}")

    def try_to_log_in(self) -> httpx.Response:
        """The same; returns the page that this leads to."""
        login = f"/hub/login?next={quote(f'{self._base_path}/hub/home', safe='')}"
        form = self.browser.get(login)
        fields = {"username": self.name, "password": self.password, **_hidden_fields(form)}
        return self.browser.post(login, data=fields)

    def start_server(self, *, timeout_s: float = 60, server: str = "", **options: str) -> None:
        """Start the user server, wait until it is ready, and log in to it as the browser does.

        Args:
            timeout_s: until it is ready.
            server: name of a named server.
            options: the spawner's form, where it has one.

        Raises:
            RefusedError: the hub refused, or the spawn failed.
            NotInTimeError: it is not ready yet.
        """
        path = f"users/{self.name}/servers/{server}" if server else f"users/{self.name}/server"
        answer = self._api("POST", path, json=options)
        if answer.status_code not in {201, 202}:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        self.await_server(timeout_s=timeout_s, server=server)

    def await_server(self, *, timeout_s: float = 60, server: str = "") -> None:
        """Wait until their server, which is starting already, is ready, and log in to it.

        Raises:
            RefusedError: the server refused.
            NotInTimeError: it is not ready yet.
        """
        eventually(lambda: self._is_ready(server), timeout_s, f"{self.name}'s server")
        # Answers a chain of redirects to the hub and back that leaves the server's own cookies.
        page = self.browser.get(f"{self._server_path(server)}/lab")
        if page.status_code != 200:
            raise RefusedError(f"{page.status_code} {page.url}: {_visible_text(page)}")

    def ask_for_server(self) -> None:
        """Press "Start My Server", and have the page that says how it goes."""
        page = self.browser.get(f"/hub/spawn/{self.name}")
        if page.status_code != 200:
            raise RefusedError(f"{page.status_code} {page.url}: {_visible_text(page)}")

    def progress(self, heard: list[dict[str, Any]], *, timeout_s: float = 90) -> None:
        """Put what that page hears into a list as it comes, until the server is ready or failed.

        As browsers do, it connects again when the stream ends before (EventSource,
        https://html.spec.whatwg.org/#server-sent-events).

        Raises:
            ValueError: the hub answers something else, after which a browser gives up.
            NotInTimeError: neither has happened.
        """

        def is_over() -> bool:
            with contextlib.suppress(httpx.TransportError):
                for event in self._events():
                    heard.append(event)
            return bool(heard) and ("ready" in heard[-1] or "failed" in heard[-1])

        eventually(is_over, timeout_s, f"the end of the progress of {self.name}'s server")

    def _events(self) -> Iterator[dict[str, Any]]:
        path = f"/hub/api/users/{self.name}/server/progress"
        xsrf = {"_xsrf": self._xsrf_token("/hub/")}
        with self.browser.stream("GET", path, params=xsrf) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{answer.status_code} {path}: a browser gives up")
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def sees(self, path: str) -> bool:
        """Whether the browser gets this page now; a broken connection is a no."""
        try:
            return self.browser.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def has_server(self) -> bool:
        """Whether their own page offers to stop their server."""
        return 'id="stop"' in self.browser.get("/hub/home").text

    def stop_server(self, *, server: str = "") -> None:
        """Stop the user server; returns when the hub has accepted, which may be earlier."""
        path = f"users/{self.name}/servers/{server}" if server else f"users/{self.name}/server"
        answer = self._api("DELETE", path)
        if answer.status_code not in {202, 204}:
            raise RefusedError(f"{answer.status_code}: {answer.text}")

    def delete_user(self, name: str) -> None:
        """Have somebody deleted, as an administrator does on the hub's admin page."""
        answer = self._api("DELETE", f"users/{name}")
        if answer.status_code != 204:
            raise RefusedError(f"{answer.status_code}: {answer.text}")

    def token(self) -> str:
        """A new API token with all of the person's rights."""
        answer = self._api("POST", f"users/{self.name}/tokens", json={})
        if answer.status_code != 201:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        return str(answer.json()["token"])

    def cookies(self, path: str) -> str:
        """The Cookie header of a request for `path`, longest path first as browsers send it."""
        path = f"{self._base_path}{path}"
        sent = [c for c in self.browser.cookies.jar if path.startswith(c.path)]
        sent.sort(key=lambda cookie: len(cookie.path), reverse=True)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent)

    def open_kernel(self, *, server: str = "") -> "Kernel":
        """Start a Python kernel on the running user server and connect to it."""
        path = self._server_path(server)
        token = self._xsrf_token(f"{path}/")
        answer = self.browser.post(
            f"{path}/api/kernels", json={"name": "python3"}, headers={"X-XSRFToken": token}
        )
        if answer.status_code != 201:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        return self.connect(answer.json()["id"], server=server)

    def connect(self, kernel_id: str, *, server: str = "") -> "Kernel":
        """Open the websocket of a kernel that runs already."""
        session = uuid.uuid4().hex
        path = f"{self._server_path(server)}/api/kernels/{kernel_id}/channels"
        address = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}[address.scheme]
        channels = websocket.create_connection(
            f"{scheme}://{address.netloc}{address.path}{path}?session_id={session}",
            cookie=self.cookies(path),
            origin=f"{address.scheme}://{address.netloc}",
            timeout=30,
            sslopt={"ca_certs": self._trusted} if self._trusted else None,
        )
        return Kernel(kernel_id, channels)

    def run_cell(self, code: str, *, timeout_s: float = 60) -> str:
        """Run one cell in a kernel of its own, as `Kernel.run`."""
        with self.open_kernel() as kernel:
            return kernel.run(code, timeout_s=timeout_s)

    def _server_path(self, server: str) -> str:
        return f"/user/{self.name}/{server}".rstrip("/")

    def _is_ready(self, server: str) -> bool:
        answer = self._api("GET", f"users/{self.name}")
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        model = answer.json()["servers"].get(server)
        if model is None:
            raise RefusedError(f"the spawn of {self.name}'s server failed; the hub's log says why")
        return bool(model["ready"])

    def _api(self, method: str, path: str, *, json: object = None) -> httpx.Response:
        if not self._cookie("_xsrf", "/hub/"):
            self.browser.get("/hub/home")
        headers = {"X-XSRFToken": self._xsrf_token("/hub/"), "Referer": f"{self.url}/hub/home"}
        return self.browser.request(method, f"/hub/api/{path}", json=json, headers=headers)

    def _xsrf_token(self, path: str) -> str:
        return self._cookie("_xsrf", path) or ""

    def _cookie(self, name: str, path: str) -> str | None:
        """The cookie of exactly this path: the hub and each server have one of the same name."""
        for cookie in self.browser.cookies.jar:
            if cookie.name == name and cookie.path == f"{self._base_path}{path}":
                return cookie.value
        return None


class Kernel:
    """One websocket to one kernel. Leaving the `with` block closes it; the kernel lives on.

    It is read all the time, as browsers do: a server closes one that does not answer its pings.
    """

    def __init__(self, id: str, channels: websocket.WebSocket) -> None:
        self.id = id
        self._channels = channels
        self._channels.settimeout(1)  # how often to look whether that is all
        self._over = threading.Event()
        self._received: queue.Queue[str | Exception] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._channels.send_close()
        self._reader.join()
        self._channels.shutdown()

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                message = self._channels.recv()
            except websocket.WebSocketTimeoutException:
                continue
            except (OSError, websocket.WebSocketException) as error:
                self._received.put(error)
                break
            if not message:
                closed = websocket.WebSocketConnectionClosedException("the server closed it")
                self._received.put(closed)
                break
            self._received.put(message)

    def tell(self, message: dict[str, object]) -> None:
        """Send one message of Jupyter's protocol."""
        self._channels.send(json.dumps(message))

    def receive(self, *, timeout_s: float = 60) -> dict[str, Any]:
        """The next message.

        Raises:
            websocket.WebSocketException: the connection broke, or nothing came for `timeout_s`.
        """
        try:
            message = self._received.get(timeout=timeout_s)
        except queue.Empty:
            raise websocket.WebSocketTimeoutException(f"nothing for {timeout_s:g} s") from None
        if isinstance(message, Exception):
            self._received.put(message)  # it stays broken
            raise message
        found: dict[str, Any] = json.loads(message)
        return found

    def send(self, code: str) -> str:
        """Have a cell executed without waiting for it; returns the id of the request."""
        request_id = uuid.uuid4().hex
        self.tell(execute_request(request_id, code))
        return request_id

    def run(self, code: str, *, timeout_s: float = 60) -> str:
        """Execute a cell and return what a person would see below it.

        Raises:
            CellError: the code raised.
            websocket.WebSocketException: the connection broke, or nothing came for `timeout_s`.
        """
        request_id = self.send(code)
        output: list[str] = []
        # The answer on the shell channel and the output on the iopub channel come in any order.
        replied = idle = False
        while not (replied and idle):
            message = self.receive(timeout_s=timeout_s)
            if message.get("parent_header", {}).get("msg_id") != request_id:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "error":
                raise CellError("\n".join(content["traceback"]))
            if kind == "stream":
                output.append(content["text"])
            elif kind in {"execute_result", "display_data"}:
                output.append(content["data"]["text/plain"])
            replied = replied or kind == "execute_reply"
            idle = idle or (kind == "status" and content["execution_state"] == "idle")
        return "".join(output)


def execute_request(request_id: str, code: str) -> dict[str, object]:
    """The message, after jupyter_client's "Messaging in Jupyter", protocol 5.3."""
    return {
        "channel": "shell",
        "header": {
            "msg_id": request_id,
            "msg_type": "execute_request",
            "session": request_id,
            "username": "",
            "date": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": True, "allow_stdin": False},
        "buffers": [],
    }


def _hidden_fields(page: httpx.Response) -> dict[str, str]:
    tags: Sequence[str] = re.findall(r"<input\b[^>]*>", page.text)
    fields = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in tags]
    return {
        field["name"]: html.unescape(field.get("value", ""))
        for field in fields
        if field.get("type") == "hidden" and "name" in field
    }


def _visible_text(page: httpx.Response) -> str:
    """A page's words, for an error message."""
    unseen = r"<(script|noscript|style|head)\b.*?</\1>|<[^>]+>"
    words = html.unescape(re.sub(unseen, " ", page.text, flags=re.DOTALL)).split()
    return " ".join(words)[:300]
