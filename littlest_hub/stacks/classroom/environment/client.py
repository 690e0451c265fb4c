"""Requests of the hub to root's helper that switches the environment to another generation."""

from __future__ import annotations

from littlest_hub.hub.helper_client import request
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment.units import HELPER_TIMEOUT_S, address_of


class NotSwitchedError(Exception):
    """The refusal of a switch, with the reason; the environment is as it was."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.jupyterhub_message = reason


async def switch(layout: Layout, number: str) -> tuple[int, int]:
    """Switch to a generation; return the numbers of the former and the present one.

    Raises:
        NotSwitchedError: the helper refused, or did not answer.
    """
    address = str(address_of(layout))
    try:
        reply = await request(address, [number.encode()], HELPER_TIMEOUT_S)
        if "refusal" not in reply:
            return int(reply["before"]), int(reply["now"])
        reason = str(reply["refusal"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{address}: {str(error) or type(error).__name__}; see the journal"
    raise NotSwitchedError(f"The environment is as it was: {reason}")
