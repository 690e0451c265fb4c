"""Recipes of native packages, in rattler-build's format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from construct import document
from construct.condapkg import Metadata
from construct.document import Value
from construct.sources import Source


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
    """Read ``folder/recipe.yaml``.

    Raises:
        LittlestHubError: it has a key or value that the embedded builder does not support.
    """
    path = folder / "recipe.yaml"
    whole = document.parse(document.read(path), path)
    context = whole.mapping().get("context")
    recipe = _expanded(whole, context.mapping() if context else {}).keys(
        ("package", "about"), ("context", "source", "build", "requirements")
    )
    package = recipe["package"].keys(("name", "version"))
    build = _section(recipe, "build", ("number", "string", "script"))
    requirements = _section(recipe, "requirements", ("host", "run", "run_constraints"))
    about = recipe["about"].keys(
        ("homepage", "license", "summary"), ("license_file", "description")
    )
    sources = recipe["source"].items() if "source" in recipe else []
    return Recipe(
        folder=folder,
        name=package["name"].text(),
        version=package["version"].text(),
        build_number=build["number"].number() if "number" in build else 0,
        build_string=build["string"].text() if "string" in build else Metadata.build_string,
        sources=tuple(map(_source, sources)),
        script=build["script"].text() if "script" in build else None,
        host=requirements["host"].texts() if "host" in requirements else (),
        run=requirements["run"].texts() if "run" in requirements else (),
        run_constraints=(
            requirements["run_constraints"].texts() if "run_constraints" in requirements else ()
        ),
        license=about["license"].text(),
        license_file=about["license_file"].text() if "license_file" in about else None,
        summary=about["summary"].text(),
        homepage=about["homepage"].text(),
    )


def _expanded(value: Value, context: Mapping[str, Value]) -> Value:
    """Return a value in which each `${{ NAME }}` is replaced by the text in the context."""

    def expand(match: re.Match[str]) -> str:
        if match[1] in ("hash", "build_number"):
            return match[0]
        if match[1] not in context:
            raise value.refuse(f"names that are defined in context, and {match[1]} is not")
        return context[match[1]].text()

    data = value.data
    if isinstance(data, dict):
        data = {key: _expanded(each, context) for key, each in data.items()}
    elif isinstance(data, list):
        data = [_expanded(each, context) for each in data]
    elif isinstance(data, str):
        data = re.sub(r"\$\{\{\s*(\w+)\s*\}\}", expand, data)
    return replace(value, data=data)


def _section(recipe: dict[str, Value], name: str, known: tuple[str, ...]) -> dict[str, Value]:
    return recipe[name].keys((), known) if name in recipe else {}


def _source(value: Value) -> Source:
    keys = value.keys(("url", "sha256"), ("target_directory",))
    return Source(**{name: each.text() for name, each in keys.items()})
