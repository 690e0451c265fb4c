"""Security advisories, compared with every pinned version."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from construct import definition, wheels
from construct.advisory_list import LIST, Entry, read
from construct.recipe import read_recipe
from littlest_hub.errors import LittlestHubError

_EXACT = re.compile(r"(?P<name>\S+) ==(?P<version>[^*,|\s]+)")


@dataclass(frozen=True)
class Pin:
    """A package version that this checkout pins."""

    package: str
    """Its name in conda."""
    version: str
    where: str
    """The files that pin it, relative to the checkout."""


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
