"""The logs of the hub: lines for the journal, and its last error for the supervisor."""

from __future__ import annotations

import logging
import os
import re

from jupyterhub.log import CoroutineLogFormatter
from tornado.log import app_log

LONGEST_LINE = 2000
"""Characters of a line; strangers choose addresses, which are logged, and the journal is shared."""

_ROUTINE = "Setting new xsrf cookie for "

# JupyterHub masks these in the line of each request; tornado, in that of a refused one, does not.
_SECRET = re.compile(r"([?&](?:code|state|ticket|[a-z_]*token)=)[^&\s]+")


class JournalFormatter(CoroutineLogFormatter):  # type: ignore[misc]
    """Log lines prefixed with their priority, for `journalctl -p err` (sd-daemon(3)).

    What proves who somebody is, in the address of a request, is masked.
    """

    _PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4))

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        priority = next((p for threshold, p in self._PRIORITIES if level >= threshold), 6)
        text = _SECRET.sub(r"\1[secret]", str(super().format(record)))
        return "\n".join(f"<{priority}>{_cut(line)}" for line in text.splitlines())


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a message of JupyterHub tells anything: it logs each cookie for a stranger.

    A filter of tornado's log; with the level DEBUG, everything is logged.
    """
    is_routine = record.levelno == logging.INFO and str(record.msg).startswith(_ROUTINE)
    return not is_routine or app_log.isEnabledFor(logging.DEBUG)


def _cut(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    # The end of a request's line tells who has sent it.
    half = LONGEST_LINE // 2
    return f"{line[:half]} […] {line[-half:]}"


FORMATTER = JournalFormatter if "JOURNAL_STREAM" in os.environ else CoroutineLogFormatter
"""The formatter of lines: systemd reads the priority at the beginning of those for the journal."""


class LastError(logging.Handler):
    """The last error that JupyterHub logged: it exits with nothing but an exit code."""

    text = "the journal says why"

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "\n" not in message:
            self.text = message
