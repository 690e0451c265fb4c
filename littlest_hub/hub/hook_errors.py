"""Errors of hooks: functions of fragments that the hub calls while it serves.

JupyterHub logs them with a traceback, and answers "Internal Server Error". Here the journal gets
one line more, which `littlest-hub doctor` finds, and the page says which setting fails, and where.
"""

from __future__ import annotations

import errno
import functools
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from tornado.web import HTTPError
from traitlets.config import Config

from littlest_hub.hub.control import one_line

_SANDBOX_ERRORS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
_ADVICE = (
    "The hub's sandbox hides home directories and makes others read-only; what needs root's rights"
    " is a RootHook (how-to/homes)"
)


@dataclass(frozen=True)
class HookFailure:
    """An error that a function of a fragment has raised, or code that it has called."""

    setting: str
    """The setting that contains the function, such as "c.Spawner.pre_spawn_hook"; "": none does."""
    file: str
    line: int
    error: BaseException

    # doctor/hooks.py recognizes this line in the journal.
    def __str__(self) -> str:
        """Return one line for administrators."""
        return f"{self._what} fails at {self.file}:{self.line}: {one_line(self.error)}{self._hint}"

    @property
    def message(self) -> str:
        """A sentence for the user, without the error's text, which may contain secrets."""
        place = f"{Path(self.file).name}:{self.line}"
        kind = type(self.error).__name__
        return f"{self._what} fails at {place} ({kind}); the hub's journal says why{self._hint}"

    @property
    def _what(self) -> str:
        return self.setting or "Code of a fragment"

    @property
    def _hint(self) -> str:
        is_refused = isinstance(self.error, OSError) and self.error.errno in _SANDBOX_ERRORS
        is_program = isinstance(self.error, subprocess.CalledProcessError)
        return f". {_ADVICE}" if is_refused or is_program else ""


class HookErrors(logging.Handler):
    """Handler that explains logged errors of hooks, in the log and on the page."""

    def __init__(self, config: Config, log: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._settings = dict(_functions(config))
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        # An error of a fragment's own class may fail to be shown, or accept no attribute.
        try:
            self._explain(record)
        except Exception:
            self.handleError(record)

    def _explain(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        failure = self.failure(error) if error else None
        if failure:
            # JupyterHub logs an error before it makes a page or an answer with this attribute.
            failure.error.jupyterhub_message = failure.message  # type: ignore[attr-defined]
            self._write(failure)

    def _write(self, failure: HookFailure) -> None:
        # Python 3.13 and later ignore what a handler logs: https://github.com/python/cpython/issues/91555
        name = self._log.name
        record = self._log.makeRecord(name, logging.ERROR, __file__, 0, "%s", (failure,), None)
        for handler in self._log.handlers:
            if handler is not self:
                handler.handle(record)

    def failure(self, error: BaseException) -> HookFailure | None:
        """Return where a hook has raised an error; None: none has, or it is meant for the user."""
        if isinstance(error, HTTPError) or hasattr(error, "jupyterhub_message"):
            return None
        setting, place = "", None
        for frame, line in frames(error.__traceback__):
            found = self._settings.get(frame.f_code, "")
            if found or is_of_fragment(frame):
                # The hub has called the outermost one.
                setting, place = setting or found, (frame.f_code.co_filename, line)
        return HookFailure(setting, *place, error) if place else None


def frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a traceback with their lines, the outermost first."""
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def is_of_fragment(frame: FrameType) -> bool:
    """Return whether a frame executes a fragment, or a file that a fragment loads."""
    # traitlets defines this name in configuration files only.
    names = frame.f_globals
    return "load_subconfig" in names and frame.f_code.co_filename == names.get("__file__")


def _functions(config: Config) -> Iterator[tuple[CodeType, str]]:
    """Yield the functions in a configuration with the names of their settings."""
    for section, values in config.items():
        for key, value in values.items() if isinstance(values, Config) else ():
            for each in value.values() if isinstance(value, dict) else (value,):
                if code := _code(each):
                    yield code, f"c.{section}.{key}"


def _code(value: Any) -> CodeType | None:
    """Return the code of a function, or of an object that can be called as one."""
    while isinstance(value, functools.partial):
        value = value.func
    function = value if hasattr(value, "__code__") else vars(type(value)).get("__call__")
    found = getattr(function, "__code__", None)
    return found if isinstance(found, CodeType) else None
