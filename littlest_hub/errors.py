"""The exception that administrators see as a message, and commands in messages."""

from __future__ import annotations

import os
import re
import shlex

_SHELL = re.compile(r"[|&;<>]")


class LittlestHubError(Exception):
    """A failure that an administrator can understand and fix.

    ``message`` says what is wrong: the value found, the value expected, and ``file:line`` if there
    is one. ``hint`` is the next step, a command if possible. Only ``__main__`` modules print it and
    choose the exit code.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if self.hint is None:
            return self.message
        return f"{self.message}\n{self.hint}"


def as_typed(command: str) -> str:
    """Return a command for root as the caller types it: with sudo, if they have typed that now."""
    came_by_sudo = os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root"
    return with_sudo(command) if came_by_sudo else command


def with_sudo(command: str) -> str:
    """Return a command for root as others type it; pipes and redirections need a shell of root."""
    if command.startswith("sudo "):
        return command
    words, separator, comment = command.partition("   # ")
    if _SHELL.search(words):
        words = f"sh -c {shlex.quote(words)}"
    return f"sudo {words}{separator}{comment}"
