"""The address of the hub that serves now, and the token that the command shows it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError, with_sudo
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.table import STACK
from littlest_hub.system.files import write

SETTING = "class_start_token"
"""Name of the hub's setting with the token."""
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Credential:
    """Address and token with which the command asks the hub."""

    host: str
    port: int
    prefix: str
    """Beginning of the hub's paths, such as /hub/."""
    token: str


def file_of(layout: Layout) -> Path:
    """Return the file of the credential, which only root and the hub's user can read."""
    return layout.on_disk(layout.stack_hub_data(STACK)) / "start.json"


def publish(app: Any) -> None:
    """Make a token for the hub that serves from now on, and write it for root.

    Raises:
        OSError: it cannot be written.
    """
    token = secrets.token_hex(_TOKEN_BYTES)
    app.tornado_application.settings[SETTING] = token
    file = file_of(app.layout)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = Credential(app.hub.ip or "127.0.0.1", int(app.hub.port), app.hub.base_url, token)
    write(file, json.dumps(asdict(found)), 0o600)


def read(layout: Layout) -> Credential:
    """Return the credential of the hub that serves.

    Raises:
        LittlestHubError: no hub has written one, or only root may read it.
    """
    try:
        return Credential(**json.loads(file_of(layout).read_text()))
    except PermissionError:
        command = with_sudo(f"{layout.command} class start GROUP")
        raise LittlestHubError("only root may start servers of others", command) from None
    except FileNotFoundError:
        raise LittlestHubError(
            "the hub has not started since the class stack was enabled",
            f"Look at it: {with_sudo(f'{layout.command} doctor')}",
        ) from None
    except (OSError, ValueError, TypeError) as error:
        reload = f"systemctl reload {layout.hub_service}"
        raise LittlestHubError(
            f"{file_of(layout)} cannot be read: {error}",
            f"A reload of the hub writes it again: {with_sudo(reload)}",
        ) from error
