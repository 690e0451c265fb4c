"""Names of people: one spelling of each, and those that nobody may sign up with."""

from __future__ import annotations

import pwd
import re
import unicodedata

from littlest_hub.units.names import FIRST_UID, LOGIN_NAME

LONGEST = 63
"""The most characters that a name may have."""
_NAME = re.compile(LOGIN_NAME)


def canonical(name: str) -> str:
    """Return the spelling of a name that stands for all others: " ALICE" is alice."""
    # Compatible characters first: some of them are capitals.
    return unicodedata.normalize("NFKC", name).strip().lower() if len(name) < 256 else name


def is_name(name: str) -> bool:
    """Return whether this may be somebody's name, in its canonical spelling."""
    return _NAME.fullmatch(name) is not None and set(name) != {"."}


def uid_of(name: str) -> int | None:
    """Return the user id of the account of this name on this machine; None: there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, OSError):
        return None


def is_of_the_system(name: str) -> bool:
    """Return whether a program of this machine has an account of this name, such as root's."""
    uid = uid_of(name)
    return uid is not None and uid < FIRST_UID
