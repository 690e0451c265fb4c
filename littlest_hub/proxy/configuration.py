"""traefik's configuration as data: the static one, and the constant part of the dynamic one.

Option names: https://doc.traefik.io/traefik/reference/install-configuration/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.units.entry_points import (
    API_ENTRY_POINT,
    HTTPS_ENTRY_POINT,
    PUBLIC_ENTRY_POINT,
    READY_ENTRY_POINT,
)
from littlest_hub.units.proxy import GRACE

# A middleware of the visitors' entry points, see `ready_config`.
_FORWARDED = "littlest-hub-forwarded"
# Hub and supervisor rely on these: c.HubProxy.extra_static_config may not change them.
_FIXED = (
    ("api", "basePath"),
    ("entryPoints", PUBLIC_ENTRY_POINT, "address"),
    ("entryPoints", HTTPS_ENTRY_POINT, "address"),
    ("entryPoints", API_ENTRY_POINT),
    ("entryPoints", READY_ENTRY_POINT),
    ("providers", "file"),
)
_ALWAYS: dict[str, Any] = {
    "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    "log": {"level": "WARN", "noColor": True},
    # Failures only, without headers and addresses: they contain cookies and tokens, and are long.
    # Each line names the router, which tells the user.
    "accessLog": {
        "filters": {"statusCodes": ["500-599"]},
        "fields": {"headers": {"defaultMode": "drop"}, "names": {"RequestPath": "drop"}},
    },
    "api": {"dashboard": False},
}
_HTTP = {
    # X_Forwarded_For and the like, which some backends read as X-Forwarded-For, are dropped.
    "aliasHeadersStrategy": "delete",
    # All of these occur in names of files; only NUL does not.
    "encodedCharacters": {
        "allowEncodedSlash": True,
        "allowEncodedBackSlash": True,
        "allowEncodedNullCharacter": False,
        "allowEncodedSemicolon": True,
        "allowEncodedPercent": True,
        "allowEncodedQuestionMark": True,
        "allowEncodedHash": True,
    },
}
# An address may contain another one: /v/https://x.org//y?a=1;b=2. A browser resolves dots itself,
# and traefik compares with the rules what it passes on.
_VISITORS = {
    **_HTTP,
    "sanitizePath": False,
    # Otherwise ";" becomes "&". Servers read "%3B" as ";".
    "encodeQuerySemicolons": True,
    # tornado accepts 64 KiB, with what traefik adds.
    "maxHeaderBytes": 48 * 1024,
}
_STREAMS = 100
"""The most requests of an HTTP/2 connection that are served at a time; RFC 9113 (6.5.2) recommends
not fewer. traefik keeps some 15 KB for each answer that a visitor does not read."""


def static_config(
    *,
    public: str,
    api: str,
    dynamic_config: Path,
    https: Mapping[str, Any] | None = None,
    supervised: bool = True,
    trusted_proxies: Sequence[str] = (),
) -> dict[str, Any]:
    """Return traefik's static configuration.

    Args:
        public: address ("host:port", ":port") of the public entry point.
        api: the same of the entry point that the hub uses.
        dynamic_config: directory of the dynamic configuration.
        https: what the entry point for HTTPS has beyond the one for HTTP, and its address; None:
            there is none.
        supervised: whether `littlest_hub.proxy.supervisor` starts it.
        trusted_proxies: addresses and networks whose X-Forwarded-* headers are kept.
    """
    # Without these addresses traefik rewrites X-Forwarded-*, whatever a visitor sends.
    forwarded = {"forwardedHeaders": {"trustedIPs": list(trusted_proxies)}}
    life_cycle = {"graceTimeOut": GRACE if supervised else "0s"}
    middlewares = {"middlewares": [f"{_FORWARDED}@file"]} if supervised else {}
    plain: dict[str, Any] = {
        "address": public,
        # The hub's routes are served there: they name no entry point.
        "asDefault": True,
        "http": {**_VISITORS, **middlewares},
        "http2": {"maxConcurrentStreams": _STREAMS},
        **(forwarded if trusted_proxies else {}),
        "transport": {
            # An upload may take longer than the default of one minute.
            "respondingTimeouts": {"readTimeout": "10m", "idleTimeout": "10m"},
            "lifeCycle": life_cycle,
        },
    }
    entry_points: dict[str, Any] = {
        PUBLIC_ENTRY_POINT: plain,
        API_ENTRY_POINT: {"address": api, "http": _HTTP, "transport": {"lifeCycle": life_cycle}},
    }
    if https:
        all_middlewares = [*middlewares.get("middlewares", ()), *https["http"]["middlewares"]]
        http = {**_VISITORS, **https["http"], "middlewares": all_middlewares}
        entry_points[HTTPS_ENTRY_POINT] = {**plain, **https, "http": http}
    if supervised:
        entry_points[READY_ENTRY_POINT] = {
            "address": "127.0.0.1:0",
            "http": {"aliasHeadersStrategy": "delete"},
            "transport": {"lifeCycle": {"graceTimeOut": "0s"}},
        }
    return {
        **_ALWAYS,
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": str(dynamic_config), "watch": True},
        },
        "entryPoints": entry_points,
    }


def ready_config() -> dict[str, Any]:
    """Return the dynamic configuration that makes traefik answer at READY_ENTRY_POINT: with 418.

    It lies beside the rules: traefik loads all files of the directory at once.

    It also removes from requests the headers that traefik passes on unchanged, although hub and
    servers read in them where a request comes from and whether by HTTPS (tornado's xheaders,
    jupyterhub.utils.get_browser_protocol). X-Forwarded-For and X-Forwarded-Proto, which traefik
    itself writes, hold the same.
    """
    dropped = dict.fromkeys(("Forwarded", "X-Real-Ip", "X-Scheme"), "")
    router = {
        "rule": "Path(`/ready`)",
        "entryPoints": [READY_ENTRY_POINT],
        "service": "noop@internal",
    }
    # The same by TLS, for the check which certificate it presents.
    secure = {**router, "tls": {}}
    return {
        "http": {
            "routers": {"littlest-hub-ready": router, "littlest-hub-ready-tls": secure},
            "middlewares": {_FORWARDED: {"headers": {"customRequestHeaders": dropped}}},
        }
    }


def merge_static_config(ours: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Merge a fragment's additions into our static configuration.

    traefik ignores the case of keys, so keys that we have keep our spelling.

    Raises:
        LittlestHubError: they change what hub and supervisor rely on.
    """
    result: dict[str, Any] = _merge(ours, extra, ())
    # Not in `extra` alone: a table may be replaced by something that is none.
    for path in _FIXED:
        # While HTTPS is not configured, fragments may have an entry point of that name.
        is_free = path[:2] == ("entryPoints", HTTPS_ENTRY_POINT) and not value_at(ours, path)
        if value_at(result, path) != value_at(ours, path) and not is_free:
            raise LittlestHubError(
                f"c.HubProxy.extra_static_config: {'.'.join(path)} is not for fragments to change",
                "Addresses: change ListenStream= of the socket unit",
            )
    return result


def _merge(ours: Any, extra: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(ours, dict):
        return extra
    if not isinstance(extra, dict):
        where = ".".join(path) or "the whole"
        raise LittlestHubError(
            f"c.HubProxy.extra_static_config: {where}: expected a dict, not {extra!r}"
        )
    result = dict(ours)
    spelling = {name.casefold(): name for name in ours}
    for name, value in extra.items():
        key = spelling.get(str(name).casefold(), str(name))
        result[key] = _merge(ours.get(key), value, (*path, key))
    return result


def value_at(config: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path of keys; None: there is none."""
    for name in path:
        config = config.get(name) if isinstance(config, dict) else None
    return config
