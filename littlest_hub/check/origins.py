"""A configuration that remembers which line of which fragment decided each value."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue


class Place(NamedTuple):
    """The first line of a statement in a fragment, or in a file that a fragment loads."""

    file: str
    line: int


class _Touch(NamedTuple):
    """When a fragment set a value, or took a container in hand that it may have changed then."""

    place: Place
    before: list[str] | None
    """What was in the container; None: it was set."""


class RecordingConfig(Config):  # type: ignore[misc]
    """Remembers at which line of which fragment each value got to be what it is."""

    def __init__(self, *args: Any, **kwds: Any) -> None:
        object.__setattr__(self, "_touches", {})
        super().__init__(*args, **kwds)

    def __getitem__(self, key: str) -> Any:
        if is_section(key):
            if key not in self:
                dict.__setitem__(self, key, RecordingConfig())
            return super().__getitem__(key)
        value = super().__getitem__(key)
        place = _place_now() if isinstance(value, (list, dict, set, LazyConfigValue)) else None
        if place:
            self._touches.setdefault(key, []).append(_Touch(place, _elements(value)))
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if is_section(key) and isinstance(value, Config):
            dict.__setitem__(self, key, RecordingConfig())
            self[key].update(value)
            return
        # c.A.b |= … sets what it has changed in place: the change is what counts.
        is_same = key in self and dict.__getitem__(self, key) is value and key in self._touches
        super().__setitem__(key, value)
        if is_same and isinstance(value, (list, dict, set)):
            return
        place = _place_now()
        # What we complete ourselves is still the fragment's.
        if place:
            self._touches[key] = [_Touch(place, None)]

    def update(self, *args: Any, **kwds: Any) -> None:
        for key, value in dict(*args, **kwds).items():
            is_plain = is_section(key) and isinstance(value, dict)
            self[key] = Config(value) if is_plain else value

    def __ior__(self, other: Mapping[str, Any]) -> RecordingConfig:
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def first_place(self, key: str) -> Place | None:
        """Where a fragment first mentioned a key."""
        return next((touch.place for touch in self._touches.get(key, ())), None)

    def place(self, key: str, element: Any = None) -> Place | None:
        """Where a value, or an element of it, comes from; None: not from a fragment.

        Args:
            key: the setting.
            element: an element of a list or set, an item of a dict; None: the value as a whole.
        """
        touches = self._touches.get(key)
        if not touches:
            return None
        states = [touch.before for touch in touches[1:]] + [_elements(self.get(key))]
        found = None
        for touch, after in zip(touches, states, strict=True):
            before = touch.before
            if element is None:
                is_decisive = before is None or before != after
            else:
                text = repr(element)
                is_decisive = text in (after or ()) and text not in (before or ())
            found = touch.place if is_decisive else found
        if found is None and element is not None:
            return self.place(key)
        return found


def is_section(key: str) -> bool:
    """Whether traitlets takes a key for the name of a class."""
    return bool(key) and key[0].upper() == key[0] and not key.startswith("_")


def place_of(error: BaseException, fragment: Path) -> Place:
    """Where an exception arose: the innermost statement of a fragment or of what it loads."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(error.filename, error.lineno or _unreadable_line(Path(error.filename)))
    found = Place(str(fragment), 1)
    for frame, line in _frames(error.__traceback__):
        found = _place(frame, line) or found
    if isinstance(error, (SyntaxError, ValueError)) and found == Place(str(fragment), 1):
        return Place(str(fragment), _unreadable_line(fragment))
    return found


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def place_of_frame(frame: FrameType | None) -> Place | None:
    """Where a fragment is, seen from something that it has called; None: no fragment has."""
    while frame:
        place = _place(frame, frame.f_lineno)
        if place:
            return place
        frame = frame.f_back
    return None


def _place_now() -> Place | None:
    return place_of_frame(sys._getframe(2))


def _place(frame: FrameType, line: int) -> Place | None:
    # What traitlets puts into the namespace of a configuration file, and of no other.
    if "load_subconfig" not in frame.f_globals:
        return None
    file = frame.f_code.co_filename
    if file != frame.f_globals.get("__file__"):
        return None
    return Place(file, _statements(file).get(line, line))


@functools.cache
def _statements(file: str) -> dict[int, int]:
    """The first line of the statement at each line."""
    found: dict[int, int] = {}
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return found
    # Breadth first: what is inside a block comes after the block.
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node.lineno
    return found


def _unreadable_line(file: Path) -> int:
    """The first line that is not text in the file's encoding; 1 if there is none."""
    import io
    import tokenize

    try:
        content = file.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except (OSError, SyntaxError):
        return 1
    for number, line in enumerate(content.splitlines(), 1):
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError:
            return number
        if "\0" in text:
            return number
    return 1


def _elements(value: Any) -> list[str]:
    """What is in a container, comparable later when its elements have changed too."""
    if isinstance(value, LazyConfigValue):
        update = value._update or ()
        inserted = [element for _, element in value._inserts]
        parts = [*value._prepend, *inserted, *value._extend]
        return _elements(parts) + _elements(update)
    if isinstance(value, dict):
        return [repr(item) for item in value.items()]
    if isinstance(value, (list, set, tuple, frozenset)):
        return [repr(element) for element in value]
    return []
