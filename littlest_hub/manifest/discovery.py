"""The stacks of a release, and those that packages of the hub set bring."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import littlest_hub
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.manifest import enabled
from littlest_hub.manifest.manifest import ENTRY_POINTS, Manifest

OURS = "littlest-hub"
_OUR_STACKS = Path(littlest_hub.__file__).parent / "stacks"


@dataclass(frozen=True)
class Stack:
    """A stack that can be enabled."""

    manifest: Manifest
    directory: Path
    """Directory of its package."""
    origin: str = OURS
    """The distribution that brings it."""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def is_ours(self) -> bool:
        return self.origin == OURS


def shipped() -> dict[str, Stack]:
    """Return the stacks of this release, by name; one that is being written has no manifest yet.

    Raises:
        LittlestHubError: a manifest is wrong, which a test of ours excludes.
    """
    found = {}
    for module in pkgutil.iter_modules([str(_OUR_STACKS)]):
        package = importlib.import_module(f"littlest_hub.stacks.{module.name}")
        if hasattr(package, "MANIFEST"):
            stack = Stack(_checked(package.MANIFEST), _OUR_STACKS / module.name)
            found[stack.name] = stack
    return found


def names(overlay: Path | None) -> set[str]:
    """Return the names of all stacks; of those in an overlay, no code runs."""
    return {*shipped(), *(point.name for _, point in _registered(overlay))}


def from_elsewhere(overlay: Path | None) -> Iterator[Stack | LittlestHubError]:
    """Yield the stacks that packages of an overlay bring, or why one cannot be used.

    Its code runs with the rights of the caller, as it does in the hub.
    """
    if overlay is None:
        return
    directory = str(overlay / PackageSet.HUB)
    if directory not in sys.path:
        sys.path.append(directory)
    for distribution, point in _registered(overlay):
        try:
            package = importlib.import_module(point.module.partition(".")[0])
            place = Path(str(package.__file__)).parent
            manifest = _checked(point.load(), registered=point.name)
            yield Stack(manifest, place, distribution.name)
        except (Exception, SystemExit) as error:
            text = f"stack {point.name} of {distribution.name} cannot be used: {error}"
            yield LittlestHubError(text, f"littlest-hub packages remove {distribution.name}")


def _registered(
    overlay: Path | None,
) -> Iterator[tuple[metadata.Distribution, metadata.EntryPoint]]:
    """Yield the entry points of stacks in an overlay."""
    if overlay:
        for distribution in metadata.distributions(path=[str(overlay / PackageSet.HUB)]):
            for point in distribution.entry_points.select(group=ENTRY_POINTS):
                yield distribution, point


def stacks_of(overlay: Path | None) -> tuple[dict[str, Stack], list[LittlestHubError]]:
    """Return all stacks by name, and those that cannot be used; ours precede others.

    Args:
        overlay: the packages that the hub uses, as the machine sees them.
    """
    found, unusable = shipped(), []
    for each in from_elsewhere(overlay):
        if isinstance(each, LittlestHubError):
            unusable.append(each)
        elif each.name in found:
            text = f"stack {each.name} of {each.origin} is ignored:"
            unusable.append(LittlestHubError(f"{text} {found[each.name].origin} has one"))
        else:
            found[each.name] = each
    return found, unusable


def enabled_stacks(layout: Layout, prefix: Path) -> dict[str, Stack]:
    """Return the stacks that are enabled and that a release has, by name, in alphabetical order.

    Args:
        layout: the installation.
        prefix: of the release, whose packages the hub uses.

    Raises:
        LittlestHubError: the record of enabled stacks is damaged.
        OSError: it cannot be read.
    """
    known = enabled.read(layout)
    if not known:
        return {}
    stacks, _ = stacks_of(active_overlay(layout, prefix))
    return {name: stacks[name] for name in sorted(known) if name in stacks}


def _checked(manifest: object, registered: str = "") -> Manifest:
    """Return a manifest that is right, and has the name under which a package registers it.

    Packages of ours register nothing: a name such as "class" cannot be that of a package.
    """
    if not isinstance(manifest, Manifest):
        raise LittlestHubError(
            f"{registered}: expected a Manifest, found {type(manifest).__name__}"
        )
    problems = [*manifest.problems()]
    if registered and manifest.name != registered:
        problems.append(f"name {manifest.name!r}: expected {registered!r}, its entry point")
    if problems:
        raise LittlestHubError(f"the manifest of {manifest.name} is wrong: {'; '.join(problems)}")
    return manifest
