"""Settings of the launch stack: in its fragment, for the hub and for the service.

The service cannot read fragments. The hub tells it: they are the `info` of the service, which it
may read with its own token. So a reload applies them, and nothing has to be restarted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from littlest_hub.stacks.launch import volumes
from littlest_hub.stacks.launch.configuration import (
    Caps,
    Choices,
    Configuration,
    FormError,
    of_form,
)
from littlest_hub.stacks.launch.guests.names import GROUP, is_guest
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.volumes import Volume

OPTION = "launch"
"""The option of a server that is launched: the id of its configuration."""
NOT_FOR_GUESTS = "guests may launch only what this hub offers to them, as temporary servers"
SCOPES = (
    *("read:users!user", "read:servers!user", "start:servers!user", "delete:servers!user"),
    "read:users:shares!user",
)
"""Scopes of the service for the person whose browser it is: read since when the person is a user
here, and in which groups; read, start and stop the person's own servers; read which servers of
others the person may use."""


@dataclass(frozen=True)
class Settings:
    """Settings of the launch stack.

    Raises:
        ValueError: one is not valid.
    """

    title: str = "JupyterHub"
    """The name of the hub, on badges."""
    policy: Policy = field(default_factory=Policy)
    caps: Caps = field(default_factory=Caps)
    builds_per_person: int = 2
    """The most launches of a person that are built, or wait to be built, at the same time."""
    collaborators: int = 10
    """The most other people whom a person may let into a server."""
    is_temporary_possible: bool = True
    """False: servers are jobs, which have no home of their own."""
    is_private_possible: bool = True
    """Whether people may launch repositories for which they have a name and a token."""
    webdav: bool = False
    """Whether servers may have a WebDAV folder of the person's."""
    guests: int = 0
    """The most people without a login who may be here at the same time."""
    runs_code: bool = True
    """Whether builds may run code that somebody has approved; False: nothing keeps it apart."""
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    group_volumes: Mapping[str, int] = field(default_factory=dict)
    """How many volumes a member of a group may make for groups; {}: there are none."""
    prepared: Mapping[str, Form] = field(default_factory=dict)
    """Forms that somebody has filled in, by what people read: "Statistics, first week"."""
    one_click: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Titles of what is prepared, by the group whose members are not asked about them."""
    documentation: Mapping[str, str] = field(default_factory=dict)
    """Addresses of pages about launching here, by title."""
    credits: Mapping[str, str] = field(default_factory=dict)
    """Addresses of whom the institution thanks, by name; "": no link."""
    hubs: Mapping[str, str] = field(default_factory=dict)
    """Addresses of other hubs with this page, by title, with a slash at the end."""
    address: str = ""
    """The hub's own, for links to it, with its path and a slash at the end; "": as the browser has
    it."""

    def __post_init__(self) -> None:
        addresses = {**self.documentation, **self.credits, **self.hubs, "address": self.address}
        for title, address in addresses.items():
            # "javascript:" in a link would run in the page.
            if address and not address.startswith(("https://", "http://")):
                raise ValueError(f"{title}: expected https://…, found {address!r}")
        for title, address in {**self.hubs, "address": self.address}.items():
            if address and not address.endswith("/"):
                raise ValueError(f"{title}: expected a slash at the end of {address!r}")

    def choices_for(self, name: str, groups: Collection[str]) -> Choices:
        """Return what somebody may choose.

        Args:
            name: the person's.
            groups: the hub's, in which the person is.
        """
        if is_guest(name):
            return self.choices_of_guests
        offered = volumes.offered(self.volumes, {*groups, volumes.EVERYBODY})
        return Choices(
            offered,
            self.collaborators,
            may_be_temporary=self.is_temporary_possible,
            may_be_private=self.is_private_possible,
            may_have_webdav=self.webdav,
            may_build=self.runs_code,
        )

    @property
    def choices_of_guests(self) -> Choices:
        """Choices of people without a login."""
        offered = volumes.offered(self.volumes, [GROUP])
        return Choices(
            dict.fromkeys(offered, False), 0, may_be_temporary=self.is_temporary_possible
        )

    def offers(self, asked: Configuration) -> bool:
        """Return whether a configuration is one for guests: temporary, of what is prepared.

        The rest of it, such as its file and its resources, may differ.
        """
        if not asked.temporary or asked.private or not self.guests:
            return False
        every = Choices(volumes.all_of(self.volumes), 100, may_be_temporary=True)
        for form in self.prepared.values():
            try:
                found = of_form(form, self.policy, self.caps, every)
            except FormError:
                continue  # `check` reports it
            same = ("repository", "ref", "as_of", "built")
            if all(getattr(found, name) == getattr(asked, name) for name in same):
                return True
        return False

    def is_one_click(self, configuration: Configuration, groups: Collection[str]) -> bool:
        """Return whether an administrator has approved a configuration for one of these groups."""
        every = Choices(volumes.all_of(self.volumes), may_be_temporary=True)
        for group in {*groups} & {*self.one_click}:
            for form in (self.prepared.get(title) for title in self.one_click[group]):
                try:
                    found = form and of_form(form, self.policy, self.caps, every)
                except FormError:
                    continue  # `check` reports it
                if found == replace(configuration, commit=""):
                    return True
        return False

    def to_json(self) -> dict[str, Any]:
        """Return them for the `info` of the service."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "policy": _values(self.policy),
            "caps": _values(self.caps),
            "volumes": {name: _values(volume) for name, volume in self.volumes.items()},
            "prepared": {title: _values(form) for title, form in self.prepared.items()},
        }

    @classmethod
    def from_json(cls, info: Mapping[str, Any]) -> Settings:
        """Return the settings in the `info` of the service.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: they are those of another release.
        """
        policy: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in info["policy"].items()
        }
        prepared = {title: Form(**form) for title, form in info["prepared"].items()}
        parts = {
            "policy": Policy(**policy),
            "caps": Caps(**info["caps"]),
            "one_click": {group: tuple(each) for group, each in info["one_click"].items()},
            "volumes": {name: Volume.of_values(each) for name, each in info["volumes"].items()},
            "prepared": prepared,
        }
        return cls(**{**info, **parts})


def _values(of: Any) -> dict[str, Any]:
    return {each.name: getattr(of, each.name) for each in fields(of)}
