"""All changes to the code of the user server's libraries; `import_server` makes them.

Each is documented with its reason (Why), what one started server saves (Gain; processor time and
memory as PSS, measured with all other changes in place), and when it can be deleted (Until).
A change replaces either a module or code that creates an object. Public classes stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from littlest_hub.system.lazy_imports import (
    lazy_class,
    lazy_function,
    lazy_modules,
    placeholder,
    placeholders,
)

LAZY_MODULES = (
    # Why: JupyterHub's server imports the hub's half of JupyterHub (jupyterhub.log,
    # jupyterhub.utils). Gain: 37 MiB and 0.2 s, with the placeholders for the same modules below.
    # Until: JupyterHub's server no longer imports jupyterhub.orm.
    "jupyterhub.orm",
    "jupyterhub.roles",
    "sqlalchemy",
    # Why: an HTTP client beside tornado's; see `hubclient`. Gain: 8.9 MiB and 0.05 s, with the
    # placeholder for jupyterhub.httpclient. Until: JupyterHub's server no longer imports it.
    "aiohttp",
    # Why: jupyterlab_server fetches lists of allowed extensions with it, if some are configured.
    # Gain: 4.3 MiB and 0.02 s. Until: jupyterlab_server imports it where it uses it.
    "requests",
    # Why: settings (json5), directories of other systems (platformdirs), builds of JupyterLab
    # (tarfile), kernels behind a gateway (websocket), news (xml). Gain: 0.3 to 0.5 MiB each, 2 MiB
    # together. Until: Python 3.15 (`lazy import`), or their importers import them on use.
    "json5",
    "platformdirs",
    "tarfile",
    "websocket",
    "xml.etree.ElementTree",
)


def import_server() -> None:
    """Import JupyterHub's single-user server and JupyterLab with all changes."""
    with lazy_modules(LAZY_MODULES), placeholders(_placeholders()):
        # First those that decide what JupyterLab imports.
        cache_entry_points()
        lazy_event_schemas()
        lazy_extension_manager()
        no_yarn()
        no_ipython()
        lazy_language_servers()
        garbage_collection_while_serving()
        bounded_requests()
        one_listening_socket()
        import jupyterhub.singleuser.extension  # noqa: F401

        no_logout_by_other_sites()
        forget_failed_kernels()


def _placeholders() -> dict[str, ModuleType]:
    """Return placeholders for modules from which the server's libraries import names.

    Until: Python 3.15 (`lazy import`), or the importing library imports them where it uses them.
    """
    from littlest_hub.singleuser import hubclient

    pages, syntax = "jupyterhub.handlers.pages", "rfc3987_syntax"
    parser, tz = "dateutil.parser", "dateutil.tz"
    return {
        # The hub's half of JupyterHub and its HTTP client; see LAZY_MODULES.
        pages: placeholder(pages, HealthCheckHandler=lazy_class(pages, "HealthCheckHandler")),
        "sqlalchemy.exc": placeholder(
            "sqlalchemy.exc",
            SQLAlchemyError=lazy_class("sqlalchemy.exc", "SQLAlchemyError", Exception),
        ),
        "jupyterhub.httpclient": hubclient,
        # jsonschema, format "iri": a grammar is compiled. Gain: 0.85 s.
        syntax: placeholder(syntax, is_valid_syntax=lazy_function(syntax, "is_valid_syntax")),
        # jsonschema, format "duration": arithmetic with dates. Gain: 1.6 MiB.
        "isoduration": placeholder("isoduration", DurationParsingException=ValueError),
        # jupyter_client, dates in messages of kernels: all time zones. Gain: 1.3 MiB.
        parser: placeholder(parser, isoparse=lazy_function(parser, "isoparse")),
        tz: placeholder(tz, tzlocal=lazy_class(tz, "tzlocal")),
        # JupyterHub calls mock.patch.dict once for each login. Gain: 1.1 MiB.
        "unittest": placeholder("unittest", mock=placeholder("unittest.mock")),
    }


def cache_entry_points() -> None:
    """Read the entry points of installed packages once, and again only after something changed.

    Why: jupyter_server, jupyter_client and nbconvert ask several times while a server starts, and
    each time Python reads a hundred files.
    Gain: 0.05 s of a whole start; importing alone does not show it.
    Until: importlib.metadata caches them.
    """
    read = importlib.metadata.entry_points

    @functools.lru_cache(maxsize=1)
    def read_once(_state: tuple[_FileState, ...]) -> Any:
        return read()

    def entry_points(**selection: str) -> Any:
        return read_once(tuple(_state_of_sys_path())).select(**selection)

    importlib.metadata.entry_points = entry_points  # type: ignore[assignment]


_FileState = tuple[str, int, int]
"""A path, its time of modification in nanoseconds, and its size in bytes."""


def _state_of_sys_path() -> Iterator[_FileState]:
    """Yield the state of each directory on sys.path and of each list of entry points in it.

    While a package is being installed, its directory exists before its list. pathlib would take
    four times as long.
    """
    for path in sys.path:
        yield from _state_of(path)
        with contextlib.suppress(OSError):
            for name in os.listdir(path):  # noqa: PTH208
                if name.endswith("-info"):
                    yield from _state_of(f"{path}/{name}/entry_points.txt")


def _state_of(path: str) -> Iterator[_FileState]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return
    yield path, found.st_mtime_ns, found.st_size


def lazy_event_schemas() -> None:
    """Read the schemas of the server's events when an event is logged or a listener added.

    Why: that loads YAML and checks each schema against the schema of schemas. A server that has
    started has neither handlers nor listeners; JupyterLab adds one when it is opened.
    Gain: 1.6 MiB and 0.02 s.
    Until: jupyter_events reads schemas on first use.
    """
    schema, validators = "jupyter_events.schema", "jupyter_events.validators"
    core = SimpleNamespace(validate=_validate_core)
    modules = {
        schema: placeholder(schema, SchemaType=Any, EventSchema=lazy_class(schema, "EventSchema")),
        validators: placeholder(validators, JUPYTER_EVENTS_CORE_VALIDATOR=core),
    }
    with placeholders(modules):
        import jupyter_events
    _load_names_on_first_use(
        jupyter_events,
        {"EventSchema": schema},
        ("schema", "validators", "yaml"),
    )

    from jupyter_server import serverapp

    lazy_event_logger = _lazy_event_logger()
    upstream = serverapp.ServerApp.init_event_logger

    def init_event_logger(self: Any) -> None:
        public = serverapp.EventLogger
        if public is jupyter_events.EventLogger:
            serverapp.EventLogger = lazy_event_logger
        try:
            upstream(self)
        finally:
            serverapp.EventLogger = public

    serverapp.ServerApp.init_event_logger = init_event_logger


def _lazy_event_logger() -> type:
    from jupyter_events import EventLogger
    from jupyter_events.schema_registry import SchemaRegistry, SchemaRegistryException
    from jupyter_server import DEFAULT_EVENTS_SCHEMA_PATH
    from traitlets import default

    class LazyEventLogger(EventLogger):
        """An event logger that registers the server's own schemas when a schema is needed."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._own_schemas: list[Path] = []
            super().__init__(*args, **kwargs)

        def register_event_schema(self, schema: Any) -> None:
            is_own = isinstance(schema, Path) and DEFAULT_EVENTS_SCHEMA_PATH in schema.parents
            if is_own and not self.trait_has_value("schemas"):
                # The kernel manager registers its schema again and expects this exception.
                if schema in self._own_schemas:
                    raise SchemaRegistryException(f"{schema} is already registered")
                self._own_schemas.append(schema)
            else:
                super().register_event_schema(schema)

        def _register_own_schemas(self) -> SchemaRegistry:
            registry = SchemaRegistry()
            for schema in self._own_schemas:
                registry.register(schema)  # type: ignore[arg-type]
            return registry

        def _empty_by_schema(self) -> dict[str, set[Any]]:
            return {each: set() for each in self.schemas.schema_ids}

        _default_schemas = default("schemas")(_register_own_schemas)
        _default_modifiers = default("_modifiers")(_empty_by_schema)
        _default_modified_listeners = default("_modified_listeners")(_empty_by_schema)
        _default_unmodified_listeners = default("_unmodified_listeners")(_empty_by_schema)

    return LazyEventLogger


def _validate_core(event: object) -> None:
    from jupyter_events.validators import JUPYTER_EVENTS_CORE_VALIDATOR

    JUPYTER_EVENTS_CORE_VALIDATOR.validate(event)


def _load_names_on_first_use(
    package: ModuleType, names: dict[str, str], submodules: tuple[str, ...]
) -> None:
    """Delete names from a package and look each up in its module when code uses it (PEP 562)."""

    def load(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package.__name__}.{name}")
        if name not in names:
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(names[name]), name)
        setattr(package, name, found)
        return found

    for name in names:
        delattr(package, name)
    package.__dict__["__getattr__"] = load


def lazy_extension_manager() -> None:
    """Create JupyterLab's extension manager when its page is opened.

    Why: it imports httpx, which reads all CA certificates.
    Gain: 4.8 MiB and 0.03 s.
    Until: JupyterLab imports jupyterlab.extensions.pypi where it uses it.
    """
    pypi = "jupyterlab.extensions.pypi"
    with placeholders({pypi: placeholder(pypi, PyPIExtensionManager=None)}):
        import jupyterlab.extensions as extensions
    _load_names_on_first_use(extensions, {"PyPIExtensionManager": pypi}, ("pypi",))

    def get_pypi_manager(
        app_options: Any = None, ext_options: Any = None, parent: Any = None
    ) -> Any:
        def create() -> Any:
            return extensions.PyPIExtensionManager(app_options, ext_options, parent)

        sections = ("PyPIExtensionManager", "ExtensionManager", "PluginManager")
        is_configured = parent is not None and any(map(parent.config.get, sections))
        lists = ("allowed_extensions_uris", "blocked_extensions_uris")
        # It fetches lists from its creation on, and a mistake in its configuration shows there.
        if is_configured or any(map((ext_options or {}).get, lists)):
            return create()
        metadata = extensions.manager.ExtensionManagerMetadata("PyPI", True, sys.prefix)
        return _LazyObject(create, metadata=metadata)

    extensions.get_pypi_manager = get_pypi_manager


class _LazyObject:
    """An object that is created when anything but its known attributes is used."""

    def __init__(self, create: Callable[[], Any], **known: Any) -> None:
        self.__dict__.update(known, _create=create)

    @functools.cached_property
    def _created(self) -> Any:
        return self.__dict__["_create"]()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._created)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._created, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._created, name, value)


def no_ipython() -> None:
    """Know where IPython keeps kernels, and kept notebook extensions, without importing it.

    Why: jupyter_client and notebook_shim import all of IPython for one path.
    Gain: 2.5 MiB.
    Until: they do not.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import jupyter_path
    from notebook_shim.traits import NotebookAppTraits

    def kernels(self: Any) -> list[str]:
        return [*jupyter_path("kernels"), str(ipython_directory() / "kernels")]

    def extensions(self: Any) -> list[str]:
        own = [*self.extra_nbextensions_path, *jupyter_path("nbextensions")]
        return [*own, str(ipython_directory() / "nbextensions")]

    KernelSpecManager._kernel_dirs_default = kernels
    NotebookAppTraits.nbextensions_path = property(extensions)


def ipython_directory() -> Path:
    """Return the same directory as IPython.paths.get_ipython_dir."""
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()


def lazy_language_servers() -> None:
    """Search for language servers when JupyterLab is opened.

    Why: the search reads many directories and starts npm, if it is installed.
    Gain: with npm installed 0.08 s, most of it in npm.
    Until: jupyter_lsp searches on first use.
    """
    from jupyter_lsp import serverextension

    search = serverextension.initialize

    def initialize(app: Any, *args: Any) -> None:
        manager = app.language_server_manager
        running: asyncio.Future[None] | None = None

        async def ready() -> bool:
            nonlocal running
            has_failed = running and running.done() and (running.cancelled() or running.exception())
            if not running or has_failed:
                running = asyncio.ensure_future(search(app, *args))
            # A request that is cancelled must not cancel the search for other requests.
            await asyncio.shield(running)
            return True

        manager.ready = ready

    serverextension.initialize = initialize


def no_yarn() -> None:
    """Import JupyterLab without asking yarn for its configuration.

    Why: JupyterLab runs yarn in node, if it is installed, to read its own version.
    Gain: with node installed 0.25 s in node.
    Until: jupyterlab.labapp creates no AppOptions when it is imported.
    """
    from jupyterlab import commands

    upstream = commands._yarn_config
    commands._yarn_config = lambda _: {"yarn config": {}, "npm config": {}}
    try:
        import jupyterlab.labapp  # noqa: F401
    finally:
        commands._yarn_config = upstream


def garbage_collection_while_serving() -> None:
    """Collect garbage only once the server serves, and only in objects created from then on.

    Why: `main` disables it, since a program that imports creates no garbage.
    Gain: 0.03 s.
    Until: Python's collector no longer looks at all imported objects again and again.
    """
    from jupyter_server.serverapp import ServerApp

    upstream = ServerApp.start_ioloop

    def start_ioloop(self: Any) -> None:
        gc.freeze()
        gc.enable()
        upstream(self)

    ServerApp.start_ioloop = start_ioloop


def bounded_requests() -> None:
    """Keep a body of more than 64 KiB only if its sender is logged in.

    Why: tornado keeps each body of up to 512 MB in memory before the server finds out who sent it.
    Gain: none; it costs 0.3 MiB.
    Until: jupyter_server identifies the sender before it reads the body.
    """
    from jupyter_server import serverapp

    from littlest_hub.singleuser.user_server import UserServer

    name = "tornado.httpserver"
    serverapp.httpserver = placeholder(name, HTTPServer=UserServer)


def one_listening_socket() -> None:
    """Listen at the port that the hub has chosen, without trying it out first.

    Why: jupyter_server listens for a moment to see whether the port is free. The hub may take this
    for the server and let the guard hold the socket; then the server finds its port taken.
    Gain: none.
    Until: jupyter_server keeps the first socket.
    """
    from jupyter_server.serverapp import ServerApp

    find = ServerApp._find_http_port

    @functools.wraps(find)
    def find_unless_chosen(self: Any) -> None:
        if not self.port:
            find(self)

    ServerApp._find_http_port = find_unless_chosen


def forget_failed_kernels() -> None:
    """Forget a kernel whose program could not be started.

    Why: jupyter_client keeps it among the kernels that are starting. When the server has to stop,
    jupyter_server finds no such kernel and goes on, until systemd kills it after 90 seconds.
    Gain: none.
    Until: jupyter_client removes it from `_pending_kernels`.
    """
    from jupyter_client.multikernelmanager import MultiKernelManager

    add = MultiKernelManager._add_kernel_when_ready

    @functools.wraps(add)
    async def add_or_forget(self: Any, kernel_id: str, *more: Any) -> None:
        try:
            await add(self, kernel_id, *more)
        finally:
            if kernel_id not in self:
                self._pending_kernels.pop(kernel_id, None)

    MultiKernelManager._add_kernel_when_ready = add_or_forget


def no_logout_by_other_sites() -> None:
    """Keep the server's cookie if another site caused the logout; the hub asks the user then.

    Why: an image of another site, or a link, would cut open notebooks off from their server.
    Gain: none.
    Until: JupyterHub's server logs out only in answer to POST.
    """
    from jupyterhub.singleuser.extension import JupyterHubLogoutHandler

    log_out = JupyterHubLogoutHandler.get

    @functools.wraps(log_out)
    def get(self: Any) -> None:
        if _is_own_request(self.request):
            log_out(self)
        else:
            hub = self.identity_provider.hub_auth
            self.redirect(f"{hub.hub_host}{hub.hub_prefix}logout")

    JupyterHubLogoutHandler.get = get


def _is_own_request(request: Any) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site:
        return site in ("same-origin", "none")
    # Over plain HTTP, browsers send only this.
    return bool(urlsplit(request.headers.get("Referer", "")).netloc == request.host)
