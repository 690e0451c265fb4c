"""Root's helper that switches the shared environment to another generation.

systemd starts an instance for each connection, as for `littlest_hub.helpers.pam`; only the hub can
connect. A request is the number of a generation and nothing else; the reply is a JSON object.
"""

from __future__ import annotations

import json
import re
import sys

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment.change import Environment

_NUMBER = re.compile(rb"[1-9][0-9]{0,8}")
_LIMIT_BYTES = 9


def main() -> None:
    """Answer the request on standard input."""
    layout = installation.of_this_release()
    print(json.dumps(answer(layout, sys.stdin.buffer.read(_LIMIT_BYTES + 1))), end="")


def answer(layout: Layout, request: bytes) -> dict[str, object]:
    """Return the reply: "refusal", or the generations "before" and "now"."""
    if not _NUMBER.fullmatch(request):
        return {"refusal": "expected the number of a generation"}
    try:
        before, now = Environment(layout).switch(int(request))
    except LittlestHubError as error:
        return {"refusal": ". ".join(filter(None, (error.message, error.hint)))}
    except OSError as error:
        return {"refusal": str(error)}
    print(f"the environment is generation {now}; it was {before}", file=sys.stderr)
    return {"before": before, "now": now}


if __name__ == "__main__":
    main()
