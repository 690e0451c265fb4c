"""Units of systemd, for the hub's event loop: commands that do not block, and their answers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from littlest_hub.system import commands
from littlest_hub.system.commands import Completed

SYSTEMD_TIMEOUT_S = 30
"""How long systemd may take to answer; it keeps D-Bus waiting while it reloads its units."""
RETRY_DELAYS_S = (0.2, 1, 3)
"""How long to wait before each further query: a daemon-reexec interrupts an answer."""

_PROPERTIES = "ActiveState,Result,ExecMainStatus,UID,ControlGroup"


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
            )
        if delay_s is not None:
            await asyncio.sleep(delay_s)
    raise SystemdSilentError(answer.error or f"systemctl show {unit} says nothing")


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
