"""The starter of builds: root's program that starts the builder's unit for the id of an order.

systemd starts an instance for each connection; only the service of this stack can connect. The
request is {"order": ID} and nothing else. The answer comes when the build has ended, whatever has
become of it: the builder's log says that. systemd starts a unit once, so whoever asks for an order
that is being built waits for the same build.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder_units import BUILD_TIMEOUT_S, build_unit
from littlest_hub.stacks.launch.place import checked_key
from littlest_hub.system.systemctl import systemctl

WAIT_S = BUILD_TIMEOUT_S + 60
_LIMIT_BYTES = 200


def main() -> None:
    """Answer the request on standard input."""
    layout = installation.of_this_release()

    def wait(order: str) -> None:
        # Its exit code says whether the build has succeeded, which the log says better.
        systemctl("start", "--wait", build_unit(layout, order), is_checked=False, timeout_s=WAIT_S)

    print(json.dumps(answer(sys.stdin.buffer.read(_LIMIT_BYTES + 1), wait)))


def answer(request: bytes, wait: Callable[[str], None]) -> dict[str, object]:
    """Return the answer to a request.

    Args:
        request: as it came.
        wait: starts the build of an order, and waits for its end.
    """
    try:
        found = json.loads(request) if len(request) <= _LIMIT_BYTES else None
        if not isinstance(found, dict) or found.keys() != {"order"}:
            raise ValueError
        wait(checked_key(str(found["order"])))
    except (ValueError, RecursionError):
        return {"refused": 'expected {"order": ID}', "hint": ""}
    except LittlestHubError as error:
        return {"refused": error.message, "hint": error.hint or ""}
    return {"ended": {}}


if __name__ == "__main__":
    main()
