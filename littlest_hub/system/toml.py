"""TOML: tomllib reads it, tomli-w writes it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def read_toml(file: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML.
    """
    return tomllib.loads(file.read_text())


def to_toml(data: dict[str, Any]) -> str:
    """Return TOML text that reads back as the same data, without keys and elements that are None.

    Raises:
        TypeError: something in it has no equivalent in TOML.
    """
    import tomli_w  # only here: supervisors read TOML and write none

    return tomli_w.dumps(_without_none(data))


def _without_none(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _without_none(value) for key, value in data.items() if value is not None}
    if isinstance(data, set | frozenset):
        data = sorted(data, key=str)
    if isinstance(data, list | tuple):
        return [_without_none(each) for each in data if each is not None]
    return data
