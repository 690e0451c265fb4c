"""Records that cross the sandbox as JSON: a request in, messages out, one per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from littlest_hub.check.configuration import Setting
from littlest_hub.check.facts import Facts
from littlest_hub.check.report import Problem


@dataclass(frozen=True)
class Request:
    """The fragments to check and the facts about the machine."""

    base: str
    """The base directory of the installation."""
    hub_user: str | None
    """The user that the hub runs as; None: root."""
    files: tuple[str, ...]
    """The fragments in order, or the copies to run in their place."""
    facts: Facts
    overlay: str | None = None
    """Packages that the hub imports besides its release's; None: no others."""
    wants_settings: bool = False
    """Whether to send the settings that the fragments make, and not what is wrong with them."""

    def to_json(self) -> dict[str, Any]:
        """Return the request as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Request:
        """Return the request that `to_json` made the JSON object of."""
        facts = Facts.from_json(record["facts"])
        files = tuple(record["files"])
        return cls(**{**record, "files": files, "facts": facts})


@dataclass(frozen=True)
class Running:
    """The evaluator is about to run this fragment; "": it has run all of them."""

    file: str


@dataclass(frozen=True)
class Domain:
    """A host name that a fragment gives the hub, to be looked up outside the sandbox."""

    name: str
    file: str
    line: int


@dataclass(frozen=True)
class Credentials:
    """The credentials that the sandbox has from systemd."""

    digests: dict[str, str]
    """Digests by the credential's name."""


@dataclass(frozen=True)
class Done:
    """The evaluator has finished."""


Message: TypeAlias = Problem | Running | Domain | Credentials | Setting | Done
_CLASSES = (Problem, Running, Domain, Credentials, Done)
_MAKERS: dict[str, Callable[..., Message]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    Setting.__name__: lambda **fields: Setting.from_json(fields),
}


def encode(message: Message) -> str:
    """Return a message as one line of JSON."""
    return json.dumps({"type": type(message).__name__, **asdict(message)})


def decode(line: str) -> Message:
    """Return the message that `encode` made a line of."""
    fields = json.loads(line)
    return _MAKERS[fields.pop("type")](**fields)
