"""The answer of the resolver: what a repository is at a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.contents import Remark
from littlest_hub.stacks.launch.environment_files import Environment, Kind


@dataclass(frozen=True)
class Resolution:
    """A repository at a commit."""

    commit: str
    date: str
    """Of the commit."""
    environment: Environment


def of_json(found: Mapping[str, Any]) -> Resolution:
    """Return the resolver's answer. It has parsed files of strangers, so it is not believed either.

    Raises:
        LittlestHubError: it is none.
    """
    try:
        commit, date = found["commit"], found["date"]
        if not (repository.is_commit(commit) and isinstance(date, str)):
            raise ValueError(commit)
        return Resolution(commit, date, _environment(found["environment"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LittlestHubError("the resolver's answer is none of this release") from error


def _environment(found: Mapping[str, Any]) -> Environment:
    """Return an environment whose values have the right types.

    Raises:
        ValueError, KeyError, TypeError: they do not.
    """
    made: dict[str, Any] = {}
    for each in fields(Environment):
        value = found[each.name]
        if each.name == "kind":
            made[each.name] = Kind(value)
        elif each.name in ("code", "refused", "left_out"):
            made[each.name] = tuple(_remark(remark) for remark in value)
        elif each.name in ("files", "hosts"):
            made[each.name] = tuple(_typed(text, str) for text in value)
        else:
            made[each.name] = _typed(value, bool if each.name == "installs_repository" else str)
    return Environment(**made)


def _remark(found: Mapping[str, Any]) -> Remark:
    return Remark(
        _typed(found["file"], str), _typed(found["line"], int), _typed(found["text"], str)
    )


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {value!r}")
    return value
