"""Validation of the configuration that all fragments together make."""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from traitlets.config import Configurable
from traitlets.config.loader import LazyConfigValue

from littlest_hub.check import rules
from littlest_hub.check.classes import PACKAGES, ROLES, chosen_classes, missing_hint, subclasses
from littlest_hub.check.facts import Facts
from littlest_hub.check.jupyterhub_api import JupyterHub
from littlest_hub.check.origins import Origin, RecordingConfig, is_section
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.check.suggestions import did_you_mean
from littlest_hub.check.values import complaint, deprecations, merge_with_default
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.manifest.discovery import enabled_stacks
from littlest_hub.manifest.manifest import resolve

# Classes of the user server, which belong into its own configuration file.
_SERVER_CLASSES = (
    "NotebookApp",
    "ServerApp",
    "LabApp",
    "SingleUserNotebookApp",
    "SingleUserLabApp",
    "MappingKernelManager",
    "ContentsManager",
    "FileContentsManager",
    "KernelSpecManager",
    "ResourceUseDisplay",
    "InteractiveShellApp",
    "IPKernelApp",
)


def validate(
    config: RecordingConfig,
    layout: Layout,
    facts: Facts,
    files: Collection[str] = (),
    *,
    is_whole: bool = True,
) -> Iterator[Problem]:
    """Yield every problem of a configuration of defaults and fragments.

    Args:
        config: the configuration.
        layout: the installation.
        facts: about the machine.
        files: the fragments that have made it, or copies of the same names.
        is_whole: whether all of them have run to their ends.
    """
    logging.disable(logging.NOTSET)  # a fragment may have disabled it
    chosen, failed = chosen_classes(config)
    unresolved = set()
    for key, error in failed.items():
        unresolved.add(str(config.JupyterHub.get(key)).rpartition(".")[2])
        origin: Origin | None = config.JupyterHub.origin(key)
        if origin:
            yield Problem(*origin, f"JupyterHub.{key}: {error}")
    yield from _Validator(chosen, unresolved).sections(config, ())
    settings = Settings(config, chosen, layout, facts, files, is_whole=is_whole)
    for rule in (*rules.RULES, *_rules_of_stacks(layout)):
        try:
            yield from rule(settings)
        except Exception as error:
            # A value of a wrong type, which is reported already, may make a rule fail.
            text = f"not checked: {rule.__name__.replace('_', ' ')} ({error!r})"
            yield Problem(str(layout.fragments), 0, text, is_warning=True)


def _rules_of_stacks(layout: Layout) -> Iterator[rules.Rule]:
    """Yield the rules of the stacks that are enabled; a stack that is gone has none."""
    with contextlib.suppress(LittlestHubError, OSError):
        for stack in enabled_stacks(layout, release_of_this_interpreter()).values():
            yield from map(resolve, stack.manifest.check)


class _Validator:
    """Validation of names and values, one setting at a time."""

    def __init__(self, chosen: Mapping[str, type[Any]], unresolved: set[str]) -> None:
        self.chosen = chosen
        """The class in each role."""
        self.unresolved = unresolved
        """Names of chosen classes that could not be imported."""
        self.known = {cls.__name__: cls for cls in subclasses(Configurable)}

    def sections(self, values: RecordingConfig, path: tuple[str, ...]) -> Iterator[Problem]:
        """Yield the problems of a section, whose path is c.A.B, and of the sections in it."""
        for key in list(values):
            if is_section(key):
                if isinstance(values[key], RecordingConfig):
                    yield from self.sections(values[key], (*path, key))
                continue
            origin = values.origin(key) if path else values.first_origin(key)
            if origin is not None:
                yield from self._setting(values, path, key, origin)

    def _setting(
        self, values: RecordingConfig, path: tuple[str, ...], key: str, origin: Origin
    ) -> Iterator[Problem]:
        name = ".".join((*path, key))
        section = path[-1] if path else ""
        if not path:
            text = f"c.{key}: there is no class {key!r}{did_you_mean(key, self.known)}"
            yield Problem(*origin, text)
        elif section not in self.known:
            if section not in self.unresolved:
                hint = self._class_hint(section)
                yield Problem(*origin, f"{name}: there is no class {section!r}{hint}")
        elif key not in self.known[section].class_traits(config=True):
            yield Problem(*origin, f"{name}: {self._unknown_setting(section, key)}")
        else:
            for message in self._unused(self.known[section]):
                yield Problem(*origin, f"{name}: {message}", is_warning=True)
            yield from self._value(name, self.known[section], key, values, origin)

    def _unused(self, cls: type[Any]) -> Iterator[str]:
        """Yield a warning if the chosen class does not derive from the configured one."""
        for setting, role in ROLES.items():
            used = self.chosen[role.__name__]
            is_wrapped = used.__module__.startswith("wrapspawner")
            if issubclass(cls, role) and not issubclass(used, cls) and not is_wrapped:
                yield f"has no effect, because JupyterHub.{setting} is {used.__name__}"

    def _value(
        self, name: str, cls: type[Any], key: str, values: RecordingConfig, origin: Origin
    ) -> Iterator[Problem]:
        # c.Spawner is for the chosen spawner, whose own validation counts.
        cls = next((each for each in self.chosen.values() if issubclass(each, cls)), cls)
        if key in ROLES and issubclass(cls, JupyterHub):
            return  # see `validate`
        value = values[key]
        if isinstance(value, LazyConfigValue):
            try:
                value = merge_with_default(cls, key, value)
            except ValueError as error:
                yield Problem(*origin, f"{name}: {error}")
                return
        try:
            notices = deprecations(cls, key, value)
        except Exception as error:
            faults = list(_faulty_elements(cls, key, value, values))
            for faulty, text in faults or [(origin, complaint(key, value, error))]:
                yield Problem(*faulty, f"{name}: {text}")
        else:
            for notice in notices:
                yield Problem(*origin, f"{name}: {notice}", is_warning=True)

    def _class_hint(self, name: str) -> str:
        """Return the end of a sentence about an unknown class."""
        if name in _SERVER_CLASSES:
            return (
                ": it is a class of the user servers; configure it in"
                " /etc/jupyter/jupyter_server_config.py, or in c.Spawner.args"
            )
        if name in PACKAGES:
            return missing_hint(name)
        return did_you_mean(name, self.known)

    def _unknown_setting(self, section: str, key: str) -> str:
        traits = self.known[section].class_traits(config=True)
        if key in self.known[section].class_traits():
            return f"{key} of {section} cannot be configured"
        text = "there is no such setting"
        if not difflib.get_close_matches(key, traits, n=1, cutoff=0.8):
            for cls in self.chosen.values():
                if key in cls.class_traits(config=True):
                    owner = next(c.__name__ for c in reversed(cls.__mro__) if key in vars(c))
                    return f"{text}; did you mean 'c.{owner}.{key}'?"
        return text + did_you_mean(key, traits)


def _faulty_elements(
    cls: type[Any], key: str, value: Any, values: RecordingConfig
) -> Iterator[tuple[Origin, str]]:
    """Yield each element of a container that the class refuses, with the reason."""
    if not isinstance(value, (list, set, dict)):
        return
    for element in value.items() if isinstance(value, dict) else value:
        alone = dict([element]) if isinstance(value, dict) else type(value)([element])
        try:
            deprecations(cls, key, alone)
        except Exception as error:
            if origin := values.origin(key, element):
                yield origin, complaint(key, alone, error)
