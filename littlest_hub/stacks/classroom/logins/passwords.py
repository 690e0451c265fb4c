"""Passwords: rules for new ones, their hashes, and the comparison of both."""

from __future__ import annotations

import unicodedata
from functools import cache

import bcrypt

MAX_BYTES = 72
"""The most that bcrypt reads of a password; a longer one is refused, not cut."""
_DIFFERENT = 5
"""The number of different characters that are required."""
_COMMON = {
    "password",
    "passwort",
    "passw0rd",
    "password1",
    "password123",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "qwerty123",
    "qwertz123",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "letmein1",
    "welcome1",
    "changeme",
    "jupyterhub",
    "jupyterlab",
}


def problem(password: str, name: str, shortest: int) -> str | None:
    """Return why a new password is refused, for the person who has typed it; None: it is good.

    Args:
        password: as typed.
        name: of the person.
        shortest: the number of characters that are required.
    """
    if too_long := length_problem(password):
        return too_long
    if len(password) < shortest:
        return f"A password has at least {shortest} characters."
    if "\0" in password:
        return "This password contains a character that cannot be typed."
    return _reason_to_guess_it(password.lower(), name)


def _reason_to_guess_it(lower: str, name: str) -> str | None:
    if lower in _COMMON:
        return "Many people have this password, so it is easy to guess. Choose another one."
    if len(set(lower)) < _DIFFERENT:
        return f"A password has at least {_DIFFERENT} different characters."
    if name and name in lower:
        return f"This password contains your login name, {name}. Choose one without it."
    return None


def length_problem(password: str) -> str | None:
    """Return why the length of a password is refused; None: it is accepted."""
    if len(_bytes(password)) > MAX_BYTES:
        return f"A password has at most {MAX_BYTES} bytes: {MAX_BYTES} letters of English."
    return None


def hashed(password: str) -> str:
    """Return the hash of a password. It takes a quarter of a second, on purpose."""
    return bcrypt.hashpw(_bytes(password), bcrypt.gensalt()).decode()


def is_right(password: str, stored: str | None) -> bool:
    """Compare a password with a stored hash; None: there is none, which takes the same time."""
    text = _bytes(password)
    if len(text) > MAX_BYTES or b"\0" in text:
        return False
    return bcrypt.checkpw(text, (stored or _of_nobody()).encode()) and stored is not None


@cache
def _of_nobody() -> str:
    return hashed("the password of nobody")


def _bytes(password: str) -> bytes:
    # Keyboards write "é" as one character or as two. A lone surrogate has no bytes.
    return unicodedata.normalize("NFC", password).encode(errors="replace")
