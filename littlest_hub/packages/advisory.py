"""A security advisory: which versions of a package have a vulnerability."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version


@dataclass(frozen=True, kw_only=True)
class Advisory:
    """A vulnerability of some versions of a package."""

    id: str
    package: str
    """Its name on the package index; in the builder's list, its name in conda."""
    affected: tuple[str, ...]
    """Version specifiers (packaging's). A version that satisfies any of them is affected."""
    source: str
    """Address of the statement that gives `affected` and `fixed`."""
    about: str
    fixed: str = ""
    """The first fixed version of the newest series; "": there is none."""

    def affects(self, version: str) -> bool:
        """Return whether a version of the package has the vulnerability."""
        found = Version(version)
        return any(SpecifierSet(each).contains(found, prereleases=True) for each in self.affected)

    @property
    def remedy(self) -> str:
        """The version that helps, for people."""
        return f"fixed in {self.fixed}" if self.fixed else "not fixed in any version"
