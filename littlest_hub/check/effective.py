"""The settings that count, of all that our defaults and the fragments set; without secrets."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from traitlets.config import Configurable
from traitlets.config.loader import LazyConfigValue

from littlest_hub.check.classes import chosen_classes, subclasses
from littlest_hub.check.configuration import Place, Setting
from littlest_hub.check.origins import Origin, RecordingConfig, is_section
from littlest_hub.check.redaction import REDACTED, Redactor, is_secret_name
from littlest_hub.check.values import merge_with_default


def effective_settings(config: RecordingConfig) -> list[Setting]:
    """Return each setting of a configuration, in the order of their names.

    c.Spawner and the classes derived from it configure one object: of their settings with one
    name, that of the most specific class counts, whatever the order of the lines.
    """
    chosen, _ = chosen_classes(config)
    found: dict[str, list[_Found]] = {}
    for path, section, key in _keys(config, ()):
        each = _Found(path, section, key, chosen)
        found.setdefault(each.configures, []).append(each)
    settings = []
    for rivals in found.values():
        *losers, winner = sorted(rivals, key=lambda each: each.rank)
        settings.append(winner.setting(losers))
    return sorted(settings, key=lambda each: each.name)


class _Found:
    """A setting of one section."""

    def __init__(
        self,
        path: tuple[str, ...],
        section: RecordingConfig,
        key: str,
        chosen: Mapping[str, type[Any]],
    ) -> None:
        self.section, self.key = section, key
        self.name = ".".join((*path, key))
        self.cls = _class(path[-1]) if path else None
        self.configures, self.rank, self.unused = self.name, 0, ""
        """The setting of an object, its rank among the sections that have it, why it is unused."""
        for role, used in chosen.items():
            names = [parent.__name__ for parent in used.__mro__]
            if path == (path[-1],) and path[-1] in names:
                self.configures, self.rank = f"{role}.{key}", -names.index(path[-1])
                self.cls = used
            # The application itself is not chosen: it is our subclass of JupyterHub.
            elif (
                role != "JupyterHub"
                and self.cls
                and role in [parent.__name__ for parent in self.cls.__mro__]
            ):
                self.unused = f"JupyterHub.{role.lower()}_class is {used.__name__}"

    def setting(self, losers: Sequence[_Found]) -> Setting:
        """Return it as people see it."""
        kept, gone = self.section.earlier(self.key)
        for each in losers:
            before, also = each.section.earlier(each.key)
            gone += [*also, *before, *filter(None, [each.section.origin(each.key)])]
        origin: Origin | None = self.section.origin(self.key)
        return Setting(
            name=self.name,
            value=shown(self.key, self._value()),
            place=_place(origin) if origin else None,
            adds_to=tuple(map(_place, dict.fromkeys(kept))),
            overrides=tuple(map(_place, dict.fromkeys(gone))),
            unused=self.unused,
        )

    def _value(self) -> Any:
        value: Any = dict.__getitem__(self.section, self.key)
        if isinstance(value, LazyConfigValue) and self.cls:
            with contextlib.suppress(Exception):
                return merge_with_default(self.cls, self.key, value)
        return value


def _place(origin: Origin) -> Place:
    return origin.file, origin.line


def shown(name: str, value: Any) -> Any:
    """Return a value for people and JSON, without secrets.

    Args:
        name: the setting, or the key of a dictionary, that has the value.
        value: of any type.
    """
    found: Any
    match value:
        case None | bool():
            found = value
        case Mapping():
            found = {str(key): shown(str(key), each) for key, each in value.items()}
        case Set():
            found = sorted((shown(name, each) for each in value), key=str)
        case list() | tuple():
            found = [*_elements(name, value)]
        case _ if is_secret_name(name):
            found = REDACTED
        case int() | float() if math.isfinite(value):
            found = value
        case str():
            found = _REDACTOR.text(value)
        case _:
            found = _REDACTOR.text(_description(value))
    return found


_REDACTOR = Redactor()


def _elements(name: str, values: Sequence[Any]) -> Iterator[Any]:
    """Yield the elements of a list; what follows --token is one."""
    is_secret = False
    for value in values:
        yield REDACTED if is_secret else shown(name, value)
        is_option = isinstance(value, str) and value.startswith("-") and "=" not in value
        is_secret = is_option and is_secret_name(value)


def _description(value: Any) -> str:
    """Return what is to be said about an object."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if inspect.isroutine(value):
        code = getattr(value, "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        return f"function {getattr(value, '__qualname__', '?')}{where}"
    try:
        return repr(value)
    except Exception as error:
        return f"{type(value).__qualname__} ({type(error).__name__})"


def _keys(
    section: RecordingConfig, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], RecordingConfig, str]]:
    """Yield each setting: the path of its section, the section, its name."""
    for key in list(section):
        if not is_section(key):
            yield path, section, key
        elif isinstance(section[key], RecordingConfig):
            yield from _keys(section[key], (*path, key))


def _class(name: str) -> type[Any] | None:
    return next((each for each in subclasses(Configurable) if each.__name__ == name), None)
