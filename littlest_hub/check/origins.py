"""A configuration that records which line of which fragment set each value."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from littlest_hub.hub.hook_errors import frames, is_of_fragment


class Origin(NamedTuple):
    """The first line of a statement in a fragment, or in a file that a fragment loads."""

    file: str
    line: int


class _Access(NamedTuple):
    """An assignment to a setting, or a reading of a container that may have changed it."""

    origin: Origin
    before: list[str] | None
    """The container's elements before; None: an assignment."""


class RecordingConfig(Config):  # type: ignore[misc]
    """A configuration that records the origin of each value."""

    def __init__(self, *args: Any, **kwds: Any) -> None:
        object.__setattr__(self, "_accesses", {})
        object.__setattr__(self, "_replaced", {})
        super().__init__(*args, **kwds)

    def __getitem__(self, key: str) -> Any:
        if is_section(key):
            if key not in self:
                dict.__setitem__(self, key, RecordingConfig())
            return super().__getitem__(key)
        value = super().__getitem__(key)
        is_container = isinstance(value, (list, dict, set, LazyConfigValue))
        if is_container and (origin := _current_origin()):
            self._accesses.setdefault(key, []).append(_Access(origin, _elements(value)))
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if is_section(key) and isinstance(value, Config):
            dict.__setitem__(self, key, RecordingConfig())
            self[key].update(value)
            return
        # c.A.b |= … assigns the object that it has changed in place: the change counts.
        is_same = key in self and dict.__getitem__(self, key) is value and key in self._accesses
        origin = _current_origin()
        self._remember_replaced(key, origin)
        super().__setitem__(key, value)
        if is_same and isinstance(value, (list, dict, set)):
            return
        # Values that our own code completes keep the fragment as their origin.
        if origin:
            self._accesses[key] = [_Access(origin, None)]

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

    def first_origin(self, key: str) -> Origin | None:
        """Return the first line that mentions a key; None: no fragment does."""
        return next((access.origin for access in self._accesses.get(key, ())), None)

    def origin(self, key: str, element: Any = None) -> Origin | None:
        """Return the line that set a value, or added an element to it; None: no fragment did.

        Args:
            key: the setting.
            element: an element of a list or set, an item of a dict; None: the value as a whole.
        """
        if element is None:
            return next(reversed(self.contributors(key)), None)
        found, text = None, repr(element)
        for access, after in self._states(key):
            if text in after and text not in (access.before or ()):
                found = access.origin
        return found or self.origin(key)

    def earlier(self, key: str) -> tuple[list[Origin], list[Origin]]:
        """Return the lines before the last: those that the value still has, and those it has not.

        c.A.b = [*c.A.b, "new"] assigns a value that has what the earlier line set.
        """
        kept: list[Origin] = []
        gone: list[Origin] = []
        contributors = self.contributors(key)
        last = contributors[-1] if contributors else None
        elements = set(_elements(self.get(key)))
        for origin, had in self._replaced.get(key, {}).items():
            (kept if had and elements.issuperset(had) else gone).append(origin)
        kept += contributors[:-1]
        return [each for each in kept if each != last], [each for each in gone if each != last]

    def contributors(self, key: str) -> list[Origin]:
        """Return the lines that made a value what it is: the last assignment and what followed."""
        return [
            access.origin
            for access, after in self._states(key)
            if access.before is None or access.before != after
        ]

    def _remember_replaced(self, key: str, origin: Origin | None) -> None:
        """Remember the lines whose value another line is about to replace, and its elements."""
        # A line of a loop replaces its own value, again and again: that is one line.
        if origin and any(access.origin != origin for access in self._accesses.get(key, ())):
            elements = _elements(self.get(key))
            for each in self.contributors(key):
                self._replaced.setdefault(key, {})[each] = elements

    def _states(self, key: str) -> Iterator[tuple[_Access, list[str]]]:
        """Yield each access to a value, and the value's elements after it."""
        if accesses := self._accesses.get(key):
            after = [access.before or [] for access in accesses[1:]]
            yield from zip(accesses, [*after, _elements(self.get(key))], strict=True)


def is_section(key: str) -> bool:
    """Return whether traitlets treats a key as the name of a class."""
    return bool(key) and key[0].upper() == key[0] and not key.startswith("_")


def origin_of_error(error: BaseException, fragment: Path) -> Origin:
    """Return the innermost statement, in a fragment or a file it loads, that raised an error."""
    if isinstance(error, SyntaxError) and error.filename:
        return Origin(error.filename, error.lineno or _unreadable_line(Path(error.filename)))
    found = Origin(str(fragment), 1)
    for frame, line in frames(error.__traceback__):
        found = _origin(frame, line) or found
    if isinstance(error, (SyntaxError, ValueError)) and found == Origin(str(fragment), 1):
        return Origin(str(fragment), _unreadable_line(fragment))
    return found


def origin_in_traceback(error: BaseException) -> Origin | None:
    """Return the innermost statement of a fragment that led to an error; None: none did."""
    found = None
    for frame, line in frames(error.__traceback__):
        found = _origin(frame, line) or found
    return found


def origin_of_frame(frame: FrameType | None) -> Origin | None:
    """Return the statement of a fragment that led to this frame; None: none did."""
    while frame:
        origin = _origin(frame, frame.f_lineno)
        if origin:
            return origin
        frame = frame.f_back
    return None


def _current_origin() -> Origin | None:
    return origin_of_frame(sys._getframe(2))


def _origin(frame: FrameType, line: int) -> Origin | None:
    if not is_of_fragment(frame):
        return None
    file = frame.f_code.co_filename
    return Origin(file, _statements(file).get(line, line))


@functools.cache
def _statements(file: str) -> dict[int, int]:
    """Return the first line of the statement that covers each line."""
    found: dict[int, int] = {}
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return found
    # Breadth first: a statement inside a block comes after the block.
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node.lineno
    return found


def _unreadable_line(file: Path) -> int:
    """Return the first line that cannot be decoded or has a null byte; 1 if there is none."""
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
    """Return the elements of a container as text, to compare after they have changed."""
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
