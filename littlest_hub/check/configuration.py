"""The output of `littlest-hub show`: the settings, and the lines that decided them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from littlest_hub.check.report import Problem

Place: TypeAlias = tuple[str, int]
"""A fragment, and the first line of a statement in it."""

_SHOWN = 400
"""Characters of a value that people see."""


@dataclass(frozen=True)
class Setting:
    """A setting that a fragment or this release has changed, without secrets."""

    name: str
    """The name as in fragments, without "c."."""
    value: Any
    """A value of JSON; what JSON does not have is text."""
    place: Place | None
    """The line that decided the value; None: this release."""
    adds_to: tuple[Place, ...] = ()
    """Earlier lines whose elements are still in the value."""
    overrides: tuple[Place, ...] = ()
    """Earlier lines that do not count any more."""
    unused: str = ""
    """The reason why it has no effect; "": it has one."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Setting:
        """Return the setting whose fields these are; JSON has lists in place of tuples."""
        lists = {each: tuple(map(tuple, fields[each])) for each in ("adds_to", "overrides")}
        place = tuple(fields["place"]) if fields["place"] else None
        return cls(**{**fields, "place": place, **lists})

    def to_json(self) -> dict[str, Any]:
        """Return the setting as a JSON object, for programs."""
        file, line = self.place or (None, None)
        return {
            "name": self.name,
            "value": self.value,
            "file": file,
            "line": line,
            "adds_to": _objects(self.adds_to),
            "overrides": _objects(self.overrides),
            "unused": self.unused,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        text = repr(self.value)  # as a fragment would have it
        if len(text) > _SHOWN:
            count = f", {len(self.value)} elements" if isinstance(self.value, (list, dict)) else ""
            text = f"{text[:_SHOWN]}… (cut{count}; --json shows it whole)"
        yield f"{self.name} = {text}"
        yield f"    {_text(self.place) if self.place else 'this release'}"
        for word, places in (("adds to", self.adds_to), ("overrides", self.overrides)):
            yield from (f"    {word} {_text(each)}" for each in places)
        if self.unused:
            yield f"    has no effect: {self.unused}"


@dataclass(frozen=True)
class Configuration:
    """The settings of a hub that starts now."""

    settings: Sequence[Setting]
    """Settings in the order of their names."""
    problems: Sequence[Problem]
    """Fragments that could not be run to their end: a hub would not start."""
    note: str
    """Restrictions that the sandbox could not apply; usually empty."""

    def changed(self, is_everything: bool) -> Configuration:
        """Return those of the fragments, or also those of this release."""
        found = [each for each in self.settings if each.place or is_everything]
        return Configuration(found, self.problems, self.note)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a JSON object."""
        return {
            "settings": [each.to_json() for each in self.settings],
            "problems": [str(each) for each in self.problems],
        }

    def __str__(self) -> str:
        return "\n".join(map(str, self.settings)) or "The fragments change no setting."


def _objects(places: Sequence[Place]) -> list[dict[str, str | int]]:
    return [{"file": file, "line": line} for file, line in places]


def _text(place: Place) -> str:
    return f"{place[0]}:{place[1]}"
