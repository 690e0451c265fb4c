"""batchspawner, with its API for jobs reduced to one request and with quoted options.

A job reports its port. Fragments that use batchspawner import this; the hub does if they do not.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from batchspawner.api import BatchSpawnerAPIHandler
from tornado.web import HTTPError

from littlest_hub.hub import patches
from littlest_hub.hub.server_port import port_in


class PortHandler(BatchSpawnerAPIHandler):  # type: ignore[misc]
    """Receives the port that a job's server will listen at; once, while the server is starting."""

    def post(self) -> None:
        token = self.get_auth_token()
        user = self.current_user
        spawners = user.spawners.values() if user else ()
        spawner = next((s for s in spawners if token and s.api_token == token), None)
        if spawner is None or spawner.pending != "spawn":
            raise HTTPError(403, "no server of yours is starting")
        spawner.port = port_in(self.get_json_body())
        self.set_status(201)
        self.finish("{}")


def quoted(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as words of a shell, for the text of a job script.

    Raises:
        HTTPError: a value has more than one line.
    """
    words = {}
    for name, value in options.items():
        # Without an `options_from_form` of the fragment's, each field of a form is a list.
        text = str(value[0] if isinstance(value, list) and len(value) == 1 else value)
        if text and not text.isprintable():
            raise HTTPError(400, f"{name}: expected printable characters in one line")
        words[name] = shlex.quote(text) if text else ""
    return words


patches.replace_batchspawner_handler(PortHandler)
patches.quote_batchspawner_options(quoted)
