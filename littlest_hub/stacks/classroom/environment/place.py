"""The paths of a shared environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from littlest_hub.layout import Layout

NAME = "class"
"""The environment's name, part of its path."""


@dataclass(frozen=True)
class Place:
    """The paths of a shared environment, its generations, and the files around them."""

    link: Path
    """The environment as everybody sees it: a link to the present generation."""

    @classmethod
    def of(cls, layout: Layout) -> Place:
        """Return the place of the environment of an installation."""
        return cls(layout.environments / NAME)

    @property
    def home(self) -> Path:
        """The directory of the generations and of the files around them."""
        return self.link.parent / f".{self.link.name}"

    def generation(self, number: int) -> Path:
        """Return the directory of a generation."""
        return self.home / str(number)

    @property
    def python(self) -> Path:
        """The interpreter of the present generation."""
        return self.link / "bin" / "python3"

    @property
    def change(self) -> Path:
        """The directory of a change, which exists only while the change is made."""
        return self.home / "change"

    @property
    def imports(self) -> Path:
        """The list of modules that have to work in each generation, one on each line."""
        return self.home / "imports.txt"

    @property
    def programs(self) -> Path:
        """The directory of pip, conda and mamba, which precedes that of the environment in PATH."""
        return self.home / "bin"

    @property
    def kernels(self) -> tuple[Path, Path]:
        """Directories of Jupyter's data: our kernel specs, and those of the environment."""
        return self.home / "jupyter", self.home / "more"

    @property
    def lock(self) -> Path:
        """The lock of a process that changes the environment."""
        return self.home / "lock"
