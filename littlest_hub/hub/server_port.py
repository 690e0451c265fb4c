"""The port of a user server: who listens there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from littlest_hub.hub.launch import NotStartedError, ended
from littlest_hub.hub.systemd_units import unit_state
from littlest_hub.system.tcp import SocketOwner, cgroups_of, owners_at

POLLS_PER_S = 40
"""Port polls per second; startup takes 0.6 s, so slow polling would show."""
_OVERFLOW_UID = 65534
"""/proc/sys/kernel/overflowuid"""


@dataclass(frozen=True)
class ServerPort:
    """The port at which the server of a unit is going to listen."""

    unit: str
    port: int
    cgroup: str
    """Path of the unit's cgroup, as far as it is known without a query to systemd."""

    async def wait(self) -> None:
        """Return when the server listens; JupyterHub cancels this after start_timeout.

        Raises:
            NotStartedError: the server has ended, or another user's program listens there.
        """
        while True:
            for _ in range(POLLS_PER_S):
                found = owners_at(self.port)
                if found:
                    await self.check_owner(found)
                    return
                await asyncio.sleep(1 / POLLS_PER_S)
            # The cgroup exists while processes of the unit run.
            if cgroups_of(self.cgroup):
                continue
            state = await unit_state(self.unit)
            if not state.is_alive:
                raise ended(self.unit, state)

    async def check_owner(self, found: set[SocketOwner]) -> None:
        """Check that the server owns the sockets that listen at its port.

        Another user's program could otherwise pose as the server by binding the port first.

        Raises:
            NotStartedError: it does not.
        """
        cgroups, uids = {held.cgroup for held in found}, {held.uid for held in found}
        # Only systemd can create a cgroup of that name there; a query to systemd would be a tenth
        # of the hub's work for a server.
        if cgroups <= cgroups_of(self.cgroup):
            return
        state = await unit_state(self.unit)
        # The server has ended, so the sockets are another program's.
        if not state.is_alive:
            raise ended(self.unit, state)
        own = state.uid or 0
        # Root: the port of a container, for example.
        if uids <= {own, 0}:
            return
        # In a sandbox with its own users (PrivateUsers=), other users' ids are unknown. Names of
        # units prove nothing: any user may have a unit of that name in their own systemd.
        is_unknown = cgroups == {None} and uids <= {own, 0, _OVERFLOW_UID}
        if not (is_unknown or cgroups <= cgroups_of(state.cgroup)):
            raise NotStartedError(f"another user's program has taken port {self.port}: try again")
