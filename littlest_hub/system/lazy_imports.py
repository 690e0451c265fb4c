"""Modules that a program imports and does not need, or not yet.

Python has `lazy import` from 3.15 on (PEP 810); this is what it takes until then, from outside.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@contextmanager
def postponed(names: Iterable[str]) -> Iterator[None]:
    """While the block runs, what imports one of these modules gets something in its place that
    imports it on first use; whoever imports it afterwards gets the real one. (It stays an attribute
    of its package: somebody may have it from there.)

    For `import module`, and `from package import module`: `from module import name` is a use.
    importlib.util.LazyLoader does not serve: to import its module once more is a use.
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.names:
            if isinstance(sys.modules.get(name), _Postponed):
                del sys.modules[name]


@contextmanager
def standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """While the block runs, what imports one of these modules gets the one that is given, or None:
    learns that there is none; whoever imports it afterwards gets the real one. What has been
    imported stays."""
    added = {name: module for name, module in modules.items() if not sys.modules.get(name)}
    sys.modules.update(added)  # type: ignore[arg-type]
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


def class_later(module: str, name: str) -> type:
    """A class of a module, which is imported when the class is called, or asked whether something
    is an instance of it; nothing else can be done with it."""

    class Later(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, getattr(importlib.import_module(module), name))

    return Later(name, (), {})


def names_only(name: str, *names: str) -> ModuleType:
    """A stand-in for a module of which only `isinstance` and `except` use anything: its names are
    classes that nothing is an instance of."""
    module = ModuleType(name)
    module.__dict__.update({each: type(each, (Exception,), {}) for each in names})
    return module


class _Finder(MetaPathFinder):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._postponed: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if target is None and name.rpartition(".")[0] in self.names and name in sys.modules:
            # Its package has imported it just now, when it was asked for its path. Python would
            # run it once more: it has looked before.
            return ModuleSpec(name, _There(sys.modules[name]))
        if name not in self.names or name in self._postponed:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec and spec.loader:
            spec.loader = _Postponing(spec.loader, self._postponed)
        return spec


class _There(Loader):
    """Of a module that has been imported."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module


class _Postponing(Loader):
    def __init__(self, loader: Loader, postponed: set[str]) -> None:
        self._loader = loader
        self._postponed = postponed

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        # To import a module of a package is a use of the package.
        module.__dict__.pop("__path__", None)
        self._postponed.add(spec.name)
        module.__class__ = _Postponed


class _Postponed(ModuleType):
    """In the place of a module: what is done to it is done to the real one.

    It never becomes that itself: only import locks keep threads out of a module that runs, and
    only what is not in `sys.modules` is imported before its submodules.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(_real(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_real(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_real(self), name)

    def __dir__(self) -> Iterable[str]:
        return dir(_real(self))


def _real(module: _Postponed) -> ModuleType:
    name = module.__name__
    if sys.modules.get(name) is module:  # while the block runs
        sys.modules.pop(name, None)
    return importlib.import_module(name)
