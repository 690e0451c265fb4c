"""Documents and files of the web, from addresses that are judged before each request."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.connection import Answer, Connections
from littlest_hub.stacks.launch.resolver.limits import counted

MOST_REDIRECTS = 5
_DOCUMENT_BYTES = 8 << 20
_HEADERS = {"User-Agent": "Littlest Hub"}


class StatusError(LittlestHubError):
    """An answer that is not what was asked for."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{host_of(url)} answers with status {status}", "Try again later")
        self.status = status


class Web:
    """Servers that a record of an archive is fetched from.

    Args:
        connections: how they are reached.
        policy: where nothing may come from. A redirect may not leave it.
    """

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections, self._policy = connections, policy

    def permitted(self, url: str) -> str:
        """Return an address in its one spelling.

        Raises:
            LittlestHubError: nothing may come from there.
        """
        return repository.web_address(url, self._policy)

    @contextlib.contextmanager
    def file(self, url: str, kind: str = "*/*") -> Iterator[Answer]:
        """Ask for a file, and follow redirects to places that people could have named.

        Args:
            url: where it is.
            kind: its media type.

        Raises:
            StatusError: it is not to be had.
            LittlestHubError: the server cannot be reached, or redirects to elsewhere.
        """
        for _ in range(MOST_REDIRECTS + 1):
            permitted = self.permitted(url)
            with self._connections.request(permitted, {**_HEADERS, "Accept": kind}) as answer:
                location = answer.location(permitted)
                if not location:
                    if answer.status != 200:
                        raise StatusError(permitted, answer.status)
                    yield answer
                    return
            url = location
        raise LittlestHubError(f"{host_of(url)} redirects more than {MOST_REDIRECTS} times")

    def document(self, url: str) -> Any:
        """Return a document in JSON.

        Raises:
            StatusError: there is none.
            LittlestHubError: it is something else.
        """
        with self.file(url, "application/json") as answer:
            what = f"the answer of {host_of(url)}"
            data = b"".join(counted(answer.parts(), _DOCUMENT_BYTES, what))
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise LittlestHubError(
                f"{host_of(url)} answers with something else than a record"
            ) from None

    def next_page(self, url: str) -> str:
        """Return where a page redirects to; "": it does not.

        Raises:
            LittlestHubError: the server cannot be reached, or redirects to elsewhere.
        """
        permitted = self.permitted(url)
        with self._connections.request(permitted, {**_HEADERS, "Accept": "*/*"}) as answer:
            location = answer.location(permitted)
        return self.permitted(location) if location else ""


def host_of(url: str) -> str:
    """Return the host of an address, as messages show it."""
    return repr(urlsplit(url).netloc.rpartition("@")[2][:80])
