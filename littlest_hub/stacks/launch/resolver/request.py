"""A request to the resolver: JSON from the service, valid or refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.repository import Policy, Repository
from littlest_hub.stacks.launch.resolver.connection import Credentials

LIMIT_BYTES = 8192
"""Longest request."""
_LONGEST_SECRET = 2000
_FIELDS = {"repository", "ref", "user", "password", "owner"}
_OWNER = re.compile(r"(?:[0-9a-f]{64})?")


@dataclass(frozen=True)
class Request:
    """A repository at a ref, and who asks for it."""

    repository: Repository
    credentials: Credentials | None = None
    owner: str = ""
    """Digest of the person for whom alone the files are; "": they are for everybody."""


def parse(data: bytes, policy: Policy) -> Request:
    """Return a request.

    Raises:
        LittlestHubError: it is none, or of a repository that the policy does not permit.
    """
    found = _texts(data)
    named = repository.parse(found.get("repository", ""), policy)
    ref = repository.ref_of(found.get("ref", "")) or named.ref
    if named.doi and ref and not repository.is_commit(ref):
        raise LittlestHubError(f"{named.doi} has no branches; expected no ref")
    user, password = found.get("user", ""), found.get("password", "")
    # RFC 7617, 2: a name contains no colon, and neither contains control characters.
    is_valid = (user + password).isprintable() and ":" not in user
    if not is_valid or max(len(user), len(password)) > _LONGEST_SECRET:
        raise LittlestHubError("the name or password contains what no server accepts")
    credentials = Credentials(user, password) if user or password else None
    owner = found.get("owner", "")
    # Files that somebody's password has opened are never those that others find.
    if not _OWNER.fullmatch(owner) or (credentials and not owner):
        raise LittlestHubError("expected whose name and password these are")
    if named.doi and owner:
        raise LittlestHubError(f"{named.doi}: records that are not for everybody are not launched")
    return Request(Repository(named.url, ref), credentials, owner)


def _texts(data: bytes) -> dict[str, str]:
    """Return the fields, which messages do not contain: they may be passwords."""
    expected = LittlestHubError(f"expected an object of texts with {', '.join(sorted(_FIELDS))}")
    if len(data) > LIMIT_BYTES:
        raise expected
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise expected from None
    if not isinstance(found, dict) or not _FIELDS.issuperset(found):
        raise expected
    if not all(isinstance(each, str) for each in found.values()):
        raise expected
    return found
