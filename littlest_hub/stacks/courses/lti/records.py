"""Which course belongs to which learning platform, and the grades that it has; root's files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.lti.connection import Connection
from littlest_hub.system import locks
from littlest_hub.system.files import write

_FORMAT = 1


@dataclass(frozen=True)
class Sent:
    """The grades of an assignment that the platform has."""

    column: str
    """Address of its column in the platform's gradebook."""
    grades: dict[str, str] = field(default_factory=dict)
    """Score and maximum, as they were sent, by the platform's name for the student."""


@dataclass(frozen=True)
class Record:
    """The record of a course's platform."""

    connection: Connection
    sent: dict[str, Sent] = field(default_factory=dict)
    """By assignment."""


def read(layout: Layout, name: str) -> Record | None:
    """Return what is known of a course's platform; None: it has none.

    Raises:
        LittlestHubError: the file is damaged.
    """
    file = layout.on_disk(place.platform_record(layout, name))
    try:
        found = json.loads(file.read_text())
        if found["format"] != _FORMAT:
            raise ValueError(f"format {found['format']!r}")
        sent = {str(key): Sent(**each) for key, each in found["sent"].items()}
        return Record(Connection.from_json(found["connection"]), sent)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, LittlestHubError) as error:
        raise LittlestHubError(
            f"{file} is damaged: {error!r}",
            f"Connect the course again: {layout.command} course lti connect {name} --help",
        ) from error


def of_course(layout: Layout, name: str) -> Record:
    """Return what is known of a course's platform.

    Raises:
        LittlestHubError: it has none, or the file is damaged.
    """
    if found := read(layout, name):
        return found
    raise LittlestHubError(
        f"{name} is not connected to a learning platform",
        f"Name its addresses: {layout.command} course lti connect {name} --help",
    )


def connect(layout: Layout, name: str, connection: Connection) -> None:
    """Replace the platform of a course. The caller holds the lock (`alone`)."""
    try:
        before = read(layout, name)
    except LittlestHubError:
        before = None
    keeps = before is not None and not before.connection.is_another_gradebook(connection)
    save(layout, name, Record(connection, before.sent if before and keeps else {}))


def save(layout: Layout, name: str, record: Record) -> None:
    """Replace the file in one step. The caller holds the lock."""
    sent = {key: asdict(each) for key, each in record.sent.items()}
    text = json.dumps(
        {"format": _FORMAT, "connection": record.connection.to_json(), "sent": sent}, indent=1
    )
    # Not flushed: without its last lines, the same grades are sent once more.
    write(layout.on_disk(place.platform_record(layout, name)), f"{text}\n", 0o600, is_durable=False)


def with_sent(record: Record, assignment: str, sent: Sent) -> Record:
    """Return a record with the grades of an assignment replaced."""
    return replace(record, sent={**record.sent, assignment: sent})


def forget(layout: Layout, name: str) -> bool:
    """Forget the platform of a course; return whether it had one."""
    file = layout.on_disk(place.platform_record(layout, name))
    found = file.exists()
    for each in (file, _lock(layout, name)):
        each.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def alone(layout: Layout, name: str) -> Iterator[None]:
    """Let no other command ask the platform of a course, or change what is known of it.

    Raises:
        LittlestHubError: one does.
    """
    file = _lock(layout, name)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = locks.hold(file)
    if held is None:
        raise LittlestHubError(
            f"another command works with the learning platform of {name}", "Wait until it has ended"
        )
    with held:
        yield


def _lock(layout: Layout, name: str) -> Path:
    return layout.on_disk(place.platform_record(layout, name)).with_suffix(".lock")
