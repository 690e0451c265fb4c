"""Imports of JupyterHub without the modules that a hub needs later or never.

CPU time of `import littlest_hub.hub.app` and memory (PSS) afterwards, medians of 5 runs on two busy
cores; each line includes those above it:

    plain import                  0.77 s    94 MiB
    garbage collection off        0.64 s    95 MiB
    without optional modules      0.64 s    88 MiB
    without alembic               0.54 s    81 MiB

Most of the rest is sqlalchemy, JupyterHub itself, pydantic, and aiohttp.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

import jupyterhub
import jupyterhub.traitlets

from littlest_hub.hub import TESTED_JUPYTERHUB
from littlest_hub.system.lazy_imports import placeholders

OPTIONAL = (
    # aiohttp's other resolver; a hub connects to addresses only.
    "aiodns",
    # jsonschema's checks of formats; no event of JupyterHub has one of these.
    "fqdn",
    "isoduration",
    "jsonpointer",
    "rfc3339_validator",
    "rfc3986_validator",
    "uri_template",
    "webcolors",
    # mako's colors.
    "pygments",
)
"""Modules whose importers work without them."""
ALEMBIC = ("alembic", "alembic.command", "alembic.config", "alembic.script")
"""Modules that jupyterhub.orm imports, and uses only for a database with another schema."""


@contextlib.contextmanager
def light_imports() -> Iterator[None]:
    """Import JupyterHub within the block, without optional modules; alembic on first use.

    A later import of any of them, in a fragment for example, works as usual.
    """
    gc.disable()
    jupyterhub.traitlets.entry_points = _entry_points
    try:
        # Another version may use alembic in another way.
        is_tested = jupyterhub.__version__ == TESTED_JUPYTERHUB
        alembic = {name: _DeferredModule(name) for name in ALEMBIC if is_tested}
        with placeholders({**dict.fromkeys(OPTIONAL), **alembic}):
            yield
    finally:
        # Imported objects stay; the collector need not visit them again and again.
        gc.freeze()
        gc.enable()


def _entry_points(*, group: str) -> metadata.EntryPoints:
    """Return a group of entry points, as `importlib.metadata` does, which looks at all packages.

    JupyterHub asks for the same three groups twelve times before it serves; each takes 7 ms.
    """
    return _entry_points_on(tuple(sys.path), group)


@functools.cache
def _entry_points_on(path: tuple[str, ...], group: str) -> metadata.EntryPoints:
    return metadata.entry_points(group=group)


class _DeferredModule(ModuleType):
    """Stand-in for a module: its attributes import the module on first use."""

    def __getattr__(self, name: str) -> _DeferredAttribute:
        if name.startswith("__"):
            raise AttributeError(name)
        return _DeferredAttribute(self.__name__, name)


class _DeferredAttribute:
    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> Any:
        module = importlib.import_module(self._module)
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{self._module}.{self._name}")
        return getattr(getattr(module, self._name), name)
