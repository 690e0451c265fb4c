"""Modules that a program imports and does not need, or not yet.

Python has `lazy import` from 3.15 on (PEP 810); this is what it takes until then, from outside.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@contextmanager
def postponed(names: Iterable[str]) -> Iterator[None]:
    """While the block runs, what imports one of these modules gets it, but it runs on first use.

    For `import module`, and `from package import module`: `from module import name` is a use.
    importlib.util.LazyLoader does not serve: to import its module once more is a use.
    """
    finder = _Finder(frozenset(names))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def standing_in(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """While the block runs, what imports one of these modules gets the one that is given; whoever
    imports it afterwards gets the real one. What has been imported stays."""
    added = {name: module for name, module in modules.items() if not sys.modules.get(name)}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def late(name: str, **known: Any) -> ModuleType:
    """A stand-in for a module: it has the names that are known, and the module's others."""
    module = ModuleType(name)
    module.__dict__.update(known)

    def find(wanted: str) -> Any:
        # While it stands in, the import system asks for what modules have.
        if sys.modules.get(name) is module or wanted.startswith("__"):
            raise AttributeError(f"stand-in for {name!r} has no attribute {wanted!r}")
        return getattr(importlib.import_module(name), wanted)

    module.__dict__["__getattr__"] = find
    return module


def later(module: str, name: str) -> Callable[..., Any]:
    """A function of a module, which is imported when it is called."""
    return lambda *args, **kwargs: getattr(importlib.import_module(module), name)(*args, **kwargs)


def names_only(name: str, *names: str) -> ModuleType:
    """A stand-in for a module of which only `isinstance` and `except` use anything: its names are
    classes that nothing is an instance of."""
    module = ModuleType(name)
    module.__dict__.update({each: type(each, (Exception,), {}) for each in names})
    return module


class _Finder(MetaPathFinder):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec and spec.loader:
            spec.loader = _Postponing(spec.loader)
        return spec


class _Postponing(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        # To import a module of a package is a use of the package.
        if spec.submodule_search_locations is not None:
            del module.__path__
        module.__class__ = _Postponed


class _Postponed(ModuleType):
    """A module that has not run yet."""

    _lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            spec = self.__spec__
            assert spec is not None
            assert spec.loader is not None
            if type(self) is _Postponed:
                if spec.loader_state:  # it runs, and has no such name so far
                    raise AttributeError(f"module {spec.name!r} has no attribute {name!r}")
                spec.loader_state = "running"
                if spec.submodule_search_locations is not None:
                    self.__path__ = spec.submodule_search_locations
                try:
                    spec.loader.exec_module(self)
                finally:
                    spec.loader_state = None
                self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(self, name)
