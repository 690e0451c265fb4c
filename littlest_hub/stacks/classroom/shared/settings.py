"""The shared folders, as the stack's fragment names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.settings import GROUP, POWERFUL_GROUPS

READ_ONLY, OF_A_GROUP, DROP_BOX = "read-only", "group", "drop-box"
KINDS = (READ_ONLY, OF_A_GROUP, DROP_BOX)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EXAMPLE = '{"kind": "read-only", "group": "teachers"}'


@dataclass(frozen=True)
class Folder:
    """One shared folder."""

    name: str
    kind: str
    group: str
    """Group of the machine that writes read-only data, shares the folder, or reads what others put
    into the drop box."""


@dataclass(frozen=True)
class Shared:
    """The variable SHARED at the top of the fragment."""

    shared: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """{"data": {"kind": "read-only", "group": "teachers"}}"""

    @property
    def folders(self) -> list[Folder]:
        """The folders, if there are no problems."""
        return [Folder(name, how["kind"], how["group"]) for name, how in self.shared.items()]

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        if not isinstance(self.shared, dict):
            text = f'expected {{"data": {_EXAMPLE}}}, found {self.shared!r}'
            return [("SHARED", text)]
        found = [text for name, how in self.shared.items() for text in _problems_of(name, how)]
        return [("SHARED", text) for text in found]


def _problems_of(name: Any, how: Any) -> Iterator[str]:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        yield f"expected a name of letters, digits, . _ and -, found {name!r}"
    if not (isinstance(how, dict) and how.keys() == {"kind", "group"}):
        yield f"{name}: expected {_EXAMPLE}, found {how!r}"
        return
    kind, group = how["kind"], how["group"]
    if kind not in KINDS:
        yield f"{name}: expected a kind of {', '.join(KINDS)}, found {kind!r}"
    if not (isinstance(group, str) and GROUP.fullmatch(group)):
        yield f"{name}: expected the name of a group, found {group!r}"
    elif group in POWERFUL_GROUPS:
        text = f"members of {group} are as powerful as root; expected another group"
        yield f"{name}: {text}"


def place_of(layout: Layout) -> Path:
    """Return the directory of the folders, on the machine and in servers."""
    return Path("/srv") / f"{layout.instance}-shared"
