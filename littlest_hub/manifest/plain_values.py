"""Plain values at the top of a stack's fragment, read without running it.

Each part of a stack has a record of its values. A field is a variable of the fragment in lower
case, and its default is the value in the stock fragment.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

Record = TypeVar("Record")


class PlainSettings(Protocol):
    """A record of values at the top of the fragment."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""


Checked = TypeVar("Checked", bound=PlainSettings)


def parse(text: str, record: type[Record]) -> Record:
    """Return the record of values in the text of a fragment.

    Raises:
        ValueError, SyntaxError: a variable has no plain value.
    """
    wanted = {name.upper() for name in _fields(record)}
    found: dict[str, Any] = {}
    for statement in ast.parse(text).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id in wanted:
                try:
                    value = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
                except ValueError:
                    where = f"line {statement.lineno}: {target.id}"
                    raise ValueError(f"{where}: expected a plain value, no expression") from None
                found[target.id] = value
    return record_of(found, record)


def record_of(variables: Mapping[str, Any], record: type[Record]) -> Record:
    """Return the record of variables; missing ones have defaults, others are ignored."""
    names = {name: name.upper() for name in _fields(record)}
    return record(**{name: variables[key] for name, key in names.items() if key in variables})


def _fields(record: type[Any]) -> dict[str, Any]:
    fields: dict[str, Any] = record.__dataclass_fields__
    return fields


def read(layout: Layout, fragment: str, record: type[Checked]) -> Checked:
    """Return the record of values in a fragment on disk.

    Raises:
        LittlestHubError: there is no such fragment, or a value cannot be used.
    """
    file = layout.on_disk(layout.fragments) / fragment
    try:
        settings = parse(file.read_text(), record)
    except FileNotFoundError:
        raise LittlestHubError(f"{file} does not exist: its stack is not enabled") from None
    except (ValueError, SyntaxError) as error:
        raise LittlestHubError(f"{file}: {error}") from error
    if problems := settings.problems():
        raise LittlestHubError("\n".join(f"{file}: {name}: {text}" for name, text in problems))
    return settings
