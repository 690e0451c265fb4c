"""The one exception an administrator ever sees, already explained."""

from __future__ import annotations


class LittlestHubError(Exception):
    """Something an administrator can understand and mend.

    ``message`` says what is wrong: the value found, the value expected, and ``file:line`` where
    there is one. ``hint`` is the next step, a command where one exists. Only ``__main__`` modules
    turn it into text and an exit code.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if self.hint is None:
            return self.message
        return f"{self.message}\n{self.hint}"
