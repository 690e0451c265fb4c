"""Requests that another site caused: what such a request may do, and how it is recognized.

A link or form on any page of the web makes a browser send a request with the user's cookies.
JupyterHub's XSRF tokens protect POST; this module protects what JupyterHub does in answer to GET
(start a server, log out), and logins. The rules: docs/reference/security.md.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tornado.escape import xhtml_escape

SITE_COOKIE = "littlest-hub-site"
"""Cookie with SameSite=Strict: a browser sends it only with requests that this site caused, or the
user. Over plain HTTP, browsers send no Sec-Fetch-Site."""
LOGIN_COOKIE = "littlest-hub-login"
"""Cookie of a browser that this hub has sent to an identity provider, until it is back."""
LOGIN_TIMEOUT_S = 900
"""Time within which a login at an identity provider counts as begun by this hub."""
OPTIONS_COOKIE = "littlest-hub-options"
"""Signed cookie with an address, options included, for which a user has to log in. It is set only
if this hub, its user, or a trusted site has requested the address."""
_LONGEST_ADDRESS = 2048
_TICKET, _TICKET_AGE_DAYS = "ticket", 60 / 86400


class Site(Enum):
    """The site that caused a request."""

    OWN = "this hub, or the user: typed, a bookmark, another program"
    OTHER = "another site"
    UNKNOWN = "nothing in the request tells"


def site_of(
    headers: Mapping[str, str],
    hosts: Collection[str],
    *,
    trusted: Collection[str] = (),
    has_site_cookie: bool = False,
) -> Site:
    """Return the site that caused a request.

    Args:
        headers: of the request.
        hosts: the hub's own addresses, as in the Host header.
        trusted: origins of other sites whose requests count as the hub's own.
        has_site_cookie: whether `SITE_COOKIE` came with the request.
    """
    source = headers.get("Origin") or headers.get("Referer") or ""
    parts = urlsplit(source)
    if source and f"{parts.scheme}://{parts.netloc}".lower() in trusted:
        return Site.OWN
    # It covers every address of a chain of redirects: Fetch Metadata Request Headers (W3C), 2.3.
    if declared := headers.get("Sec-Fetch-Site"):
        return Site.OWN if declared in ("same-origin", "none") else Site.OTHER
    if source:
        return Site.OWN if parts.netloc.lower() in hosts else Site.OTHER
    return Site.OWN if has_site_cookie else Site.UNKNOWN


def refusal(headers: Mapping[str, str], host: str) -> str:
    """Return why a login form is refused, and what to do if a proxy in front is the cause."""
    source = headers.get("Origin") or headers.get("Referer") or "another site"
    reason = f"Login form of {source}, not of {host}. Try again."
    if "Sec-Fetch-Site" in headers:
        return reason  # the browser itself has compared the two
    if source == "null":
        return (
            "The browser does not say where the login form comes from (Origin: null). If it is this"
            " hub's own, a proxy in front sends the header Referrer-Policy: no-referrer: the"
            " administrator has to change it to same-origin there (how-to/behind-nginx)."
        )
    return (
        f"{reason} If it is this hub's own, a proxy in front has changed the header Host: the"
        " administrator has to pass it on as sent (nginx: proxy_set_header Host $http_host;), or"
        " set c.JupyterHub.public_url (how-to/behind-nginx)."
    )


def without_options(url: str, hub_path: str) -> str:
    """Return a URL; if it is one that starts a server of this hub, then without options.

    Args:
        url: any URL.
        hub_path: the path of the hub's pages: "/hub/".
    """
    parts = urlsplit(url)
    # As a browser resolves it, which knows "%2e" as a dot (URL Standard, 4.4).
    path = "/" + posixpath.normpath(unquote(parts.path)).lstrip("/")
    if not f"{path}/".startswith(f"{hub_path}spawn/"):
        return url
    kept = [item for item in parse_qsl(parts.query) if item[0] in ("next", "display_name")]
    return parts._replace(query=urlencode(kept)).geturl()


# --- of a request handler of JupyterHub


def hosts(handler: Any) -> set[str]:
    """Return the hub's own addresses, as in the Host header."""
    request = handler.request
    # Set by proxies only: a page cannot make a browser send it without asking this hub before.
    forwarded = request.headers.get("X-Forwarded-Host", "").partition(",")[0]
    public = handler.settings.get("public_url")
    found = {request.host, forwarded.strip(), public.netloc if public else ""}
    return {each.lower() for each in found if each}


def site(handler: Any) -> Site:
    """Return the site that caused the request of a handler."""
    return site_of(
        handler.request.headers,
        hosts(handler),
        trusted=handler.settings["request_policy"].trusted_origins,
        has_site_cookie=bool(handler.get_cookie(SITE_COOKIE)),
    )


def is_own(handler: Any) -> bool:
    """Return whether this hub or its user certainly caused the request."""
    return site(handler) is Site.OWN


def set_site_cookie(handler: Any) -> None:
    """Make the browser tell this hub's requests from those of other sites."""
    if not handler.get_cookie(SITE_COOKIE):
        path = handler.hub.base_url
        handler._set_cookie(SITE_COOKIE, "1", encrypted=False, path=path, samesite="Strict")


def login_begins(handler: Any) -> None:
    """Remember whether this hub itself sends the browser to an identity provider."""
    path = handler.hub.base_url
    if is_own(handler):
        options = {"path": path, "samesite": "Lax", "max_age": LOGIN_TIMEOUT_S}
        handler._set_cookie(LOGIN_COOKIE, "1", encrypted=False, **options)
    elif handler.get_cookie(LOGIN_COOKIE):
        handler.clear_cookie(LOGIN_COOKIE, path=path)


def remember_options(handler: Any) -> None:
    """Keep the options of a request until the user has logged in."""
    uri = handler.request.uri
    has_options = without_options(uri, handler.hub.base_url) != uri
    if has_options and is_own(handler) and len(uri) < _LONGEST_ADDRESS:
        options = {"path": handler.hub.base_url, "samesite": "Lax", "max_age": LOGIN_TIMEOUT_S}
        handler._set_cookie(OPTIONS_COOKIE, uri, expires_days=None, **options)


def accepted_address(handler: Any, url: str) -> str:
    """Return an address to go on to, without options unless `remember_options` has kept them."""
    kept = handler.get_secure_cookie(OPTIONS_COOKIE, max_age_days=LOGIN_TIMEOUT_S / 86400)
    if kept and kept.decode() == url:
        return url
    return without_options(url, handler.hub.base_url)


def has_begun_login(handler: Any) -> bool:
    """Return whether the browser is back from an identity provider that this hub sent it to."""
    return bool(handler.get_cookie(LOGIN_COOKIE))


def continue_here(handler: Any, url: str, *, ticket_for: str | None = None) -> None:
    """Answer a completed login with a page of this hub that goes on to a URL.

    A redirect would count as caused by the other site.

    Args:
        handler: of the request.
        url: where the user wants to go.
        ticket_for: the user who is to be logged in on the way, because this request came without
            the cookie of whoever is logged in.
    """
    handler.clear_cookie(LOGIN_COOKIE, path=handler.hub.base_url)
    set_site_cookie(handler)
    if ticket_for is not None:
        ticket = handler.create_signed_value(_TICKET, ticket_for).decode()
        query = urlencode({_TICKET: ticket, "next": url})
        url = f"{handler.hub.base_url}login?{query}"
    address = xhtml_escape(url)
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    handler.finish(
        '<!doctype html><html lang="en"><title>JupyterHub</title>'
        f'<meta http-equiv="refresh" content="0; url={address}">'
        f'<p>You are logged in. <a href="{address}">Continue</a></p></html>'
    )


def name_on_ticket(handler: Any) -> str | None:
    """Return the user whom a page of `continue_here` logs in; None: it is another request."""
    ticket = handler.get_argument(_TICKET, None)
    if not ticket or not is_own(handler):
        return None
    name = handler.get_secure_cookie(_TICKET, ticket, max_age_days=_TICKET_AGE_DAYS)
    return name.decode() if name else None
