"""The port of a user server: who listens there, and how a server elsewhere reports it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tornado.web import HTTPError

from littlest_hub.helpers.held_ports import IMPOSSIBLE, Target
from littlest_hub.hub.guard import GUARD
from littlest_hub.hub.launch import NotStartedError, ended
from littlest_hub.hub.systemd_units import unit_state
from littlest_hub.system import cgroups
from littlest_hub.system.tcp import SocketOwner, listener_at
from littlest_hub.units.ports import is_free

POLLS_PER_S = 40
"""Port polls per second; startup takes 0.6 s, so slow polling would show."""
_TRIAL_S = 0.01
"""Time after which a listening socket is taken for the one that the server keeps."""
_OVERFLOW_UID = 65534
"""/proc/sys/kernel/overflowuid"""


def port_in(report: object) -> int:
    """Return the port in the report of a server on another machine.

    Raises:
        HTTPError: it is anything but a port.
    """
    port = report.get("port") if isinstance(report, dict) and len(report) == 1 else None
    if type(port) is not int or not 0 < port < 65536:
        raise HTTPError(400, "expected a port and nothing else")
    return port


class PortTakenError(NotStartedError):
    """Another user's program has taken the port between its choice and the server's start."""

    def __init__(self, port: int) -> None:
        super().__init__(f"another user's program has taken port {port}: try again")


@dataclass(frozen=True)
class ServerPort:
    """The port at which the server of a unit is going to listen."""

    unit: str
    address: str
    port: int
    cgroup: str
    """Path of the unit's cgroup, as far as it is known without a query to systemd."""
    is_held: bool = True
    """False: systemd restarts the server (Restart=), which then binds the port again."""

    async def hold(self) -> None:
        """Wait until the server listens, then request that its port be held.

        JupyterHub cancels this after start_timeout.

        Raises:
            NotStartedError: the server has ended.
            PortTakenError: another user's program has the port.
        """
        while True:
            for _ in range(POLLS_PER_S):
                owner = await self._lasting_listener()
                if owner and await self._is_held_of(owner):
                    return
                await asyncio.sleep(1 / POLLS_PER_S)
            # The cgroup exists while processes of the unit run.
            if cgroups.ids(self.cgroup):
                continue
            state = await unit_state(self.unit)
            if not state.is_alive:
                # Bound by a program that does not listen.
                if not is_free(self.port, self.address):
                    raise PortTakenError(self.port)
                raise ended(self.unit, state)

    async def _lasting_listener(self) -> SocketOwner | None:
        """Return who listens; None: nobody, or nobody a moment later.

        jupyter_server, for example, tries out its port with a socket that it closes at once
        (`ServerApp._find_http_port`). If the guard held that one, the server could not listen.
        """
        first = listener_at(self.address, self.port)
        if first is None:
            return None
        await asyncio.sleep(_TRIAL_S)
        owner = listener_at(self.address, self.port)
        return owner if owner and owner.inode == first.inode else None

    async def _is_held_of(self, owner: SocketOwner) -> bool:
        """Request a hold on the port; return False if its listener has ended meanwhile.

        It may have been the server; the unit's state will tell.

        Raises:
            PortTakenError: another user's program has the port.
        """
        try:
            await self.hold_of(owner)
        except PortTakenError:
            if listener_at(self.address, self.port):
                raise
            return False
        return True

    async def hold_of(self, owner: SocketOwner) -> None:
        """Request a hold on the port if the server owns the socket that listens there.

        Another user's program could otherwise pose as the server by binding the port first.

        Raises:
            PortTakenError: it does not own it.
        """
        cgroup, is_own = self.cgroup, True
        # Only systemd can create a cgroup of that name there; a query to systemd would be a tenth
        # of the hub's work for a server.
        if owner.cgroup not in cgroups.ids(cgroup):
            state = await unit_state(self.unit)
            # If the server has ended, the socket is another program's.
            if not state.is_alive:
                raise PortTakenError(self.port)
            # Root: the port of a container, for example.
            is_user = owner.uid in (state.uid or 0, 0)
            # In a sandbox with its own users (PrivateUsers=), other users' ids are unknown. Names
            # of units prove nothing: any user may have a unit of that name in their own systemd.
            is_unknown = owner.cgroup is None and owner.uid == _OVERFLOW_UID
            is_own = is_user or is_unknown or owner.cgroup in cgroups.ids(state.cgroup)
            cgroup = "" if is_user else state.cgroup
        if not self.is_held:
            GUARD.expect((self.address, self.port), None)
        elif refused := await GUARD.hold(Target(self.address, self.port, cgroup, owner.inode)):
            # Without the guard, which knows better.
            is_own = is_own and refused.reason == IMPOSSIBLE
        else:
            return
        if not is_own:
            raise PortTakenError(self.port)
