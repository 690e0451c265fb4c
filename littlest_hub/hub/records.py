"""Records that one process writes and another reads, perhaps one of another release.

Fields may be added, never changed: a release ignores those that it does not know. This module uses
little of the standard library, since the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from littlest_hub.system.files import write

_LONGEST = 1 << 20
_OF_PROCESS = (
    *("CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS"),
    *("LISTEN_PID", "LISTEN_PIDFDID", "MAINPID", "MANAGERPID", "MANAGERPIDFDID"),
    *("MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"),
    *("WATCHDOG_PID", "WATCHDOG_USEC"),
)
"""Variables that systemd gives to each process of a unit for itself (systemd.exec(5))."""


class ReloadOutcome(NamedTuple):
    """The end of a reload, as written to `layout.reload_outcome`."""

    began_ns: int = 0
    """CLOCK_MONOTONIC."""
    reason: str = ""
    """The reason why it failed; "": it succeeded."""

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> ReloadOutcome:
        return cls(**_known_fields(cls._fields, text))


class UnitRecord(NamedTuple):
    """Settings that the hub's unit had from drop-ins when it started; in `layout.unit_record`."""

    invocation: str = ""
    """systemd's id of that start."""
    directives: tuple[str, ...] = ()
    """Lines of the drop-ins."""
    credentials: Mapping[str, str] = MappingProxyType({})
    """Digests by name."""

    def to_json(self) -> str:
        return json.dumps({**self._asdict(), "credentials": {**self.credentials}})

    @classmethod
    def from_json(cls, text: str) -> UnitRecord:
        found = _known_fields(cls._fields, text)
        directives, credentials = map(str, found["directives"]), dict(found["credentials"])
        return cls(found["invocation"], tuple(directives), credentials)


class ReloadEnvironment(NamedTuple):
    """Variables for the next hub, as written to `layout.reload_environment`."""

    invocation: str = ""
    """systemd's id of the start of the unit that they belong to."""
    variables: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ReloadEnvironment:
        """Return those of a process that systemd has started for the unit."""
        variables = {key: text for key, text in environ.items() if key not in _OF_PROCESS}
        return cls(environ.get("INVOCATION_ID", ""), variables)

    def applied_to(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of another process of the unit, with these variables instead."""
        if not self.invocation or self.invocation != environ.get("INVOCATION_ID"):
            return dict(environ)
        own = {key: text for key, text in environ.items() if key in _OF_PROCESS}
        return {**self.variables, **own}

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> ReloadEnvironment:
        return cls(**_known_fields(cls._fields, text))


class Handover(NamedTuple):
    """The state that a supervisor passes on when its process becomes the next release's."""

    pid: int
    """Process id of the serving hub."""
    channel: int
    """Descriptor of the channel to it."""
    release: str
    """Its release directory."""
    is_reload_pending: bool

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Handover:
        return cls(**_known_fields(cls._fields, text))


def _known_fields(names: Sequence[str], text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {name: found[name] for name in names if name in found}


def write_volatile(file: Path, text: str) -> None:
    """Write a record in /run; without room for it, do nothing: a hub that serves must not end."""
    with contextlib.suppress(OSError):
        write(file, f"{text}\n", 0o600)


def read(file: Path) -> str:
    """Return the text of a record; "" without one.

    Root reads what the user of a hub has written: no link is followed, and nothing is waited for.
    """
    with contextlib.suppress(OSError), open(file, opener=_opened, errors="replace") as opened:
        if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return opened.read(_LONGEST).strip()
    return ""


def _opened(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
