"""Recipes of native packages, in rattler-build's format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from construct.condapkg import Metadata
from construct.sources import Source
from littlest_hub.errors import LittlestHubError


@dataclass(frozen=True)
class Recipe:
    """The parts of a recipe.yaml that the embedded builder supports (rattler-build's schema 1)."""

    folder: Path
    name: str
    version: str
    build_number: int
    build_string: str
    sources: tuple[Source, ...]
    script: str | None
    host: tuple[str, ...]
    run: tuple[str, ...]
    run_constraints: tuple[str, ...]
    license: str
    license_file: str | None
    summary: str
    homepage: str

    @property
    def metadata(self) -> Metadata:
        """The metadata of its package."""
        name = self.license_file and Path(self.license_file).name
        return Metadata(
            name=self.name,
            version=self.version,
            license=self.license,
            summary=self.summary,
            homepage=self.homepage,
            depends=self.run,
            constrains=self.run_constraints,
            build_number=self.build_number,
            build_string=self.build_string,
            licenses=(f"share/licenses/{self.name}/{name}",) if name else (),
        )


def read_recipe(folder: Path) -> Recipe:
    """Read ``folder/recipe.yaml``. Raise LittlestHubError for an unknown key."""
    path = folder / "recipe.yaml"
    text = path.read_text()
    context = (yaml.safe_load(text) or {}).get("context", {})

    def expand(match: re.Match[str]) -> str:
        if match[1] in ("hash", "build_number"):
            return match[0]
        if match[1] not in context:
            raise LittlestHubError(f"{path}: {match[0]} is not defined in context")
        return str(context[match[1]])

    document = yaml.safe_load(re.sub(r"\$\{\{\s*(\w+)\s*\}\}", expand, text))
    build = _section(path, document, "build", {"number", "string", "script"})
    requirements = _section(path, document, "requirements", {"host", "run", "run_constraints"})
    about = _section(
        path, document, "about", {"homepage", "license", "license_file", "summary", "description"}
    )
    package = _section(path, document, "package", {"name", "version"})
    return Recipe(
        folder=folder,
        name=package["name"],
        version=str(package["version"]),
        build_number=build.get("number", 0),
        build_string=build.get("string", Metadata.build_string),
        sources=tuple(Source(**entry) for entry in document.get("source", ())),
        script=build.get("script"),
        host=tuple(requirements.get("host", ())),
        run=tuple(requirements.get("run", ())),
        run_constraints=tuple(requirements.get("run_constraints", ())),
        license=about["license"],
        license_file=about.get("license_file"),
        summary=about["summary"],
        homepage=about["homepage"],
    )


def _section(path: Path, document: Any, name: str, known: set[str]) -> dict[str, Any]:
    section: dict[str, Any] = document.get(name) or {}
    if unknown := sorted(section.keys() - known):
        raise LittlestHubError(
            f"{path}: the embedded builder does not know {name}.{unknown[0]}",
            f"known there: {', '.join(sorted(known))}",
        )
    return section
