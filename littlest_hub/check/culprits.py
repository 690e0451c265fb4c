"""Search for the setting that makes a hub fail: configurations without some settings are tried."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from traitlets.config import Config

from littlest_hub.check.origins import Origin, RecordingConfig


class Setting(NamedTuple):
    """A setting that a fragment has set."""

    origin: Origin
    """The line that decided its value."""
    path: tuple[str, ...]
    """Sections and key: ("JupyterHub", "port")."""


def settings_of_fragments(config: RecordingConfig, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield the settings that fragments have set."""
    values: dict[str, Any] = dict(dict.items(config))
    for key, value in values.items():
        if isinstance(value, RecordingConfig):
            yield from settings_of_fragments(value, (*path, key))
        elif origin := config.origin(key):
            yield Setting(origin, (*path, key))


def culprit(
    settings: Collection[Setting], fails_without: Callable[[Collection[Setting]], bool]
) -> Setting | None:
    """Return the first setting, in order of lines, with which a hub fails; None: it always fails.

    The number of attempts grows with the logarithm of the number of settings.

    Args:
        settings: with all of them, the hub fails.
        fails_without: tells whether it fails in the same way without these.
    """
    ordered = sorted(settings)
    if fails_without(ordered):
        return None
    works, fails = 0, len(ordered)
    while fails - works > 1:
        middle = (works + fails) // 2
        if fails_without(ordered[middle:]):
            fails = middle
        else:
            works = middle
    return ordered[fails - 1]


def without(config: RecordingConfig, settings: Collection[Setting], defaults: Config) -> Config:
    """Return a copy of a configuration, which a hub may change, in which settings have defaults."""
    changed = plain(config)
    for _, path in settings:
        section, default = changed, defaults
        for name in path[:-1]:
            section, default = section[name], default[name]
        if path[-1] in default:
            dict.__setitem__(section, path[-1], copy.copy(default[path[-1]]))
        else:
            section.pop(path[-1], None)
    return changed


def plain(config: Config) -> Config:
    """Return a copy that a hub may change, and that records nothing."""
    made = Config()
    values: dict[str, Any] = dict(dict.items(config))
    for key, value in values.items():
        copied = plain(value) if isinstance(value, Config) else copy.copy(value)
        dict.__setitem__(made, key, copied)
    return made
