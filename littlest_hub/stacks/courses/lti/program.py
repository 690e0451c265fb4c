"""The program that asks a learning platform: it has the network, and no right, file or key.

Root starts it in a unit of its own. Each line of standard input is a request of root's, each line
of standard output its answer, both as JSON. It ends with its standard input.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import plain_text
from littlest_hub.stacks.courses.lti import people
from littlest_hub.stacks.courses.lti.connection import Address
from littlest_hub.stacks.courses.lti.people import Member
from littlest_hub.stacks.courses.lti.requests import Client, PlatformError

REQUEST_BYTES = 1 << 16
_PAGES = 400
_COLUMNS = 2000
_TOKEN = re.compile(r"[!-~]{1,8192}")
# LTI Names and Role Provisioning Services 2.0; LTI Assignment and Grade Services 2.0.
_MEMBERS = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
_COLUMN_LIST = "application/vnd.ims.lis.v2.lineitemcontainer+json"
_COLUMN = "application/vnd.ims.lis.v2.lineitem+json"
_SCORE = "application/vnd.ims.lis.v1.score+json"


def main() -> None:
    """Answer requests until there are no more."""
    session = Session(Client())
    while line := sys.stdin.buffer.readline(REQUEST_BYTES):
        reply = session.answer(json.loads(line))
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


class Session:
    """The work with one platform.

    Args:
        client: sends requests.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token = ""

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request asks for; return the answer, or what is wrong."""
        work = {
            "token": self._get_token,
            "members": self._members,
            "column": self._column,
            "score": self._score,
        }[request["work"]]
        try:
            return {"answer": work(request)}
        except PlatformError as error:
            return {"problem": error.message, "status": error.status}
        except LittlestHubError as error:
            return {"problem": error.message, "status": 0}

    def _get_token(self, request: Mapping[str, Any]) -> None:
        """Exchange root's statement for an access token (RFC 7523, RFC 6749, 4.4)."""
        wanted = set(request["scopes"])
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": request["statement"],
            "scope": " ".join(request["scopes"]),
        }
        kind = "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind, "Accept": "application/json"}
        address = Address.parse(request["url"], "the token URL")
        # A statement is good for one use.
        answer = self._client.request(
            "POST", address, headers, urlencode(fields).encode(), is_repeatable=False
        )
        found = answer.json()
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise PlatformError(f"{address.host} sends no access token")
        if str(found.get("token_type", "")).lower() != "bearer":
            raise PlatformError(f"{address.host} sends no token of the type Bearer")
        granted = found.get("scope")
        if isinstance(granted, str) and granted and (missing := wanted - {*granted.split()}):
            names = ", ".join(sorted(each.rpartition("/")[2] for each in missing))
            raise PlatformError(f"{address.host} does not permit the hub: {names}")
        self._token = token

    def _members(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the members of the platform's course."""
        address = Address.parse(request["url"], "the members URL")
        found: list[dict[str, Any]] = []
        for rows in self._lists(address, _MEMBERS, "members"):
            for row in rows:
                try:
                    found.append(Member.from_json(row).to_json())
                except ValueError as error:
                    raise PlatformError(f"{address.host}: {error}") from None
            if len(found) > people.MOST:
                raise PlatformError(f"{address.host} names more than {people.MOST} members")
        return found

    def _column(self, request: Mapping[str, Any]) -> str:
        """Return the address of the column with a resource ID, which is made if there is none.

        Of several, it is the one that is known already, or else the first one.
        """
        address = Address.parse(request["url"], "the grades URL")
        wanted, known = request["resource"], request["known"]
        found: list[str] = []
        for rows in self._lists(address.asking(resource_id=wanted), _COLUMN_LIST, ""):
            # A platform may not know the parameter, and name all columns.
            found += [
                _column_id(row, address)
                for row in rows
                if isinstance(row, dict) and row.get("resourceId") == wanted
            ]
            if len(found) > _COLUMNS:
                raise PlatformError(f"{address.host} names more than {_COLUMNS} columns")
        if found:
            return known if known in found else found[0]
        column = {
            "label": request["label"],
            "scoreMaximum": request["maximum"],
            "resourceId": wanted,
        }
        body = json.dumps(column).encode()
        headers = self._headers({"Content-Type": _COLUMN, "Accept": _COLUMN})
        answer = self._client.request("POST", address, headers, body, is_repeatable=False)
        return _column_id(answer.json(), address)

    def _score(self, request: Mapping[str, Any]) -> None:
        """Send the grade of a student."""
        column = Address.parse(request["column"], "the column")
        headers = self._headers({"Content-Type": _SCORE, "Accept": "*/*"})
        body = json.dumps(request["score"]).encode()
        self._client.request("POST", column.below("scores"), headers, body)

    def _lists(self, address: Address, kind: str, key: str) -> Iterator[list[Any]]:
        headers = self._headers({"Accept": kind})
        for page in self._client.pages(address, headers, _PAGES):
            found = page.json()
            rows = found.get(key) if key and isinstance(found, dict) else found
            if not isinstance(rows, list):
                raise PlatformError(f"{address.host} sends no list of {key or 'columns'}")
            yield rows

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", **more}


def _column_id(row: object, address: Address) -> str:
    text = row.get("id") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise PlatformError(f"{address.host} sends no column: {plain_text(repr(row))}")
    return str(address.follow(text, "the column"))


if __name__ == "__main__":
    main()
