"""Our YAML files, read so that every key and value is used, or refused with its line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from littlest_hub.errors import LittlestHubError

_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    datetime.date: "a date",
}
_SHOWN_LENGTH = 80


@dataclass(frozen=True)
class Value:
    """A value in a document: a `dict` or `list` of values, or a scalar; and where it stands."""

    file: str
    line: int
    key: str
    """The key, such as `build_outputs[0].hash`; "": the whole document."""
    data: Any

    @property
    def where(self) -> str:
        return ": ".join(filter(None, (f"{self.file}:{self.line}", self.key)))

    def refuse(self, expected: str, hint: str | None = None) -> LittlestHubError:
        """Return the error that says what was found here, and what was expected."""
        return LittlestHubError(f"{self.where}: found {self._shown()}, expected {expected}", hint)

    def plain(self) -> Any:
        """Return the value in Python's own types."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data

    def text(self) -> str:
        """Return a text that files and scripts can contain. Raise LittlestHubError otherwise."""
        text = self._typed(str)
        if "\0" in text or (not text.isascii() and _is_broken(text)):
            raise self.refuse("text that can be written in UTF-8, without NUL")
        return str(text)

    def number(self) -> int:
        """Return a whole number. Raise LittlestHubError if it is something else."""
        return int(self._typed(int))

    def date(self) -> datetime.date:
        """Return a date. Raise LittlestHubError if it is something else."""
        found: datetime.date = self._typed(datetime.date)
        return found

    def items(self) -> list[Value]:
        """Return the values of a list. Raise LittlestHubError if it is something else."""
        found: list[Value] = self._typed(list)
        return found

    def texts(self) -> tuple[str, ...]:
        """Return the texts of a list. Raise LittlestHubError if it has another value."""
        return tuple(item.text() for item in self.items())

    def mapping(self) -> dict[str, Value]:
        """Return the values of a mapping. Raise LittlestHubError if it is something else."""
        found: dict[str, Value] = self._typed(dict)
        return found

    def keys(
        self, required: Sequence[str], optional: Sequence[str] = (), hint: str | None = None
    ) -> dict[str, Value]:
        """Return the values of a mapping that has these keys.

        Raises:
            LittlestHubError: it is no mapping, has another key (with `hint`), or lacks one, or a
                required one is empty.
        """
        found = self.mapping()
        known = ", ".join((*required, *optional))
        for key, value in found.items():
            if key not in required and key not in optional:
                raise LittlestHubError(
                    f"{value.where}: found the key {key!r}, expected one of: {known}", hint
                )
        for key in required:
            if key not in found:
                raise LittlestHubError(f"{self.where}: found no key {key!r}, expected it here")
            if found[key].data in ("", [], {}):
                raise found[key].refuse("a value")
        return found

    def must_be(self, expected: object, hint: str) -> None:
        """Raise LittlestHubError with `hint` if the value is another one."""
        # In Python True equals 1.
        if _canonical(self.plain()) != _canonical(expected):
            raise self.refuse(_shown(expected), hint)

    def _typed(self, kind: type) -> Any:
        # In Python True is a number, and a time is a date.
        if type(self.data) is not kind:
            raise self.refuse(_NAMES[kind])
        return self.data

    def _shown(self) -> str:
        return _shown(self.plain())


def read(path: Path) -> str:
    """Return the text of a file. Raise LittlestHubError if it has none."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise LittlestHubError(f"{shown_path(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise LittlestHubError(
            f"{shown_path(path)}:{line}: found the byte {error.object[error.start]:#04x}, "
            "expected text in UTF-8"
        ) from error


def parse(text: str, path: Path) -> Value:
    """Return the document in the text of a file.

    Raises:
        LittlestHubError: it is not YAML, has a key twice, or uses aliases or tags.
    """
    file = shown_path(path)
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            return Value(file, 1, "", None)
        return _Reader(file).value(node, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise LittlestHubError(
            f"{file}:{line}: not YAML: {error.problem or error.context}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise LittlestHubError(
            f"{file}:{line}: not YAML: found the character {chr(error.character)!r}"
        ) from error
    except RecursionError as error:
        raise LittlestHubError(f"{file}:1: found too many nested values") from error


def shown_path(path: Path) -> str:
    """Return a path as messages name it: relative, if it is below the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class _Reader:
    """Makes values from the nodes of a document."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, key: str) -> Value:
        if id(node) in self._seen:
            raise self._refuse(node, key, "found an alias, expected a value")
        self._seen.add(id(node))
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return Value(self.file, line, key, self._mapping(node, key))
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            items = [self.value(item, f"{key}[{n}]") for n, item in enumerate(node.value)]
            return Value(self.file, line, key, items)
        if isinstance(node, yaml.ScalarNode):
            return Value(self.file, line, key, self._scalar(node, key))
        raise self._refuse(node, key, f"found the tag {node.tag}, expected none")

    def _mapping(self, node: yaml.MappingNode, key: str) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for name, node_of_value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise self._refuse(name, key, "found a list or mapping as a key, expected text")
            if name.tag != "tag:yaml.org,2002:str":
                raise self._refuse(name, key, f"found {name.value} as a key, expected text")
            path = f"{key}.{name.value}" if key else name.value
            if name.value in found:
                first = f"found a second value, expected only that of line {found[name.value].line}"
                raise self._refuse(name, path, first)
            data = self.value(node_of_value, path).data
            found[name.value] = Value(self.file, name.start_mark.line + 1, path, data)
        return found

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            found = f"found {_shown(node.value)}, expected a value of the type {kind}"
            raise self._refuse(node, key, found) from error

    def _refuse(self, node: yaml.Node, key: str, message: str) -> LittlestHubError:
        where = Value(self.file, node.start_mark.line + 1, key, None).where
        return LittlestHubError(f"{where}: {message}")


def _is_broken(text: str) -> bool:
    """Return whether a text has surrogates, which UTF-8 cannot express."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, default=repr)


def _shown(data: object) -> str:
    if data is None:
        return "nothing"
    text = repr(data)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
