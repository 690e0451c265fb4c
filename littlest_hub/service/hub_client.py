"""The hub's API, for a stack's program that serves no requests, with the token of its service."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError

_TIMEOUT_S = 30
_LIMIT_BYTES = 64 << 20
_PAGE = 200
"""Number of users in one answer; it is the most that the hub allows by default."""
_PAGINATION = "application/jupyterhub-pagination+json"
_PROBE = "/littlest-hub-base-url"


class HubClient:
    """Asks the hub, at its own address.

    The hub's base_url is a setting of fragments, which a unit does not know. But the hub redirects
    an unknown path to one below it, so the answer contains it.

    Args:
        address: host and port of the hub.
        token: of the service.
    """

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address, token
        self._prefix = ""

    def get(self, path: str, accept: str = "*/*") -> bytes:
        """Return what is at a path below the hub's prefix.

        Raises:
            LittlestHubError: the hub does not answer, or refuses.
        """
        if not self._prefix:
            location = self._request(_PROBE, accept)[1]
            self._prefix = urlsplit(location).path.removesuffix(_PROBE).rstrip("/")
        status, _, body = self._request(f"{self._prefix}/{path}", accept)
        if status != 200:
            self._prefix = ""  # it may have changed
            raise LittlestHubError(f"the hub answers {status} to {path.partition('?')[0]}")
        return body

    def get_json(self, path: str, accept: str = "application/json") -> Any:
        """Return the JSON at a path below the hub's prefix.

        Raises:
            LittlestHubError: the hub does not answer, refuses, or sends no JSON.
        """
        try:
            return json.loads(self.get(path, accept))
        except ValueError as error:
            raise LittlestHubError(f"the hub's answer to {path} is no JSON: {error}") from error

    def users(self, state: str = "") -> list[dict[str, Any]]:
        """Return all users, or those in a state.

        Args:
            state: "active": users with a server that runs or starts.

        Raises:
            LittlestHubError: as `get_json`.
        """
        query = f"limit={_PAGE}" + (f"&state={state}" if state else "")
        found: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            answer = self.get_json(f"api/users?{query}&offset={offset}", _PAGINATION)
            try:
                found += answer["items"]
                following = answer["_pagination"]["next"]
                offset = int(following["offset"]) if following else None
            except (KeyError, TypeError, ValueError) as error:
                raise LittlestHubError("the hub's list of users has another format") from error
        return found

    def _request(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Return status, location and content of an answer.

        Raises:
            LittlestHubError: there is none.
        """
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"token {self._token}", "Accept": accept}
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(_LIMIT_BYTES)
            return answer.status, answer.headers.get("Location", ""), body
        except (OSError, http.client.HTTPException) as error:
            raise LittlestHubError(f"the hub does not answer: {error}") from error
        finally:
            connection.close()
