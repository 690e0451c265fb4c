"""The steps of a try on a booted hub: each returns what was wrong, or "" if nothing was."""

import base64
import contextlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.client import Person
from tests.eventually import NotInTimeError, eventually
from tests.fuzz import scene
from tests.fuzz.pieces import IMPORTS, Piece
from tests.hub import Hub

TOKEN = "0123456789abcdef" * 4
FRAGMENT, LAST = "60-fuzz.py", "99-fuzz.py"
# A service whose token the trials use, short times until a start fails, and, on the login page,
# what the fragment has read.
EPILOGUE = f"""
import base64, json
for _key in ("start_timeout", "http_timeout"):
    c.Spawner.setdefault(_key, 10)
c.JupyterHub.services.append({{"name": "fuzz", "api_token": "{TOKEN}"}})
c.JupyterHub.load_roles.append({{"name": "fuzz", "services": ["fuzz"], "scopes": [
    "admin:users", "admin:servers", "list:users", "read:hub"]}})
_seen = "FUZZ-SEEN:" + base64.b64encode(json.dumps(c.Fuzz.seen).encode()).decode() + ":"
print(_seen)
c.JupyterHub.template_vars = {{"announcement": _seen, "announcement_login": _seen}}
del c["Fuzz"]
"""
_SEEN = re.compile(r"FUZZ-SEEN:([\w+/=]*):")
# Environment, command and user of the server of $1, as JSON.
_SERVER = """
import json, os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/environ", errors="replace") as file:
            variables = dict(each.split("=", 1) for each in file.read().split("\\0") if "=" in each)
        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
            words = file.read().split("\\0")
    except OSError:
        continue
    if variables.get("JUPYTERHUB_USER") == sys.argv[1] and "JUPYTERHUB_SERVICE_URL" in variables:
        print(json.dumps({"variables": variables, "words": words}))
        break
"""


@dataclass(frozen=True)
class Check:
    """The answer of `littlest-hub check`."""

    code: int
    said: str
    seen: list[str]
    """Values that the fragment has read."""
    problems: dict[int, str]
    """The first error of each statement, by its index."""
    is_elsewhere: bool
    """Whether another fragment's line has an error."""
    warned: frozenset[int]
    """Indexes of the statements with a warning."""


@dataclass(frozen=True)
class ServerProcess:
    """A user server as it runs."""

    variables: dict[str, str]
    words: list[str]


class Trial:
    """One hub, in a scene, with one generated fragment after another."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.machine = hub.machine
        self._first_lines: list[int] = []
        self._drop_in = str(hub.layout.hub_drop_ins / "60-fuzz.conf")
        self._unit: dict[str, str] = {}
        """The drop-in and the files that it names, with their contents."""
        self._is_unit_changed = False
        self._base = ""
        self._sysctls: dict[str, str] = {}
        """Those that are set, NAME=VALUE, with the values of before."""

    # --- the fragment

    def set_up(self) -> None:
        self.hub.write_fragment(LAST, EPILOGUE)
        self.write([])
        self.hub.reload()  # with a check: that the hub may be reloaded

    def tear_down(self) -> None:
        self._set(set())
        paths = [str(self.hub.layout.fragments / name) for name in (FRAGMENT, LAST)]
        self.machine.run(["rm", "-f", *paths, self._drop_in])
        self.machine.run(["rmdir", "--ignore-fail-on-non-empty", str(Path(self._drop_in).parent)])
        self.machine.systemctl("daemon-reload")
        scene.restart(self.hub)
        eventually(self.hub.answers, 30, "the hub to answer again")

    def write(self, pieces: Sequence[Piece]) -> None:
        """Write a fragment of these statements, with their files and drop-ins."""
        text = f"{IMPORTS}c.Fuzz.seen = FUZZ_SEEN = []\n"
        self._first_lines = []
        for piece in pieces:
            self._first_lines.append(text.count("\n") + 1)
            text += f"{piece.text}\n"
        self._set({piece.sysctl for piece in pieces if piece.sysctl})
        drop_in = "".join(f"{piece.drop_in}\n" for piece in pieces if piece.drop_in)
        unit = {self._drop_in: f"[Service]\n{drop_in}"}
        for piece in pieces:
            unit.update(piece.files)
        if unit != self._unit:
            for path, content in unit.items():
                self.machine.put(path, content)
            self.machine.systemctl("daemon-reload")
            self._unit, self._is_unit_changed = unit, True
        self.hub.write_fragment(FRAGMENT, text)

    def _set(self, sysctls: set[str]) -> None:
        """Set values of the kernel, and those that are set no longer as they were."""
        for sysctl in sorted({*sysctls, *self._sysctls}):
            name, _, value = sysctl.partition("=")
            path = f"/proc/sys/{name.replace('.', '/')}"
            before = self._sysctls.pop(sysctl, None)
            if sysctl in sysctls:
                self._sysctls[sysctl] = before or self.machine.read(path)
            self.machine.run(
                ["sh", "-c", 'cat >"$0"', path],
                input=value if sysctl in sysctls else before,
            )

    def forget(self) -> None:
        """Return to no fragment, after one that the hub has not survived."""
        self.write([])
        scene.restart(self.hub)
        eventually(self.hub.answers, 30, "the hub to answer again")

    # --- steps

    def check(self) -> Check:
        done = self.machine.run([self.hub.path("hub/bin/littlest-hub"), "check"], check=False)
        said = done.stdout + done.stderr
        problems: dict[int, str] = {}
        warned = set()
        for number, text in re.findall(rf"{FRAGMENT}:(\d+): (.*)", said):
            index = sum(first <= int(number) for first in self._first_lines) - 1
            if index < 0:
                continue
            if text.startswith("warning:"):
                warned.add(index)
            else:
                problems.setdefault(index, text)
        if done.returncode == 0 or problems:
            said_of_it = "\n".join(line for line in said.splitlines() if FRAGMENT in line)
        else:
            said_of_it = said
        others = set(re.findall(r"/([^/\s]+\.py):\d+: (?!warning:)", said)) - {FRAGMENT, LAST}
        return Check(
            done.returncode, said_of_it, _seen(said), problems, bool(others), frozenset(warned)
        )

    def reload(self) -> str:
        """Reload the hub; restart it instead if the answer is that only this applies a change."""
        if not self._is_unit_changed:
            # `systemctl reload` would only repeat the check, which takes as long as the reload.
            return self.reload_unchecked()
        self._is_unit_changed = False
        if self.hub.reload(check=False).returncode == 0:
            return ""
        said = self._status()
        restart = ("restart", self.hub.layout.hub_service)
        if f"systemctl {' '.join(restart)}" not in said:
            return said
        is_restarted = self.machine.systemctl(*restart, check=False).returncode == 0
        return "" if is_restarted else self._status()

    def reload_unchecked(self) -> str:
        """Make the hub's supervisor load the fragments, as a reload does after its check."""
        outcome = str(self.hub.layout.reload_outcome)

        def read() -> str:
            return self.machine.run(["cat", outcome], check=False).stdout

        before = read()
        self.machine.run(["sh", "-c", 'kill -HUP "$1"', "sh", str(self.hub.main_pid())])
        eventually(lambda: read() not in ("", before), 60, "the reload to end")
        return str(json.loads(read())["reason"])

    def boot(self) -> str:
        """Stop all units, forget /run, and start them."""
        scene.restart(self.hub)
        needed = (self.hub.layout.proxy_service, self.hub.layout.hub_service)
        is_active = self.machine.systemctl("is-active", *needed, check=False).returncode == 0
        return "" if is_active else self._status()

    def _status(self) -> str:
        show = ["status", "--full", "--no-pager", "--lines=10", self.hub.layout.hub_service]
        said = self.machine.systemctl(*show, check=False).stdout
        return "\n".join(re.findall(r"(?m)^ +(?:Status|Active): .*|^\w{3} \d\d .*", said))

    def page(self, wanted: Sequence[str]) -> str:
        """Get the login page; the fragment must have read the same as in the check."""
        status = re.search(r"https?://[^/\s]+(/\S*?)(?:hub/)?$", self.hub.status())
        self._base = status[1].rstrip("/") if status else ""

        def page() -> httpx.Response:
            try:
                answer = self._request("GET", "/hub/login")
            except httpx.HTTPError as error:
                raise AssertionError(repr(error)) from error
            assert answer.status_code < 500, f"{answer.status_code} {answer.text[:300]}"
            return answer

        try:
            seen = _seen(eventually(page, 8, "a login page").text)
        except NotInTimeError as error:
            return str(error)
        return f"the check read {wanted}, the hub {seen}" if seen and seen != wanted else ""

    def log_in(self) -> str:
        """Log in with a password: it may be refused, but must not fail."""
        try:
            with Person(self.hub.url + self._base, scene.SOMEBODY, scene.PASSWORD) as person:
                person.browser = self._client(base_url=person.url)
                answer = person.try_to_log_in()
        except httpx.HTTPError as error:
            return repr(error)
        return _error(answer, 500)

    def add_user(self, name: str) -> str:
        """Add a user whose account the hub is to create."""
        try:
            answer = self._request("POST", f"/hub/api/users/{name}")
            self._request("DELETE", f"/hub/api/users/{name}")
        except httpx.HTTPError as error:
            return repr(error)
        finally:
            self.machine.run(["userdel", "--force", "--remove", name], check=False)
        return _error(answer)

    def start(self, name: str) -> tuple[str, ServerProcess | None]:
        """Start and stop a user's server; return also what ran in between."""
        path = f"/hub/api/users/{name}"
        try:
            self._request("POST", path)
            why = _error(self._request("POST", f"{path}/server", json={}))
            if not why:
                eventually(lambda: self._is_settled(path), 15, "the server to start")
                if not self._request("GET", path).json().get("server"):
                    why = "the start failed, without an answer"
            return why, None if why else self._server(name)
        except (httpx.HTTPError, NotInTimeError) as error:
            return repr(error), None
        finally:
            with contextlib.suppress(httpx.HTTPError):
                self._request("DELETE", f"{path}/server")

    def _is_settled(self, path: str) -> bool:
        return not self._request("GET", path).json().get("pending")

    def _server(self, name: str) -> ServerProcess | None:
        python = self.hub.path("hub/bin/python3")
        found = self.machine.run([python, "-I", "-c", _SERVER, name], check=False).stdout
        return ServerProcess(**json.loads(found)) if found else None

    def existing(self, paths: Sequence[str]) -> set[str]:
        script = 'for path; do [ ! -e "$path" ] || echo "$path"; done'
        return set(self.machine.run(["sh", "-c", script, "sh", *paths]).stdout.splitlines())

    def _client(self, **options: Any) -> httpx.Client:
        # The certificates of the scene are self-signed.
        return httpx.Client(
            verify=False, trust_env=False, timeout=25, follow_redirects=True, **options
        )

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"token {TOKEN}"} if "/api/" in path else {}
        with self._client(headers=headers) as client:
            return client.request(method, f"{self.hub.url}{self._base}{path}", **options)


def _error(answer: httpx.Response, least: int = 400) -> str:
    if answer.status_code < least:
        return ""
    text = re.sub(r"<(script|style|head)\b.*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return f"{answer.status_code} {' '.join(html.unescape(text).split())}"


def _seen(text: str) -> list[str]:
    found = _SEEN.search(text)
    return list(json.loads(base64.b64decode(found[1]))) if found else []
