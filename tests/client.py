"""A simulated user: logs in, starts a server, runs cells, all without a browser.

It does what JupyterHub's and JupyterLab's pages do: cookies, hidden XSRF fields, OAuth redirects, a
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
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import websocket

from tests.eventually import eventually


class RefusedError(AssertionError):
    """The hub refused a request; the message contains its answer."""


class CellError(AssertionError):
    """The cell raised; the message is its traceback."""


class Person:
    """One browser session: `with Person("http://10.1.2.3", "alice", password) as alice:`.

    Args:
        url: the hub's public URL, as typed into the address bar.
        timeout_s: of each single request.
        trusted: a certificate to trust, for HTTPS; or what decides about certificates.
    """

    def __init__(
        self,
        url: str,
        name: str,
        password: str,
        *,
        timeout_s: float = 30,
        trusted: Path | ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._base_path = urlsplit(self.url).path
        self.name = name
        self.password = password
        if not isinstance(trusted, ssl.SSLContext):
            trusted = ssl.create_default_context(cafile=trusted)
        self._trusted = trusted
        self._timeout_s = timeout_s
        self.browser = httpx.Client(
            base_url=self.url,
            follow_redirects=True,
            timeout=timeout_s,
            trust_env=False,
            verify=self._trusted,
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
        """Fill in the login form and go on to the hub's home page, where no server starts.

        Raises:
            RefusedError: the password is wrong, or the user may not use this hub.
        """
        answer = self.try_to_log_in()
        if answer.status_code != 200 or answer.url.path.startswith(f"{self._base_path}/hub/login"):
            raise RefusedError(f"{answer.status_code} {answer.url}: {visible_text(answer)[:300]}")

    def try_to_log_in(self, **more: str) -> httpx.Response:
        """Fill in the login form, and return the page that it leads to.

        Args:
            more: other fields of the form.
        """
        login = f"/hub/login?next={quote(f'{self._base_path}/hub/home', safe='')}"
        form = self.browser.get(login)
        fields = {"username": self.name, "password": self.password, **more}
        fields |= hidden_fields(form)
        return self.browser.post(login, data=fields)

    def start_server(self, *, timeout_s: float = 60, server: str = "", **options: str) -> None:
        """Start the user server, wait until it is ready, and log in to it as the browser does.

        Args:
            timeout_s: the longest time until it is ready.
            server: name of a named server.
            options: fields of the spawner's form, if it has one.

        Raises:
            RefusedError: the hub refused, or the spawn failed.
            NotInTimeError: it did not become ready in time.
        """
        path = f"users/{self.name}/servers/{server}" if server else f"users/{self.name}/server"
        answer = self._api("POST", path, json=options)
        if answer.status_code not in {201, 202}:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        self.await_server(timeout_s=timeout_s, server=server)

    def add_user(self, name: str) -> None:
        """Add a user, as an administrator."""
        assert self._api("POST", f"users/{name}").status_code in {201, 409}

    def start_for(self, user: str) -> int:
        """Start another user's server, as an administrator; return the status of the answer."""
        return self._api("POST", f"users/{user}/server").status_code

    def await_server(self, *, timeout_s: float = 60, server: str = "") -> None:
        """Wait until a server that is already starting is ready, and log in to it.

        Raises:
            RefusedError: the server refused.
            NotInTimeError: it did not become ready in time.
        """
        eventually(lambda: self._is_ready(server), timeout_s, f"{self.name}'s server")
        # Follows redirects to the hub and back, which set the server's own cookies.
        page = self.browser.get(f"{self._server_path(server)}/lab")
        if page.status_code != 200:
            raise RefusedError(f"{page.status_code} {page.url}: {visible_text(page)[:300]}")

    def ask_for_server(self) -> None:
        """Press "Start My Server", and load the page that shows the progress."""
        page = self.browser.get(f"/hub/spawn/{self.name}")
        if page.status_code != 200:
            raise RefusedError(f"{page.status_code} {page.url}: {visible_text(page)[:300]}")

    def progress(
        self, heard: list[dict[str, Any]], *, timeout_s: float = 90, server: str = ""
    ) -> None:
        """Append the progress events of that page to `heard`, until the server is ready or failed.

        Like a browser, connect again when the stream ends early (EventSource,
        https://html.spec.whatwg.org/#server-sent-events).

        Raises:
            ValueError: the hub answers with another status, at which a browser gives up.
            NotInTimeError: neither happened in time.
        """

        def is_over() -> bool:
            with contextlib.suppress(httpx.TransportError):
                for event in self.events(server):
                    heard.append(event)
            return bool(heard) and ("ready" in heard[-1] or "failed" in heard[-1])

        eventually(is_over, timeout_s, f"the end of the progress of {self.name}'s server")

    def events(self, server: str = "") -> Generator[dict[str, Any], None, None]:
        """Yield progress events of that page, until the hub ends the stream."""
        of = f"servers/{server}" if server else "server"
        path = f"/hub/api/users/{self.name}/{of}/progress"
        xsrf = {"_xsrf": self._xsrf_token("/hub/")}
        with self.browser.stream("GET", path, params=xsrf) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{answer.status_code} {path}: a browser gives up")
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def submit_form(self, fields: dict[str, str]) -> None:
        """Fill in the form that the hub shows before a server starts, and press "Start".

        Raises:
            RefusedError: the hub shows no such form, or does not accept what was filled in.
        """
        form = self.browser.get(f"/hub/spawn/{self.name}")
        action = re.search(r'<form[^>]*id="spawn_form"[^>]*action="([^"]+)"', form.text)
        if not action:
            raise RefusedError(f"{form.status_code} {form.url}: {visible_text(form)}")
        data = {**hidden_fields(form), **fields}
        page = self.browser.post(html.unescape(action[1]), data=data)
        if page.status_code != 200 or 'id="spawn_form"' in page.text:
            raise RefusedError(f"{page.status_code} {page.url}: {visible_text(page)[:300]}")

    def sees(self, path: str) -> bool:
        """Return whether the browser gets this page now; False for a broken connection."""
        try:
            return self.browser.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def has_server(self) -> bool:
        """Return whether the user's home page offers to stop the server."""
        return 'id="stop"' in self.browser.get("/hub/home").text

    def stop_server(self, *, server: str = "") -> None:
        """Ask the hub to stop the user server, and wait until it has done so."""
        path = f"users/{self.name}/servers/{server}" if server else f"users/{self.name}/server"
        answer = self._api("DELETE", path)
        if answer.status_code not in {202, 204}:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        if answer.status_code == 202:  # after 10 s, on a busy machine
            eventually(lambda: not self._is_stopping(server), 60, f"the end of {path}")

    def _is_stopping(self, server: str) -> bool:
        servers = self._api("GET", f"users/{self.name}").json().get("servers", {})
        return bool(servers.get(server, {}).get("pending") == "stop")

    def delete_user(self, name: str) -> None:
        """Delete a user, as an administrator does on the admin page."""
        answer = self._api("DELETE", f"users/{name}")
        if answer.status_code != 204:
            raise RefusedError(f"{answer.status_code}: {answer.text}")

    def token(self) -> str:
        """Return a new API token with all of the user's rights."""
        answer = self._api("POST", f"users/{self.name}/tokens", json={})
        if answer.status_code != 201:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        return str(answer.json()["token"])

    def cookies(self, path: str) -> str:
        """Return the Cookie header of a request for `path`, in the order of browsers."""
        path = f"{self._base_path}{path}"
        sent = [c for c in self.browser.cookies.jar if path.startswith(c.path)]
        sent.sort(key=lambda cookie: len(cookie.path), reverse=True)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent)

    def open_shared(self, server: str) -> httpx.Response:
        """Open JupyterLab of somebody else's server, and agree to tell it who one is.

        Args:
            server: OWNER/NAME.
        """
        page = self.browser.get(f"{self._server_path(server)}/lab")
        if "oauth2/authorize" not in str(page.url) or page.status_code != 200:
            return page
        return self.browser.post(str(page.url), data=hidden_fields(page))

    def open_kernel(self, *, server: str = "") -> "Kernel":
        """Start a Python kernel on the running user server and connect to it.

        Args:
            server: the name of one of the user's own, or OWNER/NAME.
        """
        path = self._server_path(server)
        token = self._xsrf_token(f"{path}/")
        answer = self.browser.post(
            f"{path}/api/kernels", json={"name": "python3"}, headers={"X-XSRFToken": token}
        )
        if answer.status_code != 201:
            raise RefusedError(f"{answer.status_code}: {answer.text}")
        return self.connect(answer.json()["id"], server=server)

    def end_kernel(self, kernel_id: str, *, server: str = "") -> None:
        """End a kernel."""
        path = self._server_path(server)
        answer = self.browser.delete(
            f"{path}/api/kernels/{kernel_id}",
            headers={"X-XSRFToken": self._xsrf_token(f"{path}/")},
        )
        if answer.status_code != 204:
            raise RefusedError(f"{answer.status_code}: {answer.text}")

    def connect(self, kernel_id: str, *, server: str = "") -> "Kernel":
        """Open the websocket of a running kernel."""
        session = uuid.uuid4().hex
        path = f"{self._server_path(server)}/api/kernels/{kernel_id}/channels"
        address = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}[address.scheme]
        channels = websocket.create_connection(
            f"{scheme}://{address.netloc}{address.path}{path}?session_id={session}",
            cookie=self.cookies(path),
            origin=f"{address.scheme}://{address.netloc}",
            timeout=self._timeout_s,  # it is accepted once the kernel answers, or 60 s later
            sslopt={"context": self._trusted},
        )
        return Kernel(kernel_id, channels)

    def run_cell(self, code: str, *, timeout_s: float = 60) -> str:
        """Run one cell in a new kernel, and return its output as `Kernel.run` does."""
        with self.open_kernel() as kernel:
            return kernel.run(code, timeout_s=timeout_s)

    def _server_path(self, server: str) -> str:
        owner, _, name = server.rpartition("/")
        return f"/user/{owner or self.name}/{name}".rstrip("/")

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
        """Return the cookie of exactly this path: hub and servers have one of the same name."""
        for cookie in self.browser.cookies.jar:
            if cookie.name == name and cookie.path == f"{self._base_path}{path}":
                return cookie.value
        return None


class Kernel:
    """One websocket to one kernel. Leaving the `with` block closes it; the kernel keeps running.

    A thread reads it all the time, as browsers do: servers close a websocket that does not answer
    pings.
    """

    def __init__(self, id: str, channels: websocket.WebSocket) -> None:
        self.id = id
        self._channels = channels
        self._channels.settimeout(1)  # how often the thread checks whether to end
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
        """Return the next message.

        Raises:
            websocket.WebSocketException: the connection broke, or no message came in time.
        """
        try:
            message = self._received.get(timeout=timeout_s)
        except queue.Empty:
            raise websocket.WebSocketTimeoutException(f"nothing for {timeout_s:g} s") from None
        if isinstance(message, Exception):
            self._received.put(message)  # the connection stays broken
            raise message
        found: dict[str, Any] = json.loads(message)
        return found

    def send(self, code: str) -> str:
        """Send a cell without waiting for its result, and return the id of the request."""
        request_id = uuid.uuid4().hex
        self.tell(execute_request(request_id, code))
        return request_id

    def complete(self, code: str, *, timeout_s: float = 60) -> list[str]:
        """Return the completions that pressing Tab at the end of a cell offers."""
        message = request("complete_request", {"code": code, "cursor_pos": len(code)})
        self.tell(message)
        while True:
            answer = self.receive(timeout_s=timeout_s)
            if answer.get("parent_header", {}).get("msg_id") != message["header"]["msg_id"]:
                continue
            if answer["header"]["msg_type"] == "complete_reply":
                return list(answer["content"]["matches"])

    def run(self, code: str, *, timeout_s: float = 60) -> str:
        """Execute a cell and return the output that a user would see below it.

        Raises:
            CellError: the code raised.
            websocket.WebSocketException: the connection broke, or no message came in time.
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


def execute_request(request_id: str, code: str) -> dict[str, Any]:
    """Return the request to execute a cell, with an id that the caller chooses."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    return request("execute_request", content, request_id)


def request(kind: str, content: dict[str, object], request_id: str = "") -> dict[str, Any]:
    """Return a message of Jupyter's protocol 5.3 (jupyter_client, "Messaging in Jupyter")."""
    request_id = request_id or uuid.uuid4().hex
    return {
        "channel": "shell",
        "header": {
            "msg_id": request_id,
            "msg_type": kind,
            "session": request_id,
            "username": "",
            "date": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
    }


def hidden_fields(page: httpx.Response) -> dict[str, str]:
    """Return the values of a page's hidden fields, by name."""
    tags: Sequence[str] = re.findall(r"<input\b[^>]*>", page.text)
    fields = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in tags]
    return {
        field["name"]: html.unescape(field.get("value", ""))
        for field in fields
        if field.get("type") == "hidden" and "name" in field
    }


def visible_text(page: httpx.Response) -> str:
    """Return the words of a page."""
    unseen = r"<(script|noscript|style|head)\b.*?</\1>|<[^>]+>"
    words = html.unescape(re.sub(unseen, " ", page.text, flags=re.DOTALL)).split()
    return " ".join(words)
