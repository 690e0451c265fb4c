"""Requests of the hub to root's helper for courses."""

from __future__ import annotations

from typing import Any

from littlest_hub.hub.helper_client import request as exchange
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.page.request import Request

_TIMEOUT_S = 60
"""Time in which the helper examines a request; it answers before it changes anything."""


class RefusedError(Exception):
    """The refusal of a request.

    Args:
        text: for the visitor.
        field: the field of the form that is wrong; "": the whole form.
        status: of HTTP.
    """

    def __init__(self, text: str, field: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.text, self.field, self.status = text, field, status


async def ask(layout: Layout, request: Request) -> dict[str, Any]:
    """Send a request; return "gone" and "new" if the visitor has to agree, or {}: it has begun.

    Raises:
        RefusedError: nothing is changed.
    """
    address = str(layout.on_disk(place.page_address(layout)))
    try:
        reply = dict(await exchange(address, [request.to_bytes()], _TIMEOUT_S))
        if "refusal" not in reply:
            return reply
        refused = str(reply["refusal"]), str(reply["field"]), int(reply["status"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        text = f"{address}: {str(error) or type(error).__name__}; see the journal"
        raise RefusedError(f"Nothing was changed: {text}", status=503) from error
    raise RefusedError(*refused)
