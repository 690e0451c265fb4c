"""Accounts that a program of ours created: their full name says so, and only such are removed."""

from __future__ import annotations

import pwd
import subprocess


def is_described(user: str, about: str) -> bool:
    """Return whether an account exists and has this full name."""
    try:
        return pwd.getpwnam(user).pw_gecos == about
    except KeyError:
        return False


def remove(user: str, about: str) -> str:
    """Remove an account if it exists and has this full name.

    Returns:
        Why userdel(8) failed; "": the account is gone, or is not ours.
    """
    if not is_described(user, about):
        return ""
    done = subprocess.run(["userdel", user], capture_output=True, text=True)
    return done.stderr.strip() or f"userdel: exit code {done.returncode}" if done.returncode else ""
