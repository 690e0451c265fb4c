"""Volumes of groups on disk: where they are, what they are called, and who may use them.

    PLACE/                          root's, 0700: nobody but root and systemd passes here
    PLACE/GROUP.NAME/volume.json    the group, and who has made it; written by root's helper
    PLACE/GROUP.NAME/files/         the files, 0777

Within `files`, everybody may do everything: groups of the hub have no number on the machine, and
shared servers have lent accounts. So the mount decides who may read and write, and nothing else.
A volume appears, and disappears, whole, by a rename of its directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from jupyterhub.slugs import is_valid_safe_slug, safe_slug

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.guests.names import GROUP as GUESTS
from littlest_hub.stacks.launch.volumes import EVERYBODY, Volume

MOST = 200
"""The most volumes of groups at a hub."""
_LONGEST = 255
RECORD, FILES = "volume.json", "files"
_RECORD_BYTES = 1 << 14
_SLUG = 30
_HASHED = 19
_OWN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NAME = re.compile(r"[a-z][a-z0-9-]*(?:_[0-9a-f]{10})?\.[a-z][a-z0-9_-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class GroupVolume:
    """A volume of a group.

    Raises:
        ValueError: it cannot be one.
    """

    name: str
    group: str
    owner: str
    """The name of the person who has made it."""
    person: str
    """The digest of that person (`records.digest_of`), which nobody has who gets the name later."""
    is_written_by_all: bool
    """Whether all members of the group may write; otherwise only its owner may."""
    time_s: int

    def __post_init__(self) -> None:
        texts = (self.name, self.group, self.owner, self.person)
        if not all(isinstance(each, str) for each in texts):
            raise ValueError("other types")
        if type(self.is_written_by_all) is not bool or type(self.time_s) is not int:
            raise ValueError("other types")
        if not _is_group(self.group) or not _is_text(self.owner):
            raise ValueError("no group, or no name")
        if not _DIGEST.fullmatch(self.person):
            raise ValueError("nobody's")
        prefix, _, own = self.name.partition(".")
        if not _OWN_NAME.fullmatch(own) or prefix != slug_of(self.group):
            raise ValueError("another name")

    def is_writable_by(self, person: str) -> bool:
        """Return whether a member of its group may write to it."""
        return self.is_written_by_all or person == self.person

    def volume(self, layout: Layout) -> Volume:
        """Return the directory that servers have; who may have it is decided here, not there."""
        return Volume(str(place_of(layout) / self.name / FILES))


def place_of(layout: Layout) -> Path:
    """Return the directory of all volumes of groups."""
    return Path("/srv") / f"{layout.instance}-volumes"


def slug_of(group: str) -> str:
    """Return what stands for a group in names: the group itself, or letters with a digest."""
    if is_valid_safe_slug(group, _SLUG):
        return group
    digest = hashlib.sha256(group.encode()).hexdigest()[:10]
    # With "_", which the name of no group has that stands for itself.
    return f"{safe_slug(group, avoid_collisions=False, max_length=_HASHED)}_{digest}"


def name_of(group: str, own: str) -> str:
    """Return the name of a volume: that of its group, and one of its own.

    So the names of a group's volumes tell other groups nothing, and a volume that somebody makes
    can never take the place of another group's in what people have launched.

    Raises:
        LittlestHubError: it cannot have this group or name.
    """
    if not _is_group(group):
        raise LittlestHubError(f"found {group[:40]!r}, expected a group of this hub")
    if not _OWN_NAME.fullmatch(own):
        raise LittlestHubError(
            f"found {own[:40]!r}, expected a name of at most 32 lower-case letters, digits, - and"
            " _, with a letter first"
        )
    return f"{slug_of(group)}.{own}"


def is_name(name: str) -> bool:
    """Return whether a name can be that of a group's volume."""
    return len(name) <= _SLUG + 33 and _NAME.fullmatch(name) is not None


def all_of(layout: Layout) -> dict[str, GroupVolume]:
    """Return all volumes of groups, by name; damaged ones are left out."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(each.name for each in layout.on_disk(place_of(layout)).iterdir())
    return named(layout, names)


def named(layout: Layout, names: Iterable[str]) -> dict[str, GroupVolume]:
    """Return those volumes of groups that exist and are not damaged, by name."""
    found = {}
    for name in filter(is_name, names):
        with contextlib.suppress(LittlestHubError):
            found[name] = read(layout, name)
    return found


def read(layout: Layout, name: str) -> GroupVolume:
    """Return a volume.

    Raises:
        LittlestHubError: there is none, or its record is damaged.
    """
    file = layout.on_disk(place_of(layout)) / name / RECORD
    try:
        with file.open("rb") as opened:
            found = GroupVolume(**json.loads(opened.read(_RECORD_BYTES)))
    except FileNotFoundError:
        raise LittlestHubError(f"there is no volume {name[:80]!r}") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise LittlestHubError(f"the record of the volume {name[:80]!r}: {error}") from error
    if found.name != name:
        raise LittlestHubError(f"the record of the volume {name[:80]!r} is that of another one")
    return found


def text_of(volume: GroupVolume) -> str:
    """Return the text of a record."""
    return json.dumps(asdict(volume), indent=1) + "\n"


def offered(
    volumes: Mapping[str, GroupVolume], groups: Collection[str], person: str
) -> dict[str, bool]:
    """Return the volumes that somebody may choose, by name, and whether they may write.

    Args:
        volumes: any.
        groups: those of the person at this moment.
        person: their digest.
    """
    return {
        name: volume.is_writable_by(person)
        for name, volume in volumes.items()
        if volume.group in groups
    }


def most_of(makers: Mapping[str, int], groups: Collection[str], *, is_admin: bool = False) -> int:
    """Return how many volumes somebody may have made.

    Args:
        makers: the number, by the group whose members may make volumes.
        groups: those of the person.
        is_admin: whether the person is an administrator of the hub, who has the highest number.
    """
    mine = {*groups, EVERYBODY}
    return max((most for group, most in makers.items() if is_admin or group in mine), default=0)


def _is_group(text: str) -> bool:
    return _is_text(text) and text not in (EVERYBODY, GUESTS)


def _is_text(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable()
