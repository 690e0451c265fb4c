"""Security advisories (advisories.yaml), compared with every pinned version."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from construct import definition, document, wheels
from construct.document import Value
from construct.recipe import read_recipe
from littlest_hub.errors import LittlestHubError
from littlest_hub.packages.advisory import Advisory

LIST = Path(__file__).with_name("advisories.yaml")
_EXACT = re.compile(r"(?P<name>\S+) ==(?P<version>[^*,|\s]+)")
_REQUIRED = ("id", "package", "affected", "date", "source", "about")
_OPTIONAL = ("fixed", "answer")


@dataclass(frozen=True)
class Pin:
    """A package version that this checkout pins."""

    package: str
    """Its name in conda."""
    version: str
    where: str
    """The files that pin it, relative to the checkout."""


@dataclass(frozen=True, kw_only=True)
class Entry(Advisory):
    """One entry of the list."""

    date: date
    """The day of publication, or the day we first saw it if the source has none."""
    answer: str = ""
    """The reason why an affected version may be released, and the test that proves it."""


@dataclass(frozen=True)
class Finding:
    """A pinned version that an advisory affects."""

    pin: Pin
    advisory: Entry

    def __str__(self) -> str:
        about = self.advisory
        return (
            f"{self.pin.where}: {self.pin.package} {self.pin.version} has {about.id}"
            f" ({about.about}), {about.remedy}; {about.source}"
        )


def read(path: Path | None = None) -> list[Entry]:
    """Return the advisories in the list.

    Raises:
        LittlestHubError: an entry is invalid.
    """
    path = path or LIST
    return [_entry(entry) for entry in document.parse(document.read(path), path).items()]


def to_json(path: Path | None = None) -> str:
    """Return the list as the release ships it, with the names of packages on the package index."""
    found = read(path)
    record = {
        "newest": max(each.date for each in found).isoformat(),
        "advisories": [
            {
                "id": each.id,
                "package": wheels.PYTHON_NAMES.get(each.package, each.package),
                "affected": each.affected,
                "fixed": each.fixed,
                "source": each.source,
                "about": each.about,
            }
            for each in found
        ],
    }
    return json.dumps(record, indent=1) + "\n"


def _entry(entry: Value) -> Entry:
    keys = entry.keys(_REQUIRED, _OPTIONAL)
    texts = {key: keys[key].text() for key in keys.keys() - {"affected", "date"}}
    affected = keys["affected"].texts()
    try:
        for each in affected:
            SpecifierSet(each)
        Version(texts.get("fixed", "0"))
    except (InvalidSpecifier, InvalidVersion) as error:
        raise LittlestHubError(f"{entry.where}: {texts['id']}: {error}") from error
    return Entry(affected=affected, date=keys["date"].date(), **texts)


def pins(root: Path) -> list[Pin]:
    """Return every pinned version: of environment.yml, the locked wheels and native recipes."""
    found: dict[tuple[str, str], list[str]] = {}

    def add(package: str, version: str, file: Path) -> None:
        found.setdefault((package, version), []).append(str(file.relative_to(root)))

    environment = root / "environment.yml"
    for spec in definition.read_specs(environment):
        if exact := _EXACT.fullmatch(spec):
            add(exact["name"], exact["version"], environment)
    lock = root / "construct" / "wheels.lock"
    for wheel in wheels.read_lock(lock.read_text()):
        add(wheels.conda_name(wheel.name), wheel.version, lock)
    for script in sorted((root / "recipe").glob("*/build.sh")):
        recipe = read_recipe(script.parent)
        add(recipe.name, recipe.version, script.with_name("recipe.yaml"))
    return [Pin(*what, ", ".join(files)) for what, files in found.items()]


def compare(root: Path, advisories: Sequence[Entry]) -> list[Finding]:
    """Return the pinned versions that an advisory affects."""
    return [
        Finding(pin, advisory)
        for pin in pins(root)
        for advisory in advisories
        if advisory.package == pin.package and advisory.affects(pin.version)
    ]


def refuse_affected(root: Path, path: Path | None = None) -> str:
    """Return a summary if every advisory that affects a pinned version has an answer.

    Raises:
        LittlestHubError: an advisory has none; with package, both versions and source.
    """
    advisories = read(path)
    found = compare(root, advisories)
    if unanswered := [str(each) for each in found if not each.advisory.answer]:
        raise LittlestHubError(
            "\n".join(["pinned versions have known vulnerabilities:", *unanswered]),
            "pin a fixed version (docs/how-to/build.md), or say in construct/advisories.yaml why"
            " it does not concern us and what proves that",
        )
    newest = max(each.date for each in advisories)
    lines = [
        f"{len(pins(root))} packages, {len(advisories)} advisories up to {newest}: none unanswered"
    ]
    lines += [f"{each}\n  answer: {each.advisory.answer.strip()}" for each in found]
    return "\n".join(lines)


def main() -> int:
    """Print the comparison of this checkout: `python -m construct.advisories`."""
    try:
        print(refuse_affected(LIST.parent.parent))
    except LittlestHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
