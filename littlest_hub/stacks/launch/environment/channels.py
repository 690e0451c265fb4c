"""Channels of conda packages: those that the administrator permits, and no others.

A channel's packages are shared by everybody's environments, and whoever may upload to it decides
what people run. So a repository chooses among the channels of a list. conda-forge is in it by
default; channels of Anaconda, Inc. are not, since their terms ask larger organizations to pay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Contents, Line, shown

ALIAS = "https://conda.anaconda.org"
"""Address of the server whose channels have short names (conda's setting `channel_alias`)."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9_.~-]+)+")
_OF_ANACONDA = re.compile(
    r"(?:https://(?:repo\.anaconda\.com|conda\.anaconda\.org)/)?"
    r"(?:pkgs/[a-z0-9-]+|defaults|anaconda|main|r|msys2)/?"
)
_LICENCE = (
    "a channel of Anaconda, Inc., whose terms ask larger organizations to pay; the administrator"
    " can permit it"
)
_IGNORED = "nodefaults"


@dataclass(frozen=True)
class Channels:
    """The channels that may be used.

    Raises:
        LittlestHubError: one has no address of a channel.
    """

    addresses: Mapping[str, str] = field(
        default_factory=lambda: {"conda-forge": f"{ALIAS}/conda-forge"}
    )
    """The addresses, perhaps of mirrors, by name; the first one is taken if none is asked for."""

    def __post_init__(self) -> None:
        for name, address in self.addresses.items():
            if not (_NAME.fullmatch(name) and _ADDRESS.fullmatch(address)):
                raise LittlestHubError(
                    f"channel {name!r}: {address!r} is no address of a channel; expected such as"
                    f" {ALIAS}/conda-forge"
                )

    @classmethod
    def of_words(cls, words: Iterable[str]) -> Channels:
        """Return the channels that a command line lists, "NAME=ADDRESS".

        Raises:
            LittlestHubError: a word is something else.
        """
        parts = [each.partition("=") for each in words]
        return cls({name: address for name, _, address in parts})

    @property
    def words(self) -> tuple[str, ...]:
        """The same for a command line."""
        return tuple(f"{name}={address}" for name, address in self.addresses.items())

    def address(self, channel: str) -> str:
        """Return where packages of a channel are; "": it is not permitted.

        Args:
            channel: its name, or its address.
        """
        name = channel.rstrip("/").removeprefix(f"{ALIAS}/")
        if name in self.addresses.values():
            return name
        return self.addresses.get(name, "")

    def file(self, url: str) -> str:
        """Return where a file of a permitted channel is; "": it is in none.

        Args:
            url: its address, as a lock file has it.
        """
        parts = url.rsplit("/", 2)
        if len(parts) != 3 or parts[1] not in ("linux-64", "noarch"):
            return ""
        found = self.address(parts[0])
        is_package = re.fullmatch(r"[A-Za-z0-9_.!+-]+\.(?:conda|tar\.bz2)", parts[2])
        return f"{found}/{parts[1]}/{parts[2]}" if found and is_package else ""

    def why_not(self, channel: str) -> str:
        """Return why a channel is not permitted."""
        if _OF_ANACONDA.fullmatch(channel):
            return f"{shown(channel)} is {_LICENCE}"
        names = ", ".join(self.addresses) or "none"
        return f"{shown(channel)} is none of the channels that this hub permits: {names}"

    def judged(self, contents: Contents, file: str, asked: Sequence[tuple[str, Line]]) -> list[str]:
        """Return the addresses of those channels that an environment asks for; remark on others.

        Args:
            contents: gets the remarks.
            file: the file that asks for them.
            asked: each with its line; none: the first permitted one is meant.
        """
        if not self.addresses:
            contents.refuse(Line(file), "this hub permits no channels of conda")
        wanted = [(name, at) for name, at in asked if name != _IGNORED]
        found = [each for name, _ in wanted if (each := self.address(name))]
        for name, at in wanted:
            if self.address(name):
                continue
            # Beside another channel it is rarely needed: conda's own configuration adds it.
            if found and _OF_ANACONDA.fullmatch(name):
                contents.leave_out(at, f"{self.why_not(name)}; it is not asked")
            else:
                contents.refuse(at, self.why_not(name))
        return list(dict.fromkeys(found or [*self.addresses.values()][:1]))
