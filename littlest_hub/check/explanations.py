"""Explanations of errors whose text does not say what to do in a fragment."""

from __future__ import annotations

import errno
import subprocess

ADD = "to add it: littlest-hub packages add"
"""The way out if a package is missing; its name follows."""


def explanation(error: BaseException, is_sandboxed: bool) -> str:
    """Return the end of a sentence about an error of a fragment; "" if its text is enough.

    Args:
        error: what the fragment raised.
        is_sandboxed: whether the sandbox may be its cause.
    """
    chain = _chain(error)
    return (is_sandboxed and _refusal_of_sandbox(chain)) or _advice(error)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current and current not in chain:
        chain.append(current)
        reason = getattr(current, "reason", None)  # of a urllib.error.URLError
        cause = reason if isinstance(reason, BaseException) else None
        current = cause or current.__cause__ or current.__context__
    return chain


def _refusal_of_sandbox(chain: list[BaseException]) -> str:
    numbers = {each.errno for each in chain if isinstance(each, OSError)}
    if errno.EROFS in numbers:
        return (
            "; fragments may not write files, because each check and each reload runs them: write"
            " the file beforehand, or in a hook that the hub calls (c.Spawner.pre_spawn_hook)"
        )
    if any(isinstance(each, subprocess.CalledProcessError) for each in chain):
        return (
            "; during a check, the commands that a fragment runs have the rights of the hub's unit,"
            " but may not write and have no access to systemd"
        )
    if numbers & {errno.EACCES, errno.EPERM}:
        return (
            "; during a check, fragments may send no signals, change no other process, and give no"
            " orders to systemd"
        )
    return ""


def _advice(error: BaseException) -> str:
    text = str(error)
    if "LazyConfigValue" in text:
        return (
            "; no fragment has set it before: assign the whole value, or use .append() or .extend()"
            " (lists), .update() (dicts, sets) or .add() (sets)"
        )
    if isinstance(error, NameError) and ("'true'" in text or "'false'" in text):
        return "; Python spells them True and False"
    if isinstance(error, SystemExit):
        return "; a fragment must not exit"
    if isinstance(error, ModuleNotFoundError):
        return f"; it is not installed in the hub environment; {ADD} PACKAGE"
    if isinstance(error, ImportError):
        return "; it is not installed in the hub environment"
    return ""
