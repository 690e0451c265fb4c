"""The exception that administrators see as a message, never as a traceback."""

from __future__ import annotations


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
