"""Names of the servers that are launched: named servers of JupyterHub, which has the rules."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from jupyterhub.slugs import is_valid_safe_slug, safe_slug

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.repository import Repository

LONGEST = 30
_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Letters without vowels, which would make words, and without l, 0 and 1, which are misread."""
_RANDOM = re.compile(rf"launch-[{_LETTERS}]{{8}}(?:-[0-9]+)?")


def suggested(repository: Repository) -> str:
    """Return the name that the form suggests for a repository: the same each time."""
    return str(safe_slug(repository.name, avoid_collisions=False, max_length=LONGEST))


def random() -> str:
    """Return a name that nobody has chosen, for those who leave it empty."""
    return "launch-" + "".join(secrets.choice(_LETTERS) for _ in range(8))


def is_random(name: str) -> bool:
    """Return whether a name is one of `random`, or `another` one after it."""
    return bool(_RANDOM.fullmatch(name))


def another(name: str, taken: Collection[str]) -> str:
    """Return a name that no server of the person has: this one, or with -2, -3 and so on."""
    number = 1
    found = name
    while found in taken:
        number += 1
        suffix = f"-{number}"
        found = name[: LONGEST - len(suffix)].rstrip("-") + suffix
    return found


def checked(name: str) -> str:
    """Return a name that somebody has chosen; "" stays "".

    Raises:
        LittlestHubError: JupyterHub would refuse it.
    """
    name = name.strip()
    if name and not is_valid_safe_slug(name, LONGEST):
        raise LittlestHubError(
            f"{name[:80]!r} cannot be the name of a server; expected at most {LONGEST} lower-case"
            " letters and digits, with single hyphens between them and a letter first"
        )
    return name
