"""The user server's client for the hub: tornado's instead of aiohttp, for jupyterhub.httpclient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

_TIMEOUT_S = 300
"""aiohttp's default."""


class Response:
    """The part of aiohttp's response that jupyterhub.services.auth and .singleuser use."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = int(response.code)
        self.headers = response.headers
        self._body: bytes = response.body

    async def text(self) -> str:
        return self._body.decode(errors="replace")


async def fetch(
    url: str,
    *,
    method: str = "GET",
    raise_for_status: bool = True,
    headers: Mapping[str, str] | None = None,
    data: str | bytes | None = None,
    ssl: Any = None,
    **others: Any,
) -> Any:
    """Do what jupyterhub.httpclient.fetch does, which still handles unusual arguments.

    Raises:
        tornado.httpclient.HTTPError: with `raise_for_status`, the response is an error.
        OSError: there is no response.
    """
    if others or not url.startswith(("http://", "https://")):
        from jupyterhub.httpclient import fetch as upstream_fetch

        others |= {"headers": headers, "data": data, "ssl": True if ssl is None else ssl}
        return await upstream_fetch(url, method=method, raise_for_status=raise_for_status, **others)
    request = HTTPRequest(
        url,
        method=method,
        headers=dict(headers or {}),
        body=data,
        ssl_options=ssl,
        connect_timeout=_TIMEOUT_S,
        request_timeout=_TIMEOUT_S,
        allow_nonstandard_methods=True,
    )
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        return Response(await client.fetch(request, raise_error=raise_for_status))
    finally:
        client.close()
