"""The address of a repository with the sources of a course; no input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError

_LONGEST = 500
# A subset of git-check-ref-format(1), with all that people need. "-" would begin an option.
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True)
class Repository:
    """A repository, and one of its branches."""

    url: str
    branch: str = ""
    """A branch or tag; "": the branch that the repository itself chooses."""


def checked(url: str, branch: str = "") -> Repository:
    """Return a repository whose address is safe as an argument of git.

    Raises:
        LittlestHubError: it is none that can be fetched without a password over https.
    """
    expected = "expected https://HOST/PATH, without a name and a password"
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or len(parts.path) < 2:
        raise LittlestHubError(f"{url[:80]!r} is no address of a repository: {expected}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not shown: it may contain a password.
        raise LittlestHubError(f"the address of the repository has more than that: {expected}")
    if len(url) > _LONGEST or not url.isprintable() or not url.isascii() or " " in url:
        raise LittlestHubError(
            f"{url[:80]!r} is no address of a repository: it is too long, or has characters that"
            " addresses do not have"
        )
    if branch and (not _BRANCH.fullmatch(branch) or ".." in branch or branch.endswith(".lock")):
        raise LittlestHubError(
            f"{branch[:80]!r} is no branch: expected letters, digits and . _ / -"
        )
    return Repository(url, branch)


def in_course(path: str) -> bool:
    """Return whether a path stays in the directory of sources, and is nothing of git's own."""
    names = path.split("/")
    is_inside = all(each not in ("", ".", "..") and each.lower() != ".git" for each in names)
    return is_inside and path.isprintable() and "\\" not in path
