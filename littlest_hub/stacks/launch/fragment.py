"""Plain values at the top of the stack's fragment: for the hub, the resolver and the builder.

The hub runs the fragment. Root reads the same values without running it, for programs that the hub
must not command (`permissions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.stacks.launch import address, volumes
from littlest_hub.stacks.launch.configuration import Caps, Choices, FormError, of_form
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.stacks.launch.volumes import Volume

FRAGMENT = "65-launch.py"
_LINKS = ("documentation", "credits", "hubs")
_FORM = Form.__dataclass_fields__


@dataclass(frozen=True)
class Values:
    """Values of variables at the top of the fragment; each field is one in lower case."""

    title: str = "JupyterHub"
    group: str = ""
    """A group of the hub; "": everybody may launch."""
    allowed: Sequence[str] = ()
    banned: Sequence[str] = ()
    hosts: Sequence[str] = ()
    networks: Sequence[str] = ()
    """Networks that are not of the internet, and that resolver and builder may reach."""
    ca_file: str = ""
    channels: Mapping[str, str] = field(default_factory=lambda: Channels().addresses)
    """Channels of conda that may be used, by name; the first one is the usual one."""
    memory_gb: float = 0
    processors: float = 0
    hours: float = 0
    builds_per_person: int = 2
    disk_gb: float = 30
    private: bool = True
    """Whether people may launch repositories for which they have a name and a token."""
    webdav: bool = False
    """Whether servers may have a folder of a WebDAV server, with the person's own password."""
    guests: int = 0
    """The most people without a login who may be here; they get temporary servers of PREPARED."""
    collaborators: int = 10
    """The most other people whom a person may let into a server."""
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Directories of the machine, by the name that people read, with groups of the hub."""
    group_volumes: Mapping[str, int] = field(default_factory=dict)
    """How many volumes each member of a group of the hub may make for their groups."""
    prepared: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The fields of a form, by what people read."""
    one_click: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Titles of PREPARED, by the group whose members are not asked about them."""
    documentation: Mapping[str, str] = field(default_factory=dict)
    credits: Mapping[str, str] = field(default_factory=dict)
    hubs: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    @property
    def policy(self) -> Policy:
        return Policy(tuple(self.allowed), tuple(self.banned), tuple(self.hosts))

    def settings(self) -> Settings:
        """Return the settings of the hub and of the service.

        Raises:
            ValueError: one is not valid; `problems` says which.
        """
        return Settings(
            title=self.title,
            policy=self.policy,
            caps=Caps(self.memory_gb, self.processors, self.hours),
            builds_per_person=self.builds_per_person,
            collaborators=self.collaborators,
            guests=self.guests,
            is_private_possible=self.private,
            webdav=self.webdav,
            volumes={name: Volume.of_values(each) for name, each in self.volumes.items()},
            group_volumes={**self.group_volumes},
            prepared={title: Form(**form) for title, form in self.prepared.items()},
            one_click={group: tuple(each) for group, each in self.one_click.items()},
            documentation=self.documentation,
            credits=self.credits,
            hubs=self.hubs,
            address=self.address,
        )

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        wrong = [*self._wrong_types()]
        return wrong or [*self._wrong_values()]

    def _wrong_types(self) -> Iterator[tuple[str, str]]:
        for name, (is_right, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not is_right(value):
                yield name.upper(), f"found {value!r}, expected {expected}"

    def _wrong_values(self) -> Iterator[tuple[str, str]]:
        if self.ca_file and not Path(self.ca_file).is_absolute():
            yield "CA_FILE", f"found {self.ca_file!r}, expected an absolute path"
        try:
            address.networks(self.networks)
        except LittlestHubError as error:
            yield "NETWORKS", error.message
        try:
            Channels(self.channels)
        except LittlestHubError as error:
            yield "CHANNELS", error.message
        yield from self._wrong_addresses()
        yield from self._wrong_places()
        yield from self._wrong_forms()
        yield from self._wrong_clicks()

    def _wrong_addresses(self) -> Iterator[tuple[str, str]]:
        for name, value in (("HUBS", self.hubs), ("ADDRESS", {"": self.address})):
            for found in filter(None, value.values()):
                if not found.endswith("/"):
                    yield name, f"found {found!r}, expected a slash at its end"
        for name in (*_LINKS, "address"):
            value = getattr(self, name)
            for found in filter(None, value.values() if isinstance(value, Mapping) else [value]):
                if not found.startswith(("https://", "http://")):
                    yield name.upper(), f"found {found!r}, expected https://…"

    def _wrong_places(self) -> Iterator[tuple[str, str]]:
        for name, patterns in (("ALLOWED", self.allowed), ("BANNED", self.banned)):
            for found in patterns:
                if not _is_pattern(found):
                    yield name, f"found {found!r}, expected HOST/PATH, such as github.com/physics/*"
        for name, each in self.volumes.items():
            yield from (("VOLUMES", text) for text in volumes.problems(name, each))
        for found in self.hosts:
            if "/" in found:
                yield "HOSTS", f"found {found!r}, expected a host, such as gitlab.physics.lan"

    def _wrong_forms(self) -> Iterator[tuple[str, str]]:
        caps = Caps(self.memory_gb, self.processors, self.hours)
        try:
            every = {name: Volume.of_values(each) for name, each in self.volumes.items()}
        except (TypeError, KeyError, AttributeError):
            return  # it is reported
        choices = Choices(
            volumes.all_of(every),
            self.collaborators,
            may_be_temporary=True,
            may_be_private=self.private,
            may_have_webdav=self.webdav,
        )
        for title, form in self.prepared.items():
            if unknown := set(form) - set(_FORM):
                expected = ", ".join(_FORM)
                yield "PREPARED", f"{title}: {min(unknown)!r} is no field; expected {expected}"
                continue
            try:
                of_form(Form(**form), self.policy, caps, choices)
            except FormError as error:
                yield "PREPARED", f"{title}: {error.message}"

    def _wrong_clicks(self) -> Iterator[tuple[str, str]]:
        for group, titles in self.one_click.items():
            for problem in filter(None, map(self._problem_of_click, titles)):
                yield "ONE_CLICK", f"{group}: {problem}"

    def _problem_of_click(self, title: str) -> str:
        """Return why people have to be asked about what is prepared; "": they need not."""
        form = self.prepared.get(title)
        if form is None:
            expected = ", ".join(map(repr, self.prepared)) or "nothing"
            return f"found {title!r}, expected titles of PREPARED: {expected}"
        if not form.get("name"):
            return f"{title!r} has no name; expected one for its server"
        if form.get("share"):
            return f"{title!r} is shared, so everybody has to be asked"
        if form.get("private"):
            return f"{title!r} is private, so everybody is asked for a token"
        if form.get("webdav"):
            return f"{title!r} has a folder, so everybody is asked for a password"
        return ""


def _is_pattern(text: str) -> bool:
    """Return whether a pattern can match a repository: one that cannot would ban nothing."""
    is_place = "/" in text or "*" in text
    return is_place and "://" not in text and not text.endswith(("/", ".git"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(text) for pair in value.items() for text in pair
    )


def _are_forms(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(map(_is_text, value))
        and all(map(_is_table, value.values()))
    )


def _is_number(value: Any, least: float = 0) -> bool:
    return type(value) in (int, float) and least <= value < 1_000_000


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("title", "group", "ca_file", "address"), (_is_text, "a text")),
    **dict.fromkeys(("allowed", "banned", "hosts", "networks"), (_is_list, "a list of texts")),
    **dict.fromkeys(_LINKS, (_is_table, "texts by title")),
    "channels": (_is_table, "addresses by name"),
    **dict.fromkeys(("memory_gb", "processors", "hours"), (_is_number, "a number, or 0")),
    "disk_gb": (lambda value: _is_number(value, 1), "a number from 1"),
    **dict.fromkeys(
        ("private", "webdav"), (lambda value: isinstance(value, bool), "True or False")
    ),
    "guests": (lambda value: type(value) is int and 0 <= value <= 1000, "0 to 1000"),
    "collaborators": (lambda value: type(value) is int and 0 <= value <= 100, "0 to 100"),
    "builds_per_person": (lambda value: type(value) is int and value > 0, "1 or more"),
    "volumes": (
        lambda value: isinstance(value, Mapping),
        '{"data": {"path": "/srv/data", "read": ["physics"], "write": ["staff"]}}',
    ),
    "group_volumes": (
        lambda value: (
            isinstance(value, Mapping)
            and all(map(_is_text, value))
            and all(type(each) is int and 0 <= each <= 100 for each in value.values())
        ),
        '0 to 100 by group, such as {"staff": 5}',
    ),
    "one_click": (
        lambda value: (
            isinstance(value, Mapping)
            and all(map(_is_text, value))
            and all(map(_is_list, value.values()))
        ),
        "lists of titles, by group",
    ),
    "prepared": (_are_forms, "fields of the form, by title"),
}
"""The test of each value, and what it expects, in words."""


def read(layout: Layout) -> Values:
    """Return the values of the fragment on disk.

    Raises:
        LittlestHubError: there is no such fragment, or a value cannot be used.
    """
    return plain_values.read(layout, FRAGMENT, Values)
