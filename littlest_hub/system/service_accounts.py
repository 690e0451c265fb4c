"""Accounts that a program of ours created: their full name says so, and only such are removed."""

from __future__ import annotations

import pwd
import shlex
import subprocess

from littlest_hub.errors import LittlestHubError


def is_described(user: str, about: str) -> bool:
    """Return whether an account exists and has this full name."""
    try:
        return pwd.getpwnam(user).pw_gecos == about
    except KeyError:
        return False


def change(*command: str) -> None:
    """Run a program that changes accounts, such as useradd(8).

    Raises:
        LittlestHubError: it failed; with what it printed.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise LittlestHubError(f"{shlex.join(command)} failed: {reason}")


def remove(user: str, about: str) -> str:
    """Remove an account if it exists and has this full name.

    Returns:
        Why userdel(8) failed; "": the account is gone, or is not ours.
    """
    try:
        if is_described(user, about):
            change("userdel", user)
    except LittlestHubError as error:
        return error.message
    return ""
