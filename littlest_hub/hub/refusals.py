"""Refused logins: what the journal says, `doctor` reads there, and the person sees.

The person never learns from these whether an account exists, nor whether a password was right.
(PAM's own messages, as of an expired account, are shown as they are.)
"""

from __future__ import annotations

NOT_ALLOWED = "no fragment lets this user log in"
INVALID_NAME = "this is not the form of a user name here"
WRONG_PASSWORD = "wrong password, or no such account"

LOGGED = "Login of %r from %s refused: %s"
"""The name as typed, at most `NAME_LENGTH` characters of it, the address, and a reason above."""
NAME_LENGTH = 40


def answer(name: str, reason: str) -> str:
    """Return what the login page says; only the name itself decides about the second sentence."""
    text = "Wrong user name or password, or you may not use this hub."
    if reason == INVALID_NAME or not name.isascii() or "@" in name or " " in name:
        text += " A user name is like alice: usually no e-mail address, and without spaces."
    return text


def stranger(name: str, service: str, reason: str) -> str:
    """Return what a person sees who has logged in elsewhere, where the name is known anyway."""
    text = f"You are {name} at {service}, but may not use this hub."
    if reason == INVALID_NAME:
        text += " User names here have at most 63 lower-case letters, digits, and _ . @ - only."
    return f"{text} Ask its administrator."
