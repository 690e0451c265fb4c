"""The packages that the administrator asked for: a file for each set, in pip's format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.system.files import write


@dataclass(frozen=True)
class Requested:
    """One line of a requirements file."""

    text: str
    """The requirement as in PEP 508: "oauthenticator[google]>=17"."""
    place: str = ""
    """FILE:LINE; "": not in a file yet."""

    @property
    def name(self) -> str:
        """The package's name in its canonical spelling."""
        return canonicalize_name(Requirement(self.text).name)


Lists = dict[PackageSet, tuple[Requested, ...]]
"""Requirements by set."""


def texts(lists: Lists) -> dict[PackageSet, tuple[str, ...]]:
    """Return what is asked for as text, by set."""
    return {each: tuple(one.text for one in asked) for each, asked in lists.items()}


def parse(text: str, place: str = "") -> Requested:
    """Return a requirement by name and versions.

    Raises:
        LittlestHubError: it is none, or one with a URL or a marker.
    """
    where = f"{place}: " if place else ""
    hint = "Expected NAME, NAME==VERSION or NAME>=VERSION, such as oauthenticator==17.4.0"
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise LittlestHubError(f"{where}{text!r} names no package", hint) from None
    if found.url or found.marker:
        raise LittlestHubError(f"{where}{text!r}: addresses and markers are not accepted", hint)
    return Requested(str(found), place)


def file_of(layout: Layout, package_set: PackageSet) -> Path:
    """Return the requirements file of a set, as the machine sees it."""
    return layout.packages / f"{package_set}.txt"


def read(layout: Layout) -> Lists:
    """Return what the requirements files ask for.

    Raises:
        LittlestHubError: a line that is no requirement, with file and line.
    """
    files = {each: file_of(layout, each) for each in PackageSet}
    return {each: tuple(read_list(layout.on_disk(file), file)) for each, file in files.items()}


def read_list(place: Path, file: Path) -> Iterable[Requested]:
    """Yield what one file asks for.

    Args:
        place: the file on disk; it need not exist.
        file: its name for people.

    Raises:
        LittlestHubError: a line that is no requirement, with file and line.
    """
    for number, line in enumerate(_lines(place), 1):
        text = line.partition("#")[0].strip()
        if text:
            yield parse(text, f"{file}:{number}")


def write_lists(layout: Layout, lists: Lists) -> None:
    """Make the requirements files ask for these packages; comments and order stay."""
    for package_set, wanted in lists.items():
        file = layout.on_disk(file_of(layout, package_set))
        if wanted or file.exists():
            write(file, "".join(f"{line}\n" for line in _changed(_lines(file), wanted)))


def _changed(lines: list[str], wanted: Iterable[Requested]) -> Iterable[str]:
    left = {each.name: each.text for each in wanted}
    for line in lines:
        text, mark, comment = line.partition("#")
        if not text.strip():
            yield line
            continue
        name = canonicalize_name(Requirement(text.strip()).name)
        if replacement := left.pop(name, None):
            yield f"{replacement}  {mark}{comment}" if mark else replacement
    yield from left.values()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
