"""What the hub is going to use for each setting, and where that was decided."""

from __future__ import annotations

import contextlib
import difflib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from traitlets.config.loader import LazyConfigValue

from littlest_hub.check import Problem
from littlest_hub.check.origins import Place, RecordingConfig


@dataclass(frozen=True)
class Setting:
    """One setting as the chosen class will see it."""

    name: str
    """As a fragment names it, such as Authenticator.allowed_users."""
    value: Any
    section: RecordingConfig | None
    """The part of the configuration it comes from; None: it is a default."""

    @property
    def place(self) -> Place | None:
        """Where a fragment decided it; None: none did."""
        return self.place_of(None)

    def place_of(self, element: Any) -> Place | None:
        """The same of an element of its value."""
        key = self.name.rpartition(".")[2]
        return self.section.place(key, element) if self.section is not None else None

    def error(self, message: str, element: Any = None) -> list[Problem]:
        """The problem, if a fragment is to blame."""
        place = self.place_of(element)
        return [Problem(*place, f"{self.name}: {message}")] if place else []

    def warning(self, message: str, element: Any = None) -> list[Problem]:
        """The warning, if a fragment is to blame."""
        place = self.place_of(element)
        return [Problem(*place, f"{self.name}: {message}", is_warning=True)] if place else []


class Settings:
    """All of them, by the role of the class they are for."""

    def __init__(
        self,
        config: RecordingConfig,
        chosen: Mapping[str, type[Any]],
        facts: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.chosen = chosen
        self.facts = facts

    def get(self, role: str, key: str) -> Setting:
        """A setting of JupyterHub, or of the chosen Authenticator, Spawner or Proxy.

        A class that has no such setting has None there.
        """
        cls = self.chosen[role]
        default = self._default(cls, key)
        # The most specific section counts.
        for name in (parent.__name__ for parent in cls.__mro__):
            section = self.config.get(name)
            if isinstance(section, RecordingConfig) and key in section:
                value: Any = dict.__getitem__(section, key)
                if isinstance(value, LazyConfigValue):
                    value = value.get_value(default)
                return Setting(f"{name}.{key}", value, section)
        return Setting(f"{role}.{key}", default, None)

    def get_class(self, section: str, key: str) -> Any:
        """What stands in the configuration of a class that has no role; None: nothing."""
        found = self.config.get(section)
        return found.get(key) if isinstance(found, RecordingConfig) else None

    @staticmethod
    def _default(cls: Any, key: str) -> Any:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(cls.__new__(cls), key)
        return None


def is_a(cls: type[Any], name: str) -> bool:
    """Whether it is, or comes from, the class of this name."""
    return any(parent.__name__ == name for parent in cls.__mro__)


def overlap(host: str, address: str) -> bool:
    """Whether two programs cannot listen at these addresses on the same port."""
    everywhere = ("", "*", "0.0.0.0", "::", "::ffff:0.0.0.0")
    names = {"localhost": "127.0.0.1"}
    return host in everywhere or address in everywhere or names.get(host, host) == address


def did_you_mean(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a sentence about a name that there is not."""
    candidates = list(candidates)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff)
    if not close:
        lower = {candidate.lower(): candidate for candidate in candidates}
        close = [
            lower[each]
            for each in difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=cutoff)
        ]
    return f"; did you mean {close[0]!r}?" if close else ""
