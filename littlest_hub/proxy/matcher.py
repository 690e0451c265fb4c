"""traefik's matchers (Path, PathPrefix, Host) for a JupyterHub routespec.

The value of `rule` in a router of the routes file.
"""

from __future__ import annotations

import re

# RFC 3986 2.2: what traefik leaves percent-encoded in the path that it compares with a rule
# (routing path, https://doc.traefik.io/traefik/security/request-path/), so that an encoded slash
# never becomes a separator.
_RESERVED = frozenset(b":/?#[]@!$&'()*+,;=%")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d+)?")


def rule(routespec: str) -> str:
    """Return the traefik rule that matches a JupyterHub routespec, whatever characters it has.

    Args:
        routespec: "[host]/path/", percent-encoded as JupyterHub does.

    Raises:
        ValueError: it does not end in "/", or its host is not a host name.
    """
    if not routespec.endswith("/"):
        raise ValueError(f"routespec {routespec!r} does not end in /")
    host, _, path = routespec.partition("/")
    path = _routing_path(f"/{path}")
    matchers = [f"PathPrefix({_quote(path)})"]
    if path != "/":
        matchers.append(f"Path({_quote(path.rstrip('/'))})")
    paths = " || ".join(matchers)
    if not host:
        return paths
    if not _HOST.fullmatch(host):
        raise ValueError(f"routespec {routespec!r}: {host!r} is not a host name")
    return f"Host({_quote(host.partition(':')[0])}) && ({paths})"


def _routing_path(path: str) -> str:
    """Return a percent-encoded path in the form in which traefik compares it."""

    def decode(escape: re.Match[str]) -> str:
        byte = int(escape[0][1:], 16)
        return escape[0].upper() if byte in _RESERVED else chr(byte)

    # latin-1 keeps each byte one character until the UTF-8 sequences are whole again
    decoded = _ESCAPE.sub(decode, path.encode().decode("latin-1"))
    return decoded.encode("latin-1").decode(errors="surrogateescape")


def _quote(text: str) -> str:
    """Return a text as a Go string literal that consists of harmless ASCII only.

    traefik parses a rule as a Go expression: https://go.dev/ref/spec#String_literals
    """
    return '"' + "".join(
        character
        if re.fullmatch(r"[A-Za-z0-9/._~:@%+,;=&!$'()*\[\]-]", character)
        else "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
        for character in text
    ) + '"'  # fmt: skip
