"""Modules that are loaded when a program first uses them, for imports in code that is not ours.

Python has `lazy import` from 3.15 on (PEP 810). Until then this does the same from outside, in two
ways: `lazy_modules` for imports of modules, and placeholders for imports of names from modules.
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
def lazy_modules(names: Iterable[str]) -> Iterator[None]:
    """Make imports of these modules lazy in this block; after it, an import gets the real module.

    For `import module` and `from package import module`. `from module import name` loads the
    module. A lazy module remains an attribute of its package, where other code may have found it.

    importlib.util.LazyLoader loads its module at the second import, so it does not help here.
    """
    finder = _LazyFinder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.names:
            if isinstance(sys.modules.get(name), _LazyModule):
                del sys.modules[name]


@contextmanager
def placeholders(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Put these modules into `sys.modules` for the block, unless the real ones are loaded already.

    None makes an import fail as if the module were not installed.
    """
    added = {name: module for name, module in modules.items() if not sys.modules.get(name)}
    sys.modules.update(added)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def placeholder(name: str, **known: Any) -> ModuleType:
    """Return a placeholder for a module: it has the known names and loads the module for others."""
    module = ModuleType(name)
    module.__dict__.update(known)

    def load_attribute(wanted: str) -> Any:
        # In `placeholders` only the import system looks up further names, to see what is there.
        if sys.modules.get(name) is module or wanted.startswith("__"):
            raise AttributeError(f"placeholder for {name!r} has no attribute {wanted!r}")
        return getattr(importlib.import_module(name), wanted)

    module.__dict__["__getattr__"] = load_attribute
    return module


def lazy_function(module: str, name: str) -> Callable[..., Any]:
    """Return a function that loads a module and calls the module's function."""
    return lambda *args, **kwargs: getattr(importlib.import_module(module), name)(*args, **kwargs)


def lazy_class(module: str, name: str, base: type = object) -> type:
    """Return a placeholder for a class: calls, subclasses, and class attributes use the real one.

    An object can only be an instance of it if the module has been loaded, so `isinstance` and
    `issubclass` do not load it.

    Args:
        module: the module of the real class.
        name: the name of the real class.
        base: Exception allows the placeholder in `except`, where it matches no exception.
    """

    def load() -> Any:
        return getattr(importlib.import_module(module), name)

    def loaded() -> Any:
        found = getattr(sys.modules.get(module), name, ())
        return () if type(found) is LazyClass else found

    class LazyClass(type):
        def __new__(mcs, subclass: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
            real_bases = tuple(load() if type(each) is mcs else each for each in bases)
            if real_bases == bases:
                return super().__new__(mcs, subclass, bases, namespace)
            return type(real_bases[0])(subclass, real_bases, namespace)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return load()(*args, **kwargs)

        def __getattr__(cls, attribute: str) -> Any:
            return getattr(load(), attribute)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, loaded())

        def __subclasscheck__(cls, subclass: type) -> bool:
            return subclass is cls or issubclass(subclass, loaded())

    created: type = LazyClass(name, (base,), {})
    return created


class _LazyFinder(MetaPathFinder):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if target is None and name.rpartition(".")[0] in self.names and name in sys.modules:
            # Looking up the path of its lazy package has loaded this submodule. Python checked
            # `sys.modules` before that, so it would run the submodule a second time.
            return ModuleSpec(name, _LoadedModuleLoader(sys.modules[name]))
        if name not in self.names or name in self._found:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec and spec.loader:
            spec.loader = _LazyLoader(spec.loader, self._found)
        return spec


class _LoadedModuleLoader(Loader):
    """A loader for a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation to Python."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module


class _LazyLoader(Loader):
    def __init__(self, loader: Loader, found: set[str]) -> None:
        self._loader = loader
        self._found = found

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation to Python."""

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        # Without it, the import of a submodule loads its package first.
        module.__dict__.pop("__path__", None)
        self._found.add(spec.name)
        module.__class__ = _LazyModule


class _LazyModule(ModuleType):
    """A module that forwards every access to the real module, which the first access loads.

    It never turns into the real module: import locks protect only a module that is being imported,
    and a package is imported before its submodules only if it is not in `sys.modules`.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(_load(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_load(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_load(self), name)

    def __dir__(self) -> Iterable[str]:
        return dir(_load(self))


def _load(module: _LazyModule) -> ModuleType:
    name = module.__name__
    if sys.modules.get(name) is module:  # in the block of `lazy_modules`
        sys.modules.pop(name, None)
    return importlib.import_module(name)
