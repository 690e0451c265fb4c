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


def file_of(place: Place, given: str) -> Path | None:
    """Return the file with the password of the repository; None: a new one has to be made.

    Args:
        place: the stack's files, which may contain the password.
        given: a file with the password of a repository that exists; "": none.

    Raises:
        LittlestHubError: the given file cannot be read, or its password is not that of the stack.
    """
    own = _read(place.password) if place.password.exists() else ""
    # Once it is taken over, the given file may go.
    if not given or (own and not Path(given).exists()):
        return place.password if own else None
    try:
        password = _read(Path(given))
    except (OSError, UnicodeDecodeError) as error:
        raise LittlestHubError(f"{given} cannot be read: {error}") from error
    if not password:
        raise LittlestHubError(f"{given} is empty; expected the password of a repository")
    if own and own != password:
        raise LittlestHubError(
            f"{place.password} has another password than {given}",
            f"If that of {given} is right, remove {place.password}",
        )
    return Path(given)


def adopt_password(place: Place, given: str) -> None:
    """Write the password file, unless there is one: with a given password, or a new one.

    Raises:
        LittlestHubError: as `file_of`.
    """
    file = file_of(place, given)
    if file != place.password:
        write(place.password, f"{_read(file) if file else new_password()}\n", 0o600)


def _read(file: Path) -> str:
    # As restic: without white space around it.
    return file.read_text().strip()


def new_password() -> str:
    """Return a random password that people can copy from paper."""
    words = ("".join(secrets.choice(_ALPHABET) for _ in range(_WORD_LENGTH)) for _ in range(_WORDS))
    return "-".join(words)
