"""Names of accounts that are made for logins; no input or output."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator

LONGEST = 31
"""Characters of the longest name: useradd(8) accepts 32, systemd.io/USER_NAMES 31."""
LONGEST_LOGIN_BYTES = 255
"""JupyterHub's limit of the names of its users."""
PREFIX = "([a-z][a-z0-9_-]{0,11})?"
"""The pattern of a prefix of accounts."""

_ACCOUNT = re.compile(rf"[a-z][a-z0-9_-]{{0,{LONGEST - 1}}}")
_DIGEST_CHARACTERS = 8
_ATTEMPTS = 100
# Names with a meaning to programs of the system, even without an account. Names of system accounts
# of the machine are refused as well.
_RESERVED = re.compile(r"root|nobody|nogroup|admin|sudo|wheel|staff|users|systemd.*|lhub(-.*)?")


def is_login(login: str) -> bool:
    """Return whether a text may be the name of a user of the hub."""
    is_short = 0 < len(login.encode(errors="replace")) <= LONGEST_LOGIN_BYTES
    is_one_word = login.isprintable() and login.strip() == login and "/" not in login
    # A program could take a leading hyphen for an option.
    return is_short and is_one_word and not login.startswith("-")


def is_reserved(login: str) -> bool:
    """Return whether a login looks like an account of the system, and so gets no account."""
    return _RESERVED.fullmatch(unicodedata.normalize("NFKC", login).casefold()) is not None


def plain(login: str) -> list[str]:
    """Return the login, if it can be the name of its account."""
    return [login] if _ACCOUNT.fullmatch(login) and not is_reserved(login) else []


def candidates(login: str, prefix: str) -> Iterator[str]:
    """Yield names for the account of a login, the best one first.

    A login that is a valid name is kept. Any other one is simplified, and gets a digest of all its
    characters, so that logins that look alike have different accounts.
    """
    yield from plain(f"{prefix}{login}")
    ascii_only = unicodedata.normalize("NFKD", login).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9_]+", "-", ascii_only).strip("-_") or "user"
    if not (prefix or stem[0].isalpha()):
        stem = f"u{stem}"
    stem = stem[: LONGEST - len(prefix) - _DIGEST_CHARACTERS - 1].rstrip("-_")
    for attempt in range(_ATTEMPTS):
        text = f"{login}\0{attempt}" if attempt else login
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
        yield f"{prefix}{stem}-{digest}"
