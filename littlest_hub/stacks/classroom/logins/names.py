"""Names of people: their canonical spelling, and names with which nobody may sign up."""

from __future__ import annotations

import pwd
import re
import unicodedata

from littlest_hub.units.names import FIRST_UID, LOGIN_NAME

LONGEST = 63
"""The most characters that a name may have."""
_NAME = re.compile(LOGIN_NAME)


def canonical(name: str) -> str:
    """Return the canonical spelling of a name: that of " ALICE" is alice."""
    # NFKC comes first, because it makes capitals of some characters.
    return unicodedata.normalize("NFKC", name).strip().lower() if len(name) < 256 else name


def is_name(name: str) -> bool:
    """Return whether a text in canonical spelling may be the name of a person."""
    return _NAME.fullmatch(name) is not None and set(name) != {"."}


def uid_of(name: str) -> int | None:
    """Return the user id of the account of this name on this machine; None: there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, OSError):
        return None


def is_of_the_system(name: str) -> bool:
    """Return whether a system account of this machine has this name, such as root."""
    uid = uid_of(name)
    return uid is not None and uid < FIRST_UID
