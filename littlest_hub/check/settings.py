"""The settings as the hub will see them, each with the line that decided it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets.config.loader import LazyConfigValue

from littlest_hub.check.facts import Facts
from littlest_hub.check.origins import Origin, RecordingConfig
from littlest_hub.check.report import Problem
from littlest_hub.layout import Layout


@dataclass(frozen=True)
class EffectiveSetting:
    """One setting as the chosen class will see it."""

    name: str
    """The name in fragments, without "c.": "Authenticator.allowed_users"."""
    value: Any
    section: RecordingConfig | None
    """The section of the configuration that sets it; None: it has its default."""

    @property
    def key(self) -> str:
        """The name without the class."""
        return self.name.rpartition(".")[2]

    @property
    def origin(self) -> Origin | None:
        """The line of a fragment that decided the value; None: no fragment did."""
        return self.origin_of(None)

    def origin_of(self, element: Any) -> Origin | None:
        """Return the line that added an element of the value."""
        return self.section.origin(self.key, element) if self.section is not None else None

    def error(self, message: str, element: Any = None) -> list[Problem]:
        """Return the error at the line that set this; nothing if no fragment did."""
        origin = self.origin_of(element)
        return [Problem(*origin, f"{self.name}: {message}")] if origin else []

    def warning(self, message: str, element: Any = None) -> list[Problem]:
        """Return the warning at the line that set this; nothing if no fragment did."""
        origin = self.origin_of(element)
        return [Problem(*origin, f"{self.name}: {message}", is_warning=True)] if origin else []

    def dicts(self) -> list[dict[str, Any]]:
        """Return the elements that are dictionaries, if the value is a list."""
        elements = self.value if isinstance(self.value, list) else []
        return [element for element in elements if isinstance(element, dict)]


class Settings:
    """All settings, by the role of the class that they configure."""

    def __init__(
        self,
        config: RecordingConfig,
        chosen: Mapping[str, type[Any]],
        layout: Layout,
        facts: Facts,
        files: Collection[str] = (),
        *,
        is_whole: bool = True,
    ) -> None:
        self.config = config
        self.chosen = chosen
        """The class in each role: JupyterHub, Authenticator, Spawner, Proxy."""
        self.layout = layout
        self.facts = facts
        self._files = files
        self.is_whole = is_whole
        """False: a fragment has failed, so what its next lines would have set is missing."""

    def get(self, role: str, key: str) -> EffectiveSetting:
        """Return a setting of JupyterHub, or of the chosen Authenticator, Spawner or Proxy.

        Its value is None if the class has no such setting.
        """
        cls = self.chosen[role]
        default = trait_default(cls, key)
        # The section of the most specific class counts.
        for name in (parent.__name__ for parent in cls.__mro__):
            section = self.config.get(name)
            if isinstance(section, RecordingConfig) and key in section:
                value: Any = dict.__getitem__(section, key)
                if isinstance(value, LazyConfigValue):
                    value = value.get_value(default)
                return EffectiveSetting(f"{name}.{key}", value, section)
        return EffectiveSetting(f"{role}.{key}", default, None)

    def fragment_text(self, name: str) -> str:
        """Return the text of a fragment, or of the copy that is checked in its place; "": none."""
        files = (Path(file) for file in self._files)
        return next((file.read_text() for file in files if file.name == name), "")

    def section_value(self, section: str, key: str) -> Any:
        """Return a configured value of a class that has no role; None: it is not configured."""
        found = self.config.get(section)
        return found.get(key) if isinstance(found, RecordingConfig) else None

    def uses(self, role: str, class_name: str) -> bool:
        """Return whether the class in a role is, or derives from, the class of this name."""
        return any(parent.__name__ == class_name for parent in self.chosen[role].__mro__)


def trait_default(cls: Any, key: str) -> Any:
    """Return a setting's default; None if that requires an initialized object of the class."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(cls.__new__(cls), key)
    return None


def strings(value: object) -> Iterator[str]:
    """Yield the strings in a value, if it is a list, a set or a tuple."""
    for element in value if isinstance(value, (list, set, tuple)) else ():
        if isinstance(element, str):
            yield element
