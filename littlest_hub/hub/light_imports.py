"""Importing JupyterHub for about half of what it costs.

A hub that starts is a hub that imports. Processor time of `import littlest_hub.hub.app` and memory
(PSS) afterwards, medians of 7 runs on two busy cores:

    as it is                                   1.54 s   101 MB
    without collecting garbage meanwhile       1.35 s
    and without what is optional               1.20 s    95 MB
    and without alembic                        1.05 s    89 MB
    without pydantic, aiohttp, jsonschema      a quarter less

What remains: sqlalchemy a third, JupyterHub itself a quarter.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from littlest_hub.hub import asking
from littlest_hub.system.lazy_imports import names_only, standing_in

OPTIONAL = (
    # aiohttp's other way to look up names; a hub has nothing but addresses to look up.
    "aiodns",
    # jsonschema's checks of formats that no event of JupyterHub's has.
    "fqdn",
    "isoduration",
    "jsonpointer",
    "rfc3339_validator",
    "rfc3986_validator",
    "uri_template",
    "webcolors",
    # mako's colours.
    "pygments",
)
"""What is imported by who does without if it is not there."""
ALEMBIC = ("alembic", "alembic.command", "alembic.config", "alembic.script")
"""What jupyterhub.orm imports of it, and uses for a database of another schema only."""


@contextlib.contextmanager
def light() -> Iterator[None]:
    """Import JupyterHub in this block, and nothing that has not to be imported.

    Whoever wants one of the others later gets it, a fragment for example.
    """
    gc.disable()
    try:
        others = {**{name: _Later(name) for name in ALEMBIC}, "pydantic": _pydantic()}
        others["jupyter_events.logger"] = names_only("", "EventLogger")
        clients = asking.stand_ins()
        with standing_in({**dict.fromkeys(OPTIONAL), **others, **clients}):
            yield
        asking.take_over(clients["aiohttp"])
    finally:
        # What is there by now stays: no reason to look at it again and again.
        gc.freeze()
        gc.enable()


def _pydantic() -> ModuleType:
    """Of which JupyterHub makes three classes, for those who ask to share a server."""

    def unchanged(*_: object, **__: object) -> Callable[[Any], Any]:
        return lambda decorated: decorated

    module = names_only("pydantic", "ValidationError")
    known = {"conint": lambda **_: int, "field_validator": unchanged, "model_validator": unchanged}
    module.__dict__.update(known, BaseModel=_Model, ConfigDict=dict)
    return module


class _Model:
    """In the place of a model until one is wanted: then its module runs once more, in earnest."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        real = importlib.reload(sys.modules[cls.__module__])
        return getattr(real, cls.__name__)(*args, **kwargs)


class _Later(ModuleType):
    """In the place of a module: what is imported from it is the real thing once it is used."""

    def __getattr__(self, name: str) -> _Used:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Used(self.__name__, name)


class _Used:
    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> Any:
        found = importlib.import_module(self._module)
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{self._module}.{self._name}")
        return getattr(getattr(found, self._name), name)
