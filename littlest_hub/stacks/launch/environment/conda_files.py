"""The environment.yml of conda: channels, packages, and requirements for pip.

Only its nodes are read, of which no objects are made. Specs are kept in our own spelling: one of
conda may contain the address of a package, of which nothing would be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import yaml

from littlest_hub.stacks.launch.environment import lock_files
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.contents import Contents, Line, shown
from littlest_hub.stacks.launch.environment.requirements import MOST_REQUIREMENTS, Requirements

MOST_CHANNELS = 20
KERNEL = "ipykernel"
_SPEC = re.compile(
    r"(?:(?P<channel>[A-Za-z0-9_.:/-]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    r"(?P<rest>(?: *[=<>!~]+ *| +)[A-Za-z0-9_.*+!|,<>=~ -]*)?"
)
_FILES = (".conda", ".tar.bz2")
_EXPECTED = "expected such as numpy, numpy=1.26 or conda-forge::numpy>=1.20,<2"


@dataclass(frozen=True)
class WantedOfConda:
    """The packages of conda that an environment asks for."""

    channels: tuple[str, ...] = ()
    """Addresses, the preferred one first."""
    specs: tuple[str, ...] = ()


def read(
    contents: Contents,
    requirements: Requirements,
    channels: Channels,
    document: yaml.Node | None,
    file: str,
) -> WantedOfConda:
    """Read an environment.yml.

    Args:
        contents: gets the remarks.
        requirements: gets those for pip.
        channels: the permitted ones.
        document: the file.
        file: its path.
    """
    # An alias is the node that it names: a list of aliases to lists would take hours.
    nodes = {id(node): node for node in _items(document, "dependencies")}
    lines = (each for node in nodes.values() for each in _items(node, "pip"))
    for each in islice(lines, MOST_REQUIREMENTS + 1):
        requirements.add_line(str(each.value), _line(file, each))
    asked = list(islice(_items(document, "channels"), MOST_CHANNELS + 1))
    if len(asked) > MOST_CHANNELS:
        contents.refuse(_line(file, asked[-1]), f"more than {MOST_CHANNELS} channels")
    for node in asked:
        lock_files.add_hosts(contents, f"{node.value}/")
    named = [(str(node.value), _line(file, node)) for node in asked]
    specs = []
    for node in islice(nodes.values(), MOST_REQUIREMENTS + 1):
        if isinstance(node, yaml.ScalarNode):
            specs.append(_spec(contents, channels, _line(file, node), node))
        elif not [*_items(node, "pip")]:
            contents.leave_out(_line(file, node), "expected the name of a package, or pip")
    if len(nodes) > MOST_REQUIREMENTS:
        contents.refuse(Line(file), f"more than {MOST_REQUIREMENTS} packages are required")
    for node in _keys(document):
        if node.value == "variables":
            contents.leave_out(_line(file, node), "variables are not set")
    found = tuple(channels.judged(contents, file, named))
    return WantedOfConda(found, tuple(dict.fromkeys(filter(None, specs))))


def _spec(contents: Contents, channels: Channels, at: Line, node: yaml.ScalarNode) -> str:
    """Return a spec in our own spelling; "": it is refused."""
    given = " ".join(node.value.split())
    found = _SPEC.fullmatch(given)
    if not found or given.endswith(_FILES):
        contents.refuse(at, f"{shown(node.value)} is no package of conda; {_EXPECTED}")
        return ""
    text = f"{found['name'].lower()}{(found['rest'] or '').rstrip()}"
    if not found["channel"]:
        return text
    address = channels.address(found["channel"])
    if not address:
        contents.refuse(at, channels.why_not(found["channel"]))
    return f"{address}::{text}" if address else ""


def of_python(asked: str, channels: Channels) -> WantedOfConda:
    """Return a Python of conda, for requirements of pip's.

    Args:
        asked: a version specifier (PEP 440), which this hub has no Python for.
        channels: the permitted ones.
    """
    # conda has the same operators.
    spec = f"python {asked.replace(' ', '')}"
    return WantedOfConda(tuple(channels.addresses.values())[:1], (spec,))


def _line(file: str, node: yaml.Node) -> Line:
    return Line(file, int(node.start_mark.line) + 1)


def _keys(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (name for name, _ in node.value)


def _items(node: yaml.Node | None, key: str) -> Iterator[yaml.Node]:
    """Yield the nodes of a list in a mapping."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key and isinstance(value, yaml.SequenceNode):
                yield from value.value
