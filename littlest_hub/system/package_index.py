"""Vulnerabilities that a package index knows, by its JSON interface beside pip's simple one.

docs.pypi.org/api/json: INDEX/pypi/NAME/VERSION/json has `vulnerabilities`.
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
from typing import Any
from urllib.parse import quote, urlsplit

from littlest_hub.system import pip

TIMEOUT_S = 10
_AT_ONCE = 8


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


def _opener(options: dict[str, str]) -> urllib.request.OpenerDirector:
    proxy = options.get("proxy")
    proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    context = ssl.create_default_context(cafile=options.get("cert"))
    return urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context))


def _ask(
    opener: urllib.request.OpenerDirector, base: str, package: tuple[str, str]
) -> list[dict[str, Any]] | None:
    """Return what is known of one version; None: the index does not know it."""
    place = urlsplit(base)
    host = place.netloc.rpartition("@")[2]
    name, version = map(quote, package)
    address = place._replace(netloc=host, path=f"{place.path}/pypi/{name}/{version}/json").geturl()
    request = urllib.request.Request(address)
    if place.username:
        login = f"{place.username}:{place.password or ''}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
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
