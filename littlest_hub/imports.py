"""Importing JupyterHub for two thirds of what it costs.

A hub that starts is a hub that imports. Processor time of `import littlest_hub.hub` and memory
(PSS) afterwards, medians of 7 runs on two busy cores:

    as it is                                   1.54 s   101 MB
    without collecting garbage meanwhile       1.35 s
    and without what is optional               1.20 s    95 MB
    and without alembic                        1.05 s    89 MB

What remains: sqlalchemy a quarter, aiohttp and pydantic (JupyterHub's client and its API for
shares) a fifth together, JupyterHub itself a tenth.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from littlest_hub.postponed import standing_in

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
        with standing_in({**dict.fromkeys(OPTIONAL), **{name: _Later(name) for name in ALEMBIC}}):
            yield
    finally:
        # What is there by now stays: no reason to look at it again and again.
        gc.freeze()
        gc.enable()


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
