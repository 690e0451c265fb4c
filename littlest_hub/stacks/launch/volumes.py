"""Volumes: directories of the machine that servers may have, and who may read or write them.

The administrator names them in the fragment with groups of the hub. A person chooses among those
that are offered to them; a form, the service and the spawner judge the choice in the same way, and
the spawner does so at each start, with the groups of that moment.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.ownership import loose_step
from littlest_hub.units.server import RUNTIME

EVERYBODY = "*"
"""Stands for all groups in the lists of a volume."""
SHOWN = RUNTIME / "volumes"
"""Directory in which a server sees its volumes, each by its name."""
MOST = 16
"""The most volumes of one server."""
_WRITABLE = ":rw"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# Without what has a meaning in a property of systemd: spaces, colons, quotes and backslashes.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.@+-]+)+")
_OF_THE_SYSTEM = frozenset(
    [
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin"),
        *("sys", "tmp", "usr"),
    ]
)
_MORE_THAN_A_VOLUME = frozenset(["home", "media", "mnt", "opt", "srv", "var"])
_EXAMPLE = '{"path": "/srv/data", "read": ["physics"], "write": ["staff"]}'

Offered = Mapping[str, bool]
"""Volumes that a person may choose, by name: whether they may write."""


@dataclass(frozen=True)
class Volume:
    """A directory of the machine, and groups of the hub."""

    path: str
    read: Sequence[str] = ()
    write: Sequence[str] = ()
    """They may read as well."""

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Volume:
        """Return the volume that the fragment, or the service's settings, describe."""
        lists = {name: tuple(values.get(name, ())) for name in ("read", "write")}
        return cls(str(values["path"]), **lists)


class Mount(NamedTuple):
    """A volume that somebody has chosen."""

    name: str
    is_writable: bool

    def __str__(self) -> str:
        return f"{self.name}{_WRITABLE if self.is_writable else ''}"


def offered(volumes: Mapping[str, Volume], groups: Collection[str]) -> dict[str, bool]:
    """Return the volumes that somebody may choose.

    Args:
        volumes: all of the hub, by name.
        groups: those of the person, with EVERYBODY for all but guests.
    """
    mine = {*groups}
    return {
        name: not mine.isdisjoint(volume.write)
        for name, volume in volumes.items()
        if not mine.isdisjoint((*volume.read, *volume.write))
    }


def all_of(volumes: Mapping[str, Volume]) -> dict[str, bool]:
    """Return what is offered to somebody who is in each of the groups."""
    return {name: bool(volume.write) for name, volume in volumes.items()}


def checked(text: str, choice: Offered) -> str:
    """Return the volumes that somebody has chosen, in their one spelling and order.

    Args:
        text: names with spaces between; `NAME:rw` is one to write to.
        choice: what the person may choose.

    Raises:
        LittlestHubError: one of them is not offered, or not in this way.
    """
    found: dict[str, Mount] = {}
    for word in text.replace(",", " ").split():
        name, _, mode = word.partition(":")
        if mode not in ("", "ro", "rw") or (":" in word and not mode):
            raise LittlestHubError(f"found {word[:40]!r}, expected NAME, or NAME:rw to write to it")
        # The same words for a volume of others and for one that does not exist.
        if name not in choice:
            expected = ", ".join(sorted(choice)) or "nothing"
            raise LittlestHubError(
                f"there is no volume {name[:40]!r} for you (any more); expected {expected}"
            )
        if name in found:
            raise LittlestHubError(f"found {name} twice, expected each volume once")
        if mode == "rw" and not choice[name]:
            raise LittlestHubError(f"you may only read {name}; expected it without {_WRITABLE}")
        found[name] = Mount(name, mode == "rw")
    if len(found) > MOST:
        raise LittlestHubError(f"found {len(found)} volumes, expected at most {MOST}")
    return " ".join(str(found[name]) for name in sorted(found))


def mounts(canonical: str) -> list[Mount]:
    """Return the volumes of a text that `checked` has returned."""
    words = (word.partition(":") for word in canonical.split())
    return [Mount(name, mode == "rw") for name, _, mode in words]


def properties(canonical: str, volumes: Mapping[str, Volume]) -> dict[str, list[str]]:
    """Return the properties that show these volumes to a unit, and hide all others.

    A volume is hidden from servers that have not chosen it, also if its mode is open: only so, the
    groups of the fragment decide.
    """
    found: dict[str, list[str]] = {}
    if volumes:
        found["InaccessiblePaths"] = [f"-{volume.path}" for volume in volumes.values()]
    chosen = mounts(canonical)
    if chosen:
        # A mount of its own, because systemd 247 makes directories that the account cannot enter.
        found["TemporaryFileSystem"] = [f"{SHOWN}:ro,mode=0755,size=1M"]
    for mount in chosen:
        name = "BindPaths" if mount.is_writable else "BindReadOnlyPaths"
        shown = f"{volumes[mount.name].path}:{SHOWN / mount.name}"
        found.setdefault(name, []).append(shown)
    return found


def refuse_replaceable(volume: Volume, root: Path) -> None:
    """Refuse a volume that systemd, as root, would not find where the administrator has meant.

    Args:
        volume: the volume.
        root: the file system of the machine.

    Raises:
        LittlestHubError: it is not there, or is a link, or others could put a link in its place.
    """
    path = Path(volume.path)
    try:
        mode = (root / path.relative_to("/")).lstat().st_mode
    except OSError as error:
        raise LittlestHubError(f"{path}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        what = "a link" if stat.S_ISLNK(mode) else "no directory"
        raise LittlestHubError(f"{path} is {what}; expected the directory itself")
    loose = loose_step(path.parent, root) if os.geteuid() == 0 else None
    if loose:
        raise LittlestHubError(
            f"{path} cannot be a volume: {loose.reason}, so others could put a link there",
            loose.repair,
        )


def problems(name: Any, values: Any) -> Iterator[str]:
    """Yield what is wrong with a volume in the fragment."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        yield f"expected a name of lower-case letters, digits, - and _, found {name!r}"
    names = {"path", "read", "write"}
    if not isinstance(values, Mapping) or "path" not in values or not names.issuperset(values):
        yield f"{name}: expected {_EXAMPLE}, found {values!r}"
        return
    for key in ("read", "write"):
        groups = values.get(key, ())
        if not isinstance(groups, (list, tuple)) or not all(map(_is_group, groups)):
            yield f"{name}: {key}: found {groups!r}, expected a list of groups, or ['*']"
    if reason := _wrong_path(values["path"]):
        yield f"{name}: found {values['path']!r}, expected {reason}"


def _is_group(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _wrong_path(path: Any) -> str:
    """Return what is expected instead of a path; "": it can be a volume."""
    if not (isinstance(path, str) and _PATH.fullmatch(path)) or {".", ".."} & {*path.split("/")}:
        return "an absolute path of letters, digits, and . _ @ + -"
    _, first, *others = path.split("/")
    # Servers that do not have a volume do not see it.
    if first in _OF_THE_SYSTEM or (first in _MORE_THAN_A_VOLUME and not others):
        return "a directory without which all servers can do, such as /srv/data"
    return ""
