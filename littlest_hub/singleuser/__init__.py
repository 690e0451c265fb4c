"""JupyterHub's single-user server at a third of its cost: what it imports, and when.

`python -I -m littlest_hub.singleuser` is `python -I -m jupyterhub.singleuser`: the same program with
the same arguments, environment, configuration files and extensions, from the same release. Modules
that it imports and never uses, or not before somebody asks for something, are not run before that.
docs/explanation/user-servers.md has what each piece is worth.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import ModuleType
from typing import Any

from littlest_hub.singleuser.postponed import late, names_only, postponed, standing_in


def main() -> None:
    """Run a user server until it is told to stop."""
    gc.disable()
    run = load()
    gc.enable()
    run()


def load() -> Callable[[], Any]:
    """Import JupyterHub's single-user server; returns what runs it."""
    from littlest_hub.singleuser import hubclient, shortcuts

    shortcuts.entry_points_once()
    with postponed(_LATER), standing_in({**_stand_ins(), "jupyterhub.httpclient": hubclient}):
        shortcuts.pypi_when_asked()
        shortcuts.yarn_is_for_builders()
        shortcuts.no_ipython()
        shortcuts.language_servers_when_asked()
        shortcuts.version_while_serving()
        from jupyterhub.singleuser import main as run
    return run


_LATER = (
    "aiohttp",
    "babel",
    "jupyterhub.orm",
    "jupyterhub.roles",
    "requests",
    "sqlalchemy",
    "webcolors",
    "websocket",
)


def _stand_ins() -> dict[str, ModuleType]:
    mock = late("unittest.mock")
    iri, uri = late("rfc3987_syntax"), late("rfc3986_validator")
    return {
        # jsonschema's formats: a grammar of half a second, a regular expression, two calendars.
        "rfc3987_syntax": late("rfc3987_syntax", is_valid_syntax=_call(iri, "is_valid_syntax")),
        "rfc3986_validator": late("rfc3986_validator", validate_rfc3986=_call(uri, "validate_rfc3986")),
        "isoduration": late("isoduration", DurationParsingException=ValueError),
        "sqlalchemy.exc": names_only("sqlalchemy.exc", "SQLAlchemyError"),
        "jupyterhub.handlers.pages": names_only("jupyterhub.handlers.pages", "HealthCheckHandler"),
        "unittest": late("unittest", mock=mock),
    }


def _call(module: ModuleType, name: str) -> Callable[..., Any]:
    return lambda *args, **kwargs: getattr(module, name)(*args, **kwargs)
