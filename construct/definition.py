"""The product's definition: construct.yaml and environment.yml, in the format of upstream's tools.

Both files stay valid for conda's `constructor`. The embedded builder acts on every key and value in
them, and refuses those on which it cannot act.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from construct import document, installer
from construct.condapkg import GLIBC_FLOOR
from construct.document import Value, shown_path
from littlest_hub.errors import LittlestHubError

UPSTREAM = (
    "the embedded builder does nothing else; upstream's constructor may: "
    "python -m construct --with-constructor"
)
REQUIRED = ("name", "version", "environment_file", "default_prefix")
FIXED_VALUES = {
    "installer_type": "sh",
    # The embedded builder makes all packages itself. Upstream takes them from there.
    "channels": ["conda-forge"],
    "virtual_specs": ["__glibc >={}.{}".format(*GLIBC_FLOOR)],
    "register_envs": False,
    "menu_packages": [],
}
"""Keys for which the embedded builder supports only one value."""
OPTIONAL = (
    *("$schema", "license_file", "post_install", "script_env_variables", "conclusion_text"),
    *("build_outputs", *FIXED_VALUES),
)
OUTPUT_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "hash": {"algorithm": "sha256"},
    "lockfile": {},
    "pkgs_list": {},
    "licenses": {"include_text": True, "text_errors": "replace"},
}
"""Entries of build_outputs that the embedded builder supports, with the only options of each."""
NAME = "letters, digits, `_`, `.` and `-`, with none of the last two at an end"
PREFIX = "a path of letters, digits, `. _ + @ , = : -`, $NAME, ${NAME} and ${NAME:-DEFAULT}"
JINJA = re.compile(r"\{\{.*?\}\}|\{[{%#].*")
VARIABLE = re.compile(r"""\{\{\s*environ\.get\(["'](\w+)["'],\s*["']([^"']*)["']\)\s*\}\}""")
# Upstream's constructor reads this as a condition, with and without a comment sign.
SELECTOR = re.compile(r"\S.*#.*(\[[^\[\]]+\])[^()]*$")
BRACKETS = re.compile(r"\S.*(\[[^\[\]]+\])$")
SPEC = re.compile(r"(?P<name>[a-z0-9_][a-z0-9_.-]*)( (?P<version>[0-9a-z_.*+!<>=~,|]+))?")


@dataclass(frozen=True)
class Definition:
    """The contents of construct.yaml and environment.yml."""

    name: str
    version: str
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

    Raises:
        LittlestHubError: a file cannot be read, or has a key or value that the embedded builder
            does not support.
    """
    whole = document.parse(_rendered(path, environ), path)
    keys = whole.keys(REQUIRED, OPTIONAL, UPSTREAM)
    for key in FIXED_VALUES.keys() & keys.keys():
        keys[key].must_be(FIXED_VALUES[key], UPSTREAM)
    if "$schema" in keys:
        keys["$schema"].text()
    name = _matching(keys["name"], installer.NAME, NAME)
    conclusion = keys["conclusion_text"].text() if "conclusion_text" in keys else None
    return Definition(
        name=name,
        version=_matching(keys["version"], installer.NAME, NAME),
        specs=_specs(_file(keys["environment_file"], path), name),
        default_prefix=_matching(keys["default_prefix"], installer.DEFAULT_PREFIX, PREFIX),
        license=_text_of_file(keys.get("license_file"), path),
        post_install=_text_of_file(keys.get("post_install"), path),
        script_env_variables=_variables(keys.get("script_env_variables")),
        conclusion="installation finished." if conclusion is None else conclusion.rstrip(),
        build_outputs=_build_outputs(keys.get("build_outputs")),
    )


def read_specs(path: Path) -> tuple[str, ...]:
    """Return the dependencies in an environment.yml.

    Raises:
        LittlestHubError: it has a key or value that the embedded builder does not support.
    """
    return _specs(path, None)


def _rendered(path: Path, environ: Mapping[str, str]) -> str:
    """Return the text of construct.yaml with the values of variables."""
    lines = document.read(path).split("\n")
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        where = f"{shown_path(path)}:{number}"
        line = line.rstrip()
        if condition := SELECTOR.search(line):
            raise LittlestHubError(
                f"{where}: found the condition {condition[1]}, expected none: the embedded builder "
                "evaluates no conditions",
                "remove it; a comment must not end in brackets either, because upstream's "
                "constructor takes them for a condition",
            )
        if condition := BRACKETS.search(line):
            raise LittlestHubError(
                f"{where}: found {condition[1]} at the end of a line, which is a condition to "
                "upstream's constructor, expected no brackets",
                "write a list as lines that start with `- `",
            )
        line = VARIABLE.sub(lambda match: environ.get(match[1], match[2]), line)
        if template := JINJA.search(line):
            raise LittlestHubError(
                f"{where}: found {template[0]}, expected no template but "
                '{{ environ.get("NAME", "DEFAULT") }}',
                UPSTREAM,
            )
        lines[number - 1] = line
    return "\n".join(lines)


def _matching(value: Value, pattern: re.Pattern[str], expected: str) -> str:
    text = value.text()
    if not pattern.fullmatch(text):
        raise value.refuse(expected)
    return text


def _file(value: Value, path: Path) -> Path:
    """Return the file that a value in the document `path` names."""
    file = path.parent / value.text()
    if not file.is_file():
        raise value.refuse(f"the name of a file in {shown_path(path.parent)}")
    return file


def _text_of_file(value: Value | None, path: Path) -> str | None:
    return None if value is None else document.read(_file(value, path))


def _variables(value: Value | None) -> dict[str, str]:
    if value is None:
        return {}
    found = {}
    for name, each in value.mapping().items():
        if not installer.VARIABLE.fullmatch(name):
            raise LittlestHubError(f"{each.where}: found {name!r}, expected the name of a variable")
        found[name] = each.text()
    return found


def _build_outputs(value: Value | None) -> frozenset[str]:
    found: set[str] = set()
    for entry in [] if value is None else value.items():
        if isinstance(entry.data, str):
            name, options = entry.data, None
        else:
            keys = entry.keys((), tuple(OUTPUT_OPTIONS), UPSTREAM)
            if len(keys) != 1:
                raise entry.refuse("one output, as `- NAME` or `- NAME:`")
            ((name, options),) = keys.items()
        if name not in OUTPUT_OPTIONS:
            raise entry.refuse(f"one of: {', '.join(OUTPUT_OPTIONS)}", UPSTREAM)
        if name in found:
            raise entry.refuse("each output once")
        if options is None or options.data is None:
            options = Value(entry.file, entry.line, f"{entry.key}.{name}", {})
        options.must_be(OUTPUT_OPTIONS[name], UPSTREAM)
        found.add(name)
    return frozenset(found)


def _specs(path: Path, name: str | None) -> tuple[str, ...]:
    """Return the dependencies in an environment.yml, whose name must be `name` if that is given."""
    whole = document.parse(document.read(path), path)
    keys = whole.keys(("dependencies",), ("name", "channels"), UPSTREAM)
    if "channels" in keys:
        keys["channels"].must_be(FIXED_VALUES["channels"], UPSTREAM)
    if "name" in keys and name is not None:
        keys["name"].must_be(name, "it is the name in construct.yaml")
    found: dict[str, str] = {}
    for entry in keys["dependencies"].items():
        if isinstance(entry.data, dict):
            raise entry.refuse(
                "the name of a package",
                "constructor installs a pip section here and ships nothing of it; name packages",
            )
        match = SPEC.fullmatch(entry.text())
        if match is None:
            raise entry.refuse("NAME or NAME VERSION, such as `python 3.13.*`", UPSTREAM)
        if match["name"] in found:
            raise entry.refuse(f"each package once: {found[match['name']]!r} comes before")
        found[match["name"]] = entry.text()
    return tuple(found.values())
