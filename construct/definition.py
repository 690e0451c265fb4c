"""The product's definition: construct.yaml and environment.yml, in the format of upstream's tools.

construct.yaml stays valid for conda's `constructor`. Only the keys that it uses are supported here;
any other is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from construct.condapkg import GLIBC_FLOOR
from littlest_hub.errors import LittlestHubError

REQUIRED = ("name", "version", "environment_file", "default_prefix")
KEYS = {
    "name": str,
    "version": str,
    "installer_type": str,
    "channels": list,
    "environment_file": str,
    "virtual_specs": list,
    "default_prefix": str,
    "license_file": str,
    "post_install": str,
    "script_env_variables": dict,
    "conclusion_text": str,
    "register_envs": bool,
    "menu_packages": list,
    "build_outputs": list,
}
"""Keys of construct.yaml that the embedded builder supports, and their types."""
FIXED_VALUES = {
    "installer_type": "sh",
    "virtual_specs": ["__glibc >={}.{}".format(*GLIBC_FLOOR)],
    "register_envs": False,
    "menu_packages": [],
}
"""Keys for which the embedded builder supports only one value."""
OUTPUT_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "hash": {"algorithm": "sha256"},
    "lockfile": {},
    "pkgs_list": {},
    "licenses": {},
}
"""Entries of build_outputs that the embedded builder supports, with the only options of each."""
ENVIRONMENT = re.compile(r"""\{\{\s*environ\.get\(["'](\w+)["'],\s*["']([^"']*)["']\)\s*\}\}""")


@dataclass(frozen=True)
class Definition:
    """The contents of construct.yaml and environment.yml."""

    root: Path
    """The folder of construct.yaml."""
    name: str
    version: str
    channels: tuple[str, ...]
    environment_file: Path
    specs: tuple[str, ...]
    """The dependencies of environment.yml, as conda's match specs."""
    default_prefix: str
    license: str | None
    post_install: str | None
    script_env_variables: Mapping[str, str]
    conclusion: str
    build_outputs: frozenset[str]


def read(path: Path, environ: Mapping[str, str] = os.environ) -> Definition:
    """Read construct.yaml and the environment file it names.

    Raise LittlestHubError for a key or value that the embedded builder does not support.
    """
    document = _construct(path, environ)
    environment_file = path.parent / document["environment_file"]
    return Definition(
        root=path.parent,
        name=document["name"],
        version=document["version"],
        channels=tuple(document.get("channels", ())),
        environment_file=environment_file,
        specs=read_specs(environment_file),
        default_prefix=document["default_prefix"],
        license=_text(path, document, "license_file"),
        post_install=_text(path, document, "post_install"),
        script_env_variables=document.get("script_env_variables", {}),
        conclusion=document.get("conclusion_text", "installation finished.").rstrip(),
        build_outputs=frozenset(map(_build_output, document.get("build_outputs", ()))),
    )


def _construct(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    def value(match: re.Match[str]) -> str:
        return environ.get(match[1], match[2])

    text = ENVIRONMENT.sub(value, path.read_text())
    # Upstream parses a line that ends in [text] as a condition, with or without a comment sign.
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"\[[^\[\]]+\][^()]*$", line) and not line.lstrip().startswith("#"):
            raise LittlestHubError(
                f"{path.name}:{number}: a list in brackets at the end of a line is a condition "
                f"to upstream's constructor: {line.strip()}",
                "write the list as lines that start with `- `",
            )
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LittlestHubError(f"{path.name} is not YAML: {error}") from error
    for key, found in document.items():
        if key not in KEYS:
            raise LittlestHubError(
                f"{path.name}: the embedded builder does not know the key {key!r}",
                f"it honours: {', '.join(KEYS)}; others need upstream's constructor: "
                "python -m construct --with-constructor",
            )
        if not isinstance(found, KEYS[key]):
            raise LittlestHubError(f"{path.name}: {key} is {found!r}, not a {KEYS[key].__name__}")
    if missing := [key for key in REQUIRED if key not in document]:
        raise LittlestHubError(f"{path.name}: the key {missing[0]!r} is missing")
    for key, expected in FIXED_VALUES.items():
        if (found := document.get(key, expected)) != expected:
            raise _unsupported(f"{path.name}: {key}", found, expected)
    result: dict[str, Any] = document
    return result


def _text(path: Path, document: Mapping[str, Any], key: str) -> str | None:
    if key not in document:
        return None
    file: Path = path.parent / document[key]
    try:
        return file.read_text()
    except OSError as error:
        raise LittlestHubError(
            f"{path.name}: {key} is {document[key]}: {error.strerror}"
        ) from error


def _build_output(entry: Any) -> str:
    name, options = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
    if name not in OUTPUT_OPTIONS:
        raise LittlestHubError(f"construct.yaml: build_outputs: {name!r} is not known")
    if (options or {}) != OUTPUT_OPTIONS[name]:
        where = f"construct.yaml: build_outputs: {name}"
        raise _unsupported(where, options or {}, OUTPUT_OPTIONS[name])
    result: str = name
    return result


def _unsupported(what: str, found: object, expected: object) -> LittlestHubError:
    return LittlestHubError(
        f"{what} is {found!r}, not {expected!r}",
        "the embedded builder does nothing else; upstream's constructor may: "
        "python -m construct --with-constructor",
    )


def read_specs(path: Path) -> tuple[str, ...]:
    """Return the dependencies in an environment.yml."""
    document = yaml.safe_load(path.read_text())
    specs = document["dependencies"]
    for spec in specs:
        if not isinstance(spec, str):
            raise LittlestHubError(
                f"{path.name}: {spec!r} is no conda spec",
                "constructor installs a pip section here and ships nothing of it; name packages",
            )
    return tuple(specs)


def check_entry(
    where: str,
    entry: Mapping[str, Any],
    required: Mapping[str, type],
    optional: Mapping[str, type],
) -> None:
    """Check an entry of one of our lists.

    Raises:
        LittlestHubError: a key is unknown or missing, or its value has the wrong type.
    """
    kinds = {**required, **optional}
    for key, found in entry.items():
        if key not in kinds:
            raise LittlestHubError(f"{where}: unknown key {key!r}", f"known: {', '.join(kinds)}")
        if not isinstance(found, kinds[key]):
            raise LittlestHubError(f"{where}: {key} is {found!r}, not a {kinds[key].__name__}")
    if missing := [key for key in required if not entry.get(key)]:
        raise LittlestHubError(f"{where}: {missing[0]} is missing")
