"""The output of `littlest-hub packages list`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.packages import overlay, requirements
from littlest_hub.packages.lock import Lock


@dataclass(frozen=True)
class Listing:
    """The packages of a release's overlay, and what was asked for."""

    overlay: Path | None
    lock: Lock
    pending: tuple[str, ...]
    """Lines of the lists that the overlay does not fulfil."""
    rebuild: str
    """The command that applies them."""

    def to_json(self) -> dict[str, Any]:
        """Return the listing as a JSON object."""
        return {
            "overlay": str(self.overlay) if self.overlay else None,
            "pending": list(self.pending),
            "packages": [
                {
                    "set": package_set,
                    "name": wheel.name,
                    "version": wheel.version,
                    "sha256": wheel.sha256,
                    "requested": wheel.name in self._requested(package_set),
                }
                for package_set, wheels in self.lock.wheels.items()
                for wheel in wheels
            ],
        }

    def __str__(self) -> str:
        lines = [*self._lines()] or ["No packages besides those of the release."]
        if self.pending:
            lines += [f"Not applied yet ({self.rebuild}):"]
            lines += [f"  {each}" for each in self.pending]
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        titles = {
            PackageSet.HUB: "The hub:",
            PackageSet.SERVER: "User servers:",
            PackageSet.TOOLS: "Programs of stacks:",
        }
        lines = []
        for package_set, title in titles.items():
            wheels = self.lock.wheels.get(package_set, ())
            asked = self._requested(package_set)
            lines += [title] if wheels else []
            lines += [
                f"  {wheel.name} {wheel.version}" + ("" if wheel.name in asked else "  (needed)")
                for wheel in wheels
            ]
        return lines

    def _requested(self, package_set: PackageSet) -> set[str]:
        texts = self.lock.requested.get(package_set, ())
        return {canonicalize_name(Requirement(text).name) for text in texts}


def listing(layout: Layout, prefix: Path) -> Listing:
    """Return the packages of a release.

    Raises:
        LittlestHubError: a list or the lock cannot be read.
    """
    lock = overlay.present_lock(layout, prefix)
    lists = requirements.read(layout)
    pending = [
        f"{each.place}: {each.text}"
        for package_set, asked in lists.items()
        for each in asked
        if each.text not in lock.requested.get(package_set, ())
    ]
    pending += [
        f"{requirements.file_of(layout, package_set)}: {text} is no longer asked for"
        for package_set, texts in lock.requested.items()
        for text in texts
        if text not in {each.text for each in lists[package_set]}
    ]
    command = f"{layout.command} packages rebuild"
    return Listing(active_overlay(layout, prefix), lock, tuple(pending), command)
