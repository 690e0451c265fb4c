"""Units of systemd, for the hub's event loop: commands that do not block, and their answers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from littlest_hub.system import commands
from littlest_hub.system.commands import Completed
from littlest_hub.system.pidfd import Process

SYSTEMD_TIMEOUT_S = 30
"""Time limit of an answer of systemd, which keeps D-Bus waiting while it reloads its units."""
RETRY_DELAYS_S = (0.2, 1, 3)
"""Times to wait before each further query: a daemon-reexec interrupts an answer."""

_PROPERTIES = "ActiveState,Result,ExecMainStatus,MainPID,UID,ControlGroup"


class SystemdSilentError(Exception):
    """systemd did not answer, so whether a server runs is unknown."""

    jupyterhub_message = "systemd does not answer; try again in a moment"


@dataclass(frozen=True)
class UnitState:
    """The state of a unit, as systemd reports it."""

    active: str = "inactive"
    """ActiveState=, systemctl(1)."""
    result: str = "success"
    status: int = 0
    """Exit code of the main process, or the number of the signal that ended it."""
    uid: int | None = None
    """User id of the main process; None: systemd does not know it."""
    cgroup: str = ""
    """Path below /sys/fs/cgroup; "": the unit has no process."""
    main_pid: int = 0
    """Process id of the main process; 0: there is none."""

    @property
    def is_alive(self) -> bool:
        """Whether processes of the unit may run; those of one that is being stopped still do."""
        return self.active not in ("inactive", "failed")


async def unit_state(unit: str) -> UnitState:
    """Return what systemd knows of a unit; one that does not exist is inactive.

    Raises:
        SystemdSilentError: systemd does not answer.
    """
    show = ("systemctl", "show", f"--property={_PROPERTIES}", unit)
    for delay_s in (*RETRY_DELAYS_S, None):
        answer = await run(*show)
        found = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
        if not answer.code and "ActiveState" in found:
            uid = found.get("UID", "")
            return UnitState(
                found["ActiveState"],
                found.get("Result", ""),
                int(found.get("ExecMainStatus") or 0),
                int(uid) if uid.isdecimal() else None,
                found.get("ControlGroup", ""),
                int(found.get("MainPID") or 0),
            )
        if delay_s is not None:
            await asyncio.sleep(delay_s)
    raise SystemdSilentError(answer.error or f"systemctl show {unit} says nothing")


class WatchedUnit:
    """A unit that is looked at again and again: without a command while its main process lives.

    Each command of systemd's costs the hub as much as several pages, and JupyterHub polls a server
    every 30 s and for each visit to the page after the login.
    """

    def __init__(self) -> None:
        self._state = UnitState()
        self._process: Process | None = None
        self._is_sure = False
        """Whether the process is the main process: its id might be another's by now."""

    async def state(self, unit: str) -> UnitState:
        """Return the state of a unit, like `unit_state`.

        Raises:
            SystemdSilentError: its main process has ended, and systemd does not answer.
        """
        if self._process and self._is_sure and self._process.is_alive:
            return self._state
        before, state = self._state, await unit_state(unit)
        # The id of a process that is still there, and that systemd still names, is not another's.
        is_there = self._process is not None and self._process.is_alive
        self._is_sure = is_there and state == before
        if not self._is_sure:
            self._process = Process.find(state.main_pid) if state.is_alive else None
        self._state = state
        return state


async def run(*argv: str, is_long: bool = False) -> Completed:
    """Run a command of systemd's and return what it prints, stripped; cancellation ends it.

    Args:
        argv: program and arguments.
        is_long: whether it may take longer than `SYSTEMD_TIMEOUT_S`.

    Raises:
        SystemdSilentError: it takes too long.
    """
    timeout_s = None if is_long else SYSTEMD_TIMEOUT_S
    env = {**os.environ, "SYSTEMD_COLORS": "0"}
    try:
        done = await commands.run(*argv, env=env, timeout_s=timeout_s)
    except TimeoutError as error:
        raise SystemdSilentError(str(error)) from None
    return Completed(done.code, done.output.strip(), done.error.strip())


def cgroup_path(unit: str, slice_: str) -> str:
    """Return the cgroup of a unit in a slice (systemd.slice(5)), as its ControlGroup= would be.

    In some containers it does not exist, because systemd is not at the root of what is mounted.
    """
    names = slice_.removesuffix(".slice").split("-")
    slices = (f"/{'-'.join(names[: n + 1])}.slice" for n in range(len(names)) if names[n])
    return f"{''.join(slices)}/{unit}"
