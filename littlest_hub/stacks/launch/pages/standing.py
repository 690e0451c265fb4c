"""The server that a configuration names: a new one, the same, or one that would change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.records import Approved, Records
from littlest_hub.stacks.launch.service.servers import Person, Server

_SHOWN_OF_COMMIT = 12
_OPENED = {"path", "urlpath"}
"""Fields of a configuration that change what opens, and nothing of the server."""
_FIELDS = {
    "repository": "repository",
    "ref": "branch, tag or commit that was asked for",
    "commit": "commit",
    "path": "file that opens",
    "urlpath": "page that opens",
    "name": "name",
    "memory_mb": "memory (MB)",
    "cpu_percent": "processors (percent of one)",
    "minutes": "duration (minutes)",
    "as_of": "date of the packages",
    "built": "packages that are built from their source",
    "mounts": "volumes",
    "share": "people who may use it",
    "temporary": "temporary",
    "private": "private repository",
    "webdav": "WebDAV folder",
}


class Relation(StrEnum):
    """The relation of a server to a configuration."""

    NEW = "new"
    """No such server exists."""
    SAME = "same"
    """It was started last with this configuration."""
    CHANGED = "changed"
    """It was started last with another one."""
    FOREIGN = "foreign"
    """It was not launched here, or nobody knows any more how."""


@dataclass(frozen=True)
class Standing:
    """A configuration, and the server that has its name."""

    kind: Relation
    server: Server | None = None
    changes: tuple[tuple[str, str, str], ...] = ()
    """A change: a field, its present value, its new value."""


def standing(configuration: Configuration, person: Person, records: Records) -> Standing:
    """Return the standing of a configuration among the servers of a person."""
    server = person.servers.get(configuration.name) if configuration.name else None
    if server is None:
        return Standing(Relation.NEW)
    try:
        last = records.approved(server.configuration).configuration
    except LittlestHubError:
        return Standing(Relation.FOREIGN, server)
    names = configuration.changes(last)
    changes = tuple(
        (_FIELDS[name], _shown(last, name), _shown(configuration, name)) for name in names
    )
    kind = Relation.SAME if _OPENED.issuperset(names) else Relation.CHANGED
    return Standing(kind, server, changes)


def launched_before(asked: Configuration, person: Person, records: Records) -> Approved | None:
    """Return what a person has launched before, if that is what they ask for again; or None.

    It is for a repository that is gone: commit and environment are those of the last start.

    Args:
        asked: what they ask for; its ref has not been resolved.
        person: whose server it is.
        records: of the person.
    """
    server = person.servers.get(asked.name) if asked.name else None
    if server is None or server.is_active or asked.opened:
        return None
    try:
        last = records.approved(server.configuration)
    except LittlestHubError:
        return None
    is_same = {"commit", *_OPENED}.issuperset(asked.changes(last.configuration))
    return last if is_same and last.order else None


def _shown(configuration: Configuration, name: str) -> str:
    value = str(getattr(configuration, name) or "as usual")
    return value[:_SHOWN_OF_COMMIT] if name == "commit" else value
