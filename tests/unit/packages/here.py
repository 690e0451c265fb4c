"""A base directory with a release, and wheels to add to it."""

from pathlib import Path

from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.packages import changes, source
from littlest_hub.packages.changes import Change
from tests import wheels


class Installation:
    """A base directory with a release and a directory of wheels."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout(base)
        self.prefix = wheels.release(base / "releases/1.0")
        (base / "hub").symlink_to("releases/1.0")
        (base / "jupyterhub_config.d").mkdir()
        (base / "state").mkdir()
        self.wheels = base.parent / "wheels"

    def add(self, *names: str, to: PackageSet = PackageSet.HUB) -> Change:
        with source.opened(self.wheels) as opened:
            return changes.add(self.layout, self.prefix, {to: names}, opened, lambda _: None)

    def remove(self, *names: str) -> Change:
        return changes.remove(self.layout, self.prefix, names, lambda _: None)

    @property
    def files(self) -> list[Path]:
        return sorted(self.layout.packages.rglob("*"))

    @property
    def overlay(self) -> Path:
        found = active_overlay(self.layout, self.prefix)
        assert found
        return found
