"""A package index besides its packages: known vulnerabilities, and the hosts of its files.

docs.pypi.org/api/json: INDEX/pypi/NAME/VERSION/json has `vulnerabilities`. The page of a package is
that of PyPA's "Simple repository API".
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from littlest_hub.system import pip

TIMEOUT_S = 10
_AT_ONCE = 8
_BUILD_TOOLS = ("wheel", "setuptools")
_JSON = "application/vnd.pypi.simple.v1+json"
_PAGE_BYTES = 32 << 20


class NoAnswerError(Exception):
    """The index does not answer, or does not know vulnerabilities."""


def vulnerabilities(
    packages: Iterable[tuple[str, str]],
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the index's records for each package that it knows, by name and version.

    Index, proxy and certificates are those of pip's configuration.

    Raises:
        NoAnswerError: it knows none of them, or does not answer.
    """
    options = pip.options()
    address = (options.get("index-url") or pip.default_index()).rstrip("/")
    base = address.removesuffix("/simple")
    asked = list(packages)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(partial(_ask, _opener(options), base), asked))
    found = {
        package: records
        for package, records in zip(asked, answers, strict=True)
        if records is not None
    }
    if asked and not found:
        host = urlsplit(address).hostname or address
        raise NoAnswerError(f"{host} tells no vulnerabilities of these packages")
    return found


def addresses_of_files() -> set[str]:
    """Return some addresses of files to which the index links: they may be on another host.

    The files are those of a package that builds need, so that any useful index has it. If the index
    has none, or does not answer, there are no addresses.
    """
    options = pip.options()
    index = (options.get("index-url") or pip.default_index()).rstrip("/")
    opener = _opener(options)
    for name in _BUILD_TOOLS:
        with contextlib.suppress(NoAnswerError, ValueError, LookupError, TypeError):
            return _linked(*_page(opener, f"{index}/{name}/"))
    return set()


def _page(opener: urllib.request.OpenerDirector, address: str) -> tuple[str, str, bytes]:
    """Return the address, after redirections, the media type, and the content of a page."""
    request = _request(address)
    request.add_header("Accept", f"{_JSON}, text/html;q=0.5")
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            kind = answer.headers.get_content_type()
            return answer.geturl(), kind, answer.read(_PAGE_BYTES)
    except OSError as error:
        raise NoAnswerError(str(error)) from error


def _linked(page: str, kind: str, content: bytes) -> set[str]:
    """Return the addresses of the files on the page of a package."""
    if kind.endswith("+json"):
        links = [str(each["url"]) for each in json.loads(content)["files"]]
    else:
        reader = _Links()
        reader.feed(content.decode(errors="replace"))
        links = reader.found
    return {urljoin(page, each) for each in links}


class _Links(HTMLParser):
    """The links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _opener(options: dict[str, str]) -> urllib.request.OpenerDirector:
    proxy = options.get("proxy")
    proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    context = ssl.create_default_context(cafile=options.get("cert"))
    return urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context))


def _ask(
    opener: urllib.request.OpenerDirector, base: str, package: tuple[str, str]
) -> list[dict[str, Any]] | None:
    """Return what is known of one version; None: the index does not know it."""
    name, version = map(quote, package)
    request = _request(f"{base}/pypi/{name}/{version}/json")
    host = request.host
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            records = json.load(answer).get("vulnerabilities")
            return records if isinstance(records, list) else None
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return None
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoAnswerError(f"{host}: {reason}") from error


def _request(address: str) -> urllib.request.Request:
    """Return a request for an address that may contain a login."""
    place = urlsplit(address)
    request = urllib.request.Request(
        place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()
    )
    if place.username:
        login = f"{place.username}:{place.password or ''}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    return request
