"""The password of a repository: that of one which exists, or a new one."""

from __future__ import annotations

import secrets
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.system.files import write

_WORDS = 6
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_WORD_LENGTH = 5
"""A password has 30 characters of 31, 148 bits: one can copy it from paper."""


def adopt_password(place: Place, given: str) -> None:
    """Write the password file, unless there is one: with a given password, or a new one.

    Raises:
        LittlestHubError: the given file cannot be read, or contains none.
    """
    # Once it is taken over, the given file may go.
    if given and not (place.password.exists() and not Path(given).exists()):
        try:
            # As restic: without white space around it.
            password = Path(given).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LittlestHubError(f"{given} cannot be read: {error}") from error
        if not password:
            raise LittlestHubError(f"{given} is empty; expected the password of a repository")
        if place.password.exists() and place.password.read_text().strip() != password:
            raise LittlestHubError(
                f"{place.password} has another password than {given}",
                f"If that of {given} is right, remove {place.password}",
            )
        write(place.password, f"{password}\n", 0o600)
    elif not place.password.exists():
        write(place.password, f"{new_password()}\n", 0o600)


def new_password() -> str:
    """Return a random password that people can copy from paper."""
    words = ("".join(secrets.choice(_ALPHABET) for _ in range(_WORD_LENGTH)) for _ in range(_WORDS))
    return "-".join(words)
