"""Root's program that starts builds: one request for each connection, as systemd starts it.

A request is a line of JSON, {"order": ID}, and nothing else of it is used: it comes from the
service, which may have been hijacked. The answer is {"ended": {}} once no such build runs any more;
what has come of it is in the builder's log.
"""

from __future__ import annotations

import json
import sys

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.builder.place import checked_key
from littlest_hub.stacks.launch.builder.units import BUILD_TIMEOUT_S, build_unit
from littlest_hub.system.systemctl import systemctl

LIMIT_BYTES = 200


def main() -> None:
    """Answer the request on standard input."""
    layout = installation.of_this_release()
    print(json.dumps(answer(layout, sys.stdin.buffer.readline(LIMIT_BYTES))), flush=True)


def answer(layout: Layout, request: bytes) -> dict[str, object]:
    """Start a build, wait until it has ended, and return the reply."""
    try:
        unit = build_unit(layout, order_of(request))
        # If it runs already, this waits for its end as well (systemctl(1), --wait). The build's own
        # log explains a failure better.
        systemctl("start", "--wait", unit, is_checked=False, timeout_s=BUILD_TIMEOUT_S + 60)
    except LittlestHubError as error:
        return {"refused": error.message, "hint": error.hint or ""}
    return {"ended": {}}


def order_of(request: bytes) -> str:
    """Return the order's id in a request.

    Raises:
        LittlestHubError: there is none.
    """
    try:
        return checked_key(json.loads(request)["order"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise LittlestHubError("expected the id of an order") from None


if __name__ == "__main__":
    main()
