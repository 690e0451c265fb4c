"""Jobs of the code tier: what the builder asks for, and how both sides talk.

The unit sends one byte, with the socket on which the builder is to be its proxy. The builder sends
a line of JSON, the job, and directories as `handover` has them. The unit answers with lines of
JSON: {"line": TEXT} for people, then {"failed": TEXT} or {"done": {}}, which the result follows as
a stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

READY = b"!"
LIMIT_BYTES = 4 << 20
"""Size of the largest job."""
TIMEOUT_S = 840
"""Time limit of a job; its unit has a little more."""


@dataclass(frozen=True)
class Wheel:
    """A wheel to be built."""

    what: str
    """"./PATH" in the repository, "git+https://…", "https://…", or "NAME==1", of an index."""
    name: str = ""
    """The name of a package of an index; "" for others."""
    hashes: tuple[str, ...] = ()
    """"sha256:…" of the sources that may be used; none: any."""


@dataclass(frozen=True)
class Job:
    """A job: wheels to be built, or a script to be run in a copy of an environment."""

    python: str
    """The interpreter for which wheels are built."""
    wheels: tuple[Wheel, ...] = ()
    constraints: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """Addresses, the main one first; none: nothing is reached."""
    find_links: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """Hosts besides these that may be reached: the builder's proxy decides that, not the unit."""
    certificates: str = ""
    """A file with the certificate authorities of these hosts; "": those that programs bring."""
    environment: str = ""
    """The path of the environment, which the script and its own programs contain."""
    script: str = ""
    """A path in the repository."""

    @property
    def canonical(self) -> bytes:
        """Its JSON, in a line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def of_json(line: bytes) -> Job:
    """Return a job.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    data: dict[str, Any] = json.loads(line)
    wheels = tuple(Wheel(**_as_tuples(each)) for each in data.pop("wheels"))
    return Job(wheels=wheels, **_as_tuples(data))


def _as_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in data.items()}
