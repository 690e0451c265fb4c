"""Finding what is wrong with the fragments without a hub."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets import TraitError
from traitlets.config import Config, Configurable
from traitlets.config.loader import LazyConfigValue

from littlest_hub.config import FragmentError, Surroundings, defaults, execute
from littlest_hub.hub import LittlestHub
from littlest_hub.layout import Layout

_CHOSEN = ("authenticator_class", "proxy_class", "spawner_class")


@dataclass(frozen=True, order=True)
class Problem:
    """Something that has to be mended before the hub can use a fragment."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def check(layout: Layout) -> list[Problem]:
    """Every problem of the fragments, in order; touches no hub, proxy or database.

    The fragments are executed, and the classes they name are imported.
    """
    files = layout.fragment_files()
    config = _RecordingConfig(frozenset(map(str, files)))
    for section, values in defaults(layout, Surroundings.of_unit()).items():
        config[section].update(values)
    problems = [problem for file in files for problem in _failure(file, config)]
    return sorted({*problems, *_misconfigured(config)})


def _failure(file: Path, config: Config) -> Iterator[Problem]:
    try:
        execute(file, config)
    except FragmentError as error:
        yield Problem(error.file, error.line, error.reason)


def _misconfigured(config: _RecordingConfig) -> Iterator[Problem]:
    """Values that traitlets would ignore, only warn about, or meet too late."""
    chosen: list[type[Any]] = [LittlestHub]
    for name in _CHOSEN:
        # What fails here is found again below, with its place.
        with contextlib.suppress(TraitError, ValueError):
            chosen.append(_validated(LittlestHub, name, config.JupyterHub.get(name)))
    known = {cls.__name__: cls for cls in _subclasses(Configurable)}
    for section, values in config.items():
        for trait, (file, line) in sorted(values.places.items()):
            where = f"{section}.{trait}"
            if section not in known:
                hint = _did_you_mean(section, known)
                yield Problem(file, line, f"{where}: there is no class {section!r}{hint}")
                continue
            # What it is used for decides, not where it is defined: c.Spawner is for our spawner.
            cls = next((c for c in chosen if issubclass(c, known[section])), known[section])
            traits = cls.class_traits(config=True)
            if trait not in traits:
                hint = _did_you_mean(trait, traits)
                yield Problem(file, line, f"{where}: {section} has no such setting{hint}")
                continue
            if isinstance(values[trait], LazyConfigValue):
                continue
            try:
                _validated(cls, trait, values[trait])
            except (TraitError, ValueError) as error:
                yield Problem(file, line, f"{where}: {error}")


def _validated(cls: Any, name: str, value: Any) -> Any:
    """The value as the trait would take it.

    Raises:
        TraitError, ValueError: it would not.
    """
    instance = cls.__new__(cls)
    try:
        return cls.class_traits()[name]._validate(instance, value)
    except (AttributeError, KeyError):
        return value  # a validator that needs a whole object; it judges when there is one


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _did_you_mean(name: str, candidates: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class _RecordingConfig(Config):  # type: ignore[misc]
    """Remembers at which line of which fragment each value was set."""

    def __init__(self, files: frozenset[str]) -> None:
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "places", {})
        super().__init__()

    def __getitem__(self, key: str) -> Any:
        if key not in self and key[:1].isupper():
            dict.__setitem__(self, key, _RecordingConfig(self.files))
        known = key in self
        value = super().__getitem__(key)
        if not known and isinstance(value, LazyConfigValue):
            self._record(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._record(key)

    def _record(self, key: str) -> None:
        frame = sys._getframe(2)
        while frame.f_back and frame.f_code.co_filename not in self.files:
            frame = frame.f_back
        if frame.f_code.co_filename in self.files:
            self.places[key] = (frame.f_code.co_filename, frame.f_lineno)
