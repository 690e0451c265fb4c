"""JupyterHub's single-user server at a quarter of its cost.

`python -I -m littlest_hub.singleuser` is `python -I -m jupyterhub.singleuser`: the same program
with the same arguments, environment, configuration files and extensions, from the same release.
What it imports and never uses, or not before somebody asks for something, does not run before that.
Who wants another program of JupyterHub's by its variables gets that as it is.

docs/explanation/user-servers.md has what each piece is worth.
"""

from __future__ import annotations

import gc
import os
from types import ModuleType

from littlest_hub.system.lazy_imports import (
    class_later,
    late,
    later,
    names_only,
    postponed,
    standing_in,
)

_OTHERS = ("JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_SINGLEUSER_EXTENSION")
"""Variables that choose another server than JupyterLab's."""

_WHEN_USED = (
    # The hub's own half of JupyterHub, which comes with the other: a third of all memory.
    "jupyterhub.orm",
    "jupyterhub.roles",
    "sqlalchemy",
    # Clients for other servers than the hub, and names of languages.
    "aiohttp",
    "babel",
    "requests",
    "websocket",
    # Of jsonschema's formats.
    "uri_template",
    "webcolors",
    # Notebooks of before 2015.
    "nbformat.v1",
    "nbformat.v2",
    "nbformat.v3",
    # What building JupyterLab, its news and its settings need; more processes than one.
    "tarfile",
    "xml.etree.ElementTree",
    "json5",
    "multiprocessing",
    "tornado.process",
    # Directories of other systems.
    "platformdirs",
)


def main() -> None:
    """Run a user server until it is told to stop."""
    if not any(os.environ.get(name) for name in _OTHERS):
        # A tenth of the time goes into looking for garbage that is not there yet.
        gc.disable()
        prepare()
    from jupyterhub.singleuser import main as run

    run()


def prepare() -> None:
    """Import JupyterHub's single-user server, JupyterLab's, without what they can do without."""
    from littlest_hub.singleuser import patches

    patches.entry_points_once()
    with postponed(_WHEN_USED), standing_in(_stand_ins()):
        # First those that decide what JupyterLab imports.
        patches.events_when_asked()
        patches.extension_manager_when_asked()
        patches.no_yarn()
        patches.no_ipython()
        patches.language_servers_when_asked()
        patches.garbage_while_serving()
        import jupyterhub.singleuser.extension  # noqa: F401


def _stand_ins() -> dict[str, ModuleType]:
    from littlest_hub.singleuser import hubclient

    semver, forms = "jupyter_builder.jupyterlab_semver", "pythonjsonlogger.json"
    return {
        # Of jsonschema's formats: a grammar that takes twice as long as all the rest; a calendar.
        "rfc3987_syntax": _functions("rfc3987_syntax", "is_valid_syntax"),
        "isoduration": late("isoduration", DurationParsingException=ValueError),
        "idna": late("idna", IDNAError=UnicodeError),
        "rfc3986_validator": _functions("rfc3986_validator", "validate_rfc3986"),
        # Dates in messages of kernels, and with them all time zones.
        "dateutil.parser": _functions("dateutil.parser", "isoparse"),
        "dateutil.tz": late("dateutil.tz", tzlocal=class_later("dateutil.tz", "tzlocal")),
        # Versions of JupyterLab's extensions.
        semver: _functions(
            semver, *("gt", "gte", "lt", "lte", "make_semver"), Range=class_later(semver, "Range")
        ),
        # Of events that somebody has logged.
        forms: late(forms, JsonFormatter=class_later(forms, "JsonFormatter")),
        # Of the hub's half.
        "jupyterhub.handlers.pages": names_only("jupyterhub.handlers.pages", "HealthCheckHandler"),
        "sqlalchemy.exc": names_only("sqlalchemy.exc", "SQLAlchemyError"),
        "jupyterhub.httpclient": hubclient,
        # JupyterHub uses one function of it, once in a session.
        "unittest": late("unittest", mock=late("unittest.mock")),
    }


def _functions(name: str, *names: str, **known: type) -> ModuleType:
    """A stand-in for a module of which nothing is done with these names but to call them."""
    return late(name, **{each: later(name, each) for each in names}, **known)
