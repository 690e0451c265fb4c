"""The services of a learning platform of our own: access tokens, members, a gradebook (LTI 1.3).

No platform that somebody else wrote is small enough to run in a test. This one is written from the
documents of 1EdTech (Security Framework 1.0, 4; Names and Role Provisioning 2.0; Assignment and
Grade 2.0) and from RFC 7523, and checks what they let a platform check. So tests with it show that
we do what we have read, and not that a certain platform reads the same.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

CLIENT_ID = "hub-in-course-7"
DEPLOYMENT = "3"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SCOPES = {
    "members": "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly",
    "columns": "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem",
    "scores": "https://purl.imsglobal.org/spec/lti-ags/scope/score",
}
_DEPLOYMENT_CLAIM = "https://purl.imsglobal.org/spec/lti/claim/deployment_id"
_CONTAINER = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
_COLUMN_LIST = "application/vnd.ims.lis.v2.lineitemcontainer+json"
_COLUMN = "application/vnd.ims.lis.v2.lineitem+json"
_SCORE = "application/vnd.ims.lis.v1.score+json"


def member(user: str, role: str = "Learner", **more: object) -> dict[str, object]:
    """Return a member of the course as the platform describes them."""
    found: dict[str, object] = {
        "user_id": f"id-of-{user}",
        "status": "Active",
        "name": f"{user.capitalize()} of 7",
        "email": f"{user}@example.org",
        "roles": [f"{MEMBERSHIP}#{role}"],
    }
    return {**found, **more}


@dataclass
class Trouble:
    """An answer that the platform gives once in place of its own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    is_done: bool = False
    """Whether the platform does what it was asked for nevertheless."""


class Refusal(Exception):
    """A refusal with a status of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Services:
    """A platform with one course, number 7.

    Args:
        url: its own address.
        keys: returns the public keys of the hub, as it shows them.
        page_size: the number of members, and of columns, on a page.
    """

    def __init__(self, url: str, keys: Callable[[], dict[str, Any]], page_size: int = 2) -> None:
        self.url, self._keys, self._page_size = url, keys, page_size
        self.members: list[dict[str, object]] = []
        self.columns: dict[str, dict[str, Any]] = {}
        self.scores: dict[str, list[dict[str, Any]]] = {}
        """Scores of each column, in the order in which they came."""
        self.troubles: dict[str, list[Trouble]] = {}
        """The next answers by the last part of the path: token, members, columns, scores."""
        self.granted = frozenset(_SCOPES.values())
        self.requests: list[str] = []
        """Method and path of each request."""
        self.tokens: dict[str, set[str]] = {}
        self.delay_s = 0.0
        """Time that the platform takes for a score."""
        self._statements: set[str] = set()
        self._lock = threading.Lock()

    @property
    def options(self) -> list[str]:
        """Options of `course lti connect` for this platform."""
        course = f"{self.url}/course/7"
        return [
            f"--client-id={CLIENT_ID}",
            f"--token-url={self.url}/token",
            f"--members-url={course}/members?kind=all",
            f"--grades-url={course}/columns?type=3",
            f"--deployment-id={DEPLOYMENT}",
        ]

    def grade(self, user: str, label: str) -> dict[str, Any] | None:
        """Return the last score of a user in the column with a label."""
        ids = [id_ for id_, each in self.columns.items() if each["label"] == label]
        found = [
            each
            for id_ in ids
            for each in self.scores.get(id_, [])
            if each["userId"] == f"id-of-{user}"
        ]
        return found[-1] if found else None

    def count(self, request: str) -> int:
        """Return how many requests of a kind there were, as in "POST /token"."""
        return sum(each.startswith(request) for each in self.requests)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the answer to a request."""
        if path.partition("?")[0].endswith("/scores"):
            time.sleep(self.delay_s)
        with self._lock:
            self.requests.append(f"{method} {path}")
            parts = urlsplit(path)
            troubles = self.troubles.get(parts.path.rpartition("/")[2], [])
            trouble = troubles.pop(0) if troubles else None
            if trouble and not trouble.is_done:
                return trouble.status, dict(trouble.headers), trouble.body
            try:
                found = self._answer(method, parts.path, parse_qs(parts.query), headers, body)
            except Refusal as refusal:
                said = json.dumps({"error": str(refusal)}).encode()
                return refusal.status, {"Content-Type": "application/json"}, said
            return (trouble.status, {}, trouble.body) if trouble else found

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, dict[str, str], bytes]:
        if (method, path) == ("POST", "/token"):
            return self._give_token(headers, parse_qs(body.decode()))
        if (method, path) == ("GET", "/course/7/members"):
            self._require("members", headers)
            self._accepts(headers, _CONTAINER)
            rows, more = self._page(self.members, path, query)
            content = {"id": self.url + path, "context": {"id": "7"}, "members": rows}
            return 200, {"Content-Type": _CONTAINER, **more}, json.dumps(content).encode()
        if path == "/course/7/columns":
            self._require("columns", headers)
            if query.get("type") != ["3"]:
                raise Refusal(400, "the type is missing")
            if method == "POST":
                return self._make_column(headers, body)
            self._accepts(headers, _COLUMN_LIST)
            wanted = query.get("resource_id", [""])[0]
            found = [e for e in self.columns.values() if wanted in ("", e.get("resourceId"))]
            rows, more = self._page(found, path, query)
            return 200, {"Content-Type": _COLUMN_LIST, **more}, json.dumps(rows).encode()
        if (found_id := re.fullmatch(r"(/course/7/columns/\d+)/scores", path)) and method == "POST":
            self._require("scores", headers)
            return self._take_score(f"{self.url}{found_id[1]}?type=3", headers, body)
        raise Refusal(404, "nothing is here")

    def _give_token(
        self, headers: Mapping[str, str], fields: Mapping[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        if headers.get("Content-Type") != "application/x-www-form-urlencoded":
            raise Refusal(400, "invalid_request")
        one = {name: values[0] for name, values in fields.items()}
        if one.get("grant_type") != "client_credentials":
            raise Refusal(400, "unsupported_grant_type")
        if one.get("client_assertion_type") != _ASSERTION:
            raise Refusal(400, "invalid_request")
        statement = one["client_assertion"]
        try:
            claims = self._verified(statement)
        except (jwt.PyJWTError, KeyError) as error:
            raise Refusal(401, f"invalid_client: {error}") from error
        self._statements.add(claims["jti"])
        token = secrets.token_urlsafe(24)
        self.tokens[token] = {*one["scope"].split()} & self.granted
        content = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": " ".join(self.tokens[token]),
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def _verified(self, statement: str) -> dict[str, Any]:
        """Return the claims of a statement that this hub has signed, for us, a moment ago."""
        name = jwt.get_unverified_header(statement)["kid"]
        keys = {each["kid"]: each for each in self._keys()["keys"]}
        if name not in keys:
            raise jwt.InvalidKeyError(f"no key {name}")
        needed = ["iss", "sub", "aud", "iat", "exp", "jti"]
        claims: dict[str, Any] = jwt.decode(
            statement,
            jwt.PyJWK(keys[name]),
            algorithms=["RS256"],
            audience=f"{self.url}/token",
            issuer=CLIENT_ID,
            subject=CLIENT_ID,
            options={"require": needed},
        )
        if claims["exp"] - time.time() > 600:
            raise jwt.InvalidTokenError("good for too long")
        if claims["jti"] in self._statements:
            raise jwt.InvalidTokenError("used twice")
        if claims[_DEPLOYMENT_CLAIM] != DEPLOYMENT:
            raise jwt.InvalidTokenError("another deployment")
        return claims

    def _require(self, what: str, headers: Mapping[str, str]) -> None:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refusal(401, "the token has expired")
        if _SCOPES[what] not in self.tokens[token]:
            raise Refusal(403, f"no right to {what}")

    def _accepts(self, headers: Mapping[str, str], kind: str) -> None:
        if headers.get("Accept") != kind:
            raise Refusal(406, f"expected {kind}")

    def _page(
        self, rows: list[dict[str, Any]], path: str, query: Mapping[str, list[str]]
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Return a page of a list, and the header with the address of the next one."""
        begin = int(query.get("begin", ["0"])[0])
        end = begin + self._page_size
        others = [f"{name}={values[0]}" for name, values in query.items() if name != "begin"]
        following = f"{path}?{'&'.join([*others, f'begin={end}'])}"
        # Relative, and beside another one, as RFC 8288 permits.
        link = f'<{path}>; rel="first", <{following}>; rel="next"'
        return rows[begin:end], {"Link": link} if end < len(rows) else {}

    def _make_column(
        self, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        column = json.loads(body)
        if headers.get("Content-Type") != _COLUMN or not column["scoreMaximum"] > 0:
            raise Refusal(400, "no column")
        column["id"] = f"{self.url}/course/7/columns/{len(self.columns) + 1}?type=3"
        self.columns[column["id"]] = column
        return 201, {"Content-Type": _COLUMN}, json.dumps(column).encode()

    def _take_score(
        self, column: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        score = json.loads(body)
        if column not in self.columns:
            raise Refusal(404, "no such column")
        if headers.get("Content-Type") != _SCORE:
            raise Refusal(415, f"expected {_SCORE}")
        if score["userId"] not in {each["user_id"] for each in self.members}:
            raise Refusal(422, "no such user")
        needed = {"timestamp", "scoreGiven", "scoreMaximum", "activityProgress", "gradingProgress"}
        if not needed <= score.keys():
            raise Refusal(400, "no score")
        self.scores.setdefault(column, []).append(score)
        return 204, {}, b""


@contextmanager
def serving(services: Services, certificate: Path, key: Path) -> Iterator[None]:
    """Serve a platform at its address for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = services.answer(self.command, self.path, dict(self.headers), body)
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    address = urlsplit(services.url)
    server = ThreadingHTTPServer((address.hostname or "", address.port or 443), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
