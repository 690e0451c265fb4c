"""An order to mount a WebDAV folder: a file of root's for one start of one server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK

LONGEST = 2000
"""The most characters of a name or a password."""


@dataclass(frozen=True)
class Order:
    """A folder, with the name and password of a person there."""

    address: str
    user: str
    password: str = field(repr=False)

    @property
    def text(self) -> str:
        """The content of the file."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Order:
        """Return the order in a file.

        Raises:
            LittlestHubError: it contains none.
        """
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            raise LittlestHubError("there is no order to mount a folder") from None
        if not all(isinstance(each, str) for each in asdict(found).values()):
            raise LittlestHubError("there is no order to mount a folder")
        return found


def is_secret(text: object) -> bool:
    """Return whether something can be a name or a password."""
    return isinstance(text, str) and text.isprintable() and len(text) <= LONGEST


def name_of(layout: Layout) -> str:
    """Return the name of the units that mount folders, without instance and suffix."""
    return layout.stack_unit(STACK, "-webdav")


def key_of(server: str) -> str:
    """Return the instance of that unit for the unit of a server."""
    return hashlib.sha256(server.encode()).hexdigest()[:32]


def unit_of(layout: Layout, server: str) -> str:
    """Return the unit that mounts the folder of a server."""
    return f"{name_of(layout)}@{key_of(server)}.service"


def file_of(layout: Layout, key: str) -> Path:
    """Return the file of an order; it is there until the folder is mounted."""
    return layout.server_environments / f"{key}.webdav"


def mounts_of(layout: Layout) -> Path:
    """Return the directory of all mounts, which only root may enter."""
    return Path("/run") / f"{name_of(layout)}-mounts"
