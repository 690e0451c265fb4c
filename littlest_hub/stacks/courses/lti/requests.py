"""Requests to a learning platform: https only, without redirections, with limits of everything.

This module runs as a user without rights, and believes nothing that the platform sends.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import plain_text
from littlest_hub.stacks.courses.lti.connection import Address
from littlest_hub.system import authorities

TIMEOUT_S = 30
"""Time for which the platform may be silent."""
_ANSWER_S = 120
"""Time limit of an answer."""
_ANSWER_BYTES = 8 << 20
_ATTEMPTS = 4
_LONGEST_PAUSE_S = 60
_SOON = (429, 503)
"""The platform has done nothing, and wants to be asked later."""
_BROKEN = (500, 502, 504)
"""It is unknown whether the platform has done anything."""
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"next"|next(?=[\s,;]|$))', re.IGNORECASE)
_HEADER_BYTES = 8192
_UNTRUSTED = ssl.SSLCertVerificationError


class PlatformError(LittlestHubError):
    """The platform does not do what it was asked for.

    Args:
        message: what it says instead.
        status: of HTTP; 0: it does not answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """An answer of the platform."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Return the JSON that it contains.

        Raises:
            PlatformError: it contains none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise PlatformError(f"the platform's answer is no JSON: {error}") from None

    def following(self, here: Address) -> Address | None:
        """Return the address of the next page (RFC 8288); None: this is the last one.

        Raises:
            LittlestHubError: it is on another host.
        """
        header = ", ".join(self.headers.get_all("Link", []))[:_HEADER_BYTES]
        for found in _LINK.finditer(header):
            if _NEXT.search(found[2]):
                return here.follow(found[1], "the next page")
        return None


class Client:
    """Sends requests, and repeats them if the platform wants to be asked later.

    Args:
        pause: waits for some seconds.
    """

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause
        self._tls = ssl.create_default_context()
        if file := authorities.file():
            self._tls.load_verify_locations(file)
        self._connections: dict[tuple[str, int], http.client.HTTPSConnection] = {}

    def request(
        self,
        method: str,
        address: Address,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        is_repeatable: bool = True,
    ) -> Answer:
        """Return the answer to a request.

        Args:
            method: of HTTP.
            address: where to.
            headers: more of them.
            body: its content; None: it has none.
            is_repeatable: whether it does no harm if the platform gets it twice.

        Raises:
            PlatformError: there is no answer, or it is a refusal.
        """
        if not is_repeatable:
            # The platform may have closed one that is kept, which is seen only when it is used.
            self._forget(address)
        for pause_s in (*_pauses(), None):
            try:
                answer = self._once(method, address, headers, body)
            except (OSError, http.client.HTTPException) as error:
                if pause_s is None or not is_repeatable or isinstance(error, _UNTRUSTED):
                    said = str(error) or type(error).__name__
                    raise PlatformError(f"{address.host} does not answer: {said}") from None
                self._pause(pause_s)
                continue
            if 200 <= answer.status < 300:
                return answer
            is_later = answer.status in _SOON or (is_repeatable and answer.status in _BROKEN)
            if pause_s is None or not is_later:
                raise PlatformError(_refusal(address, answer), answer.status)
            self._pause(_wanted_pause_s(answer) or pause_s)
        raise AssertionError("the last attempt returns or raises")

    def pages(self, address: Address, headers: Mapping[str, str], most: int) -> Iterator[Answer]:
        """Yield the pages of a list.

        Raises:
            PlatformError: as `request`; or there are too many.
            LittlestHubError: a page is on another host.
        """
        seen: set[Address] = set()
        following: Address | None = address
        while following:
            if following in seen or len(seen) >= most:
                raise PlatformError(f"{address.host} has no end of pages")
            seen.add(following)
            answer = self.request("GET", following, headers)
            yield answer
            following = answer.following(following)

    def _once(
        self, method: str, address: Address, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        place = address.host, address.port
        if place not in self._connections:
            host = address.host.strip("[]")
            self._connections[place] = http.client.HTTPSConnection(
                host, address.port, timeout=TIMEOUT_S, context=self._tls
            )
        connection = self._connections[place]
        own = {"User-Agent": "littlest-hub", "Accept-Encoding": "identity"}
        try:
            connection.request(method, address.target, body, {**own, **headers})
            answer = connection.getresponse()
            content = b"".join(_parts(answer, address))
        except BaseException:
            self._forget(address)
            raise
        return Answer(answer.status, answer.headers, content)

    def _forget(self, address: Address) -> None:
        if connection := self._connections.pop((address.host, address.port), None):
            connection.close()


def _pauses() -> Iterator[float]:
    for number in range(_ATTEMPTS - 1):
        yield 2.0**number


def _parts(answer: http.client.HTTPResponse, address: Address) -> Iterator[bytes]:
    deadline = time.monotonic() + _ANSWER_S
    size_bytes = 0
    while part := answer.read1(1 << 16):
        size_bytes += len(part)
        if size_bytes > _ANSWER_BYTES:
            raise PlatformError(f"{address.host} answers with more than {_ANSWER_BYTES >> 20} MB")
        if time.monotonic() > deadline:
            raise PlatformError(f"an answer of {address.host} takes more than {_ANSWER_S} s")
        yield part
    # read1 does not notice the end itself, and the connection is kept only after that.
    answer.read()


def _wanted_pause_s(answer: Answer) -> float:
    """Return how long the platform wants to be left alone; 0: it does not say."""
    text = str(answer.headers.get("Retry-After", ""))[:100].strip()
    found = 0.0
    if text.isascii() and text.isdigit():
        found = float(text[:9])
    elif text:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            found = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(found, 0), _LONGEST_PAUSE_S)


def _refusal(address: Address, answer: Answer) -> str:
    """Return what a refusal says, on one line."""
    said = ""
    with contextlib.suppress(PlatformError):
        found = answer.json()
        if isinstance(found, dict):
            words = [found.get(key) for key in ("error", "error_description", "message", "title")]
            said = plain_text(": ".join(each for each in words if isinstance(each, str)))
    reason = http.client.responses.get(answer.status, "")
    path = address.target.partition("?")[0]
    first = f"{address.host} answers {answer.status} {reason}".strip()
    return f"{first} to {path}" + (f" ({said})" if said else "")
