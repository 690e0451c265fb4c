"""What a server that starts does without, or once: each function is one such thing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from littlest_hub.system.lazy_imports import class_later, late, names_only, standing_in


def entry_points_once() -> None:
    """What is installed is looked at once, a hundred files each time, until something changes."""
    look = importlib.metadata.entry_points

    @functools.lru_cache(maxsize=1)
    def found(_state: tuple[_State, ...]) -> Any:
        return look()

    def entry_points(**wanted: str) -> Any:
        return found(tuple(_state_of_sys_path())).select(**wanted)

    importlib.metadata.entry_points = entry_points  # type: ignore[assignment]


_State = tuple[str, int, int]
"""A path, when it changed, in nanoseconds, and its size."""


def _state_of_sys_path() -> Iterator[_State]:
    """Of directories, and of packages' lists: of a package that is being installed, the directory
    is there before the list is. (pathlib would take four times as long.)"""
    for path in sys.path:
        yield from _state_of(path)
        with contextlib.suppress(OSError):
            for name in os.listdir(path):  # noqa: PTH208
                if name.endswith("-info"):
                    yield from _state_of(f"{path}/{name}/entry_points.txt")


def _state_of(path: str) -> Iterator[_State]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return
    yield path, found.st_mtime_ns, found.st_size


def extension_manager_when_asked() -> None:
    """JupyterLab's manager of extensions is made when somebody opens it.

    With it comes an HTTP client, which reads all the certificates that there are.
    """
    with standing_in({"jupyterlab.extensions.pypi": names_only("", "PyPIExtensionManager")}):
        import jupyterlab.extensions as extensions

    class Later:
        metadata = extensions.manager.ExtensionManagerMetadata("PyPI", True, sys.prefix)

        def __init__(self, *args: Any) -> None:
            self._arguments = args

        @functools.cached_property
        def _made(self) -> Any:
            from jupyterlab.extensions.pypi import PyPIExtensionManager

            return PyPIExtensionManager(*self._arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._made, name)

    extensions.PyPIExtensionManager = Later


def events_when_asked() -> None:
    """What the server's events look like is read when somebody logs or listens to one: JupyterLab
    does when it is opened. With it comes YAML, and checking that a schema is one."""
    schema, validators = "jupyter_events.schema", "jupyter_events.validators"
    core = SimpleNamespace(validate=_check_core)
    stand_ins = {
        schema: late(schema, SchemaType=Any, EventSchema=class_later(schema, "EventSchema")),
        validators: late(validators, JUPYTER_EVENTS_CORE_VALIDATOR=core),
    }
    with standing_in(stand_ins):
        import jupyter_events
    # Who imports it wants the real one.
    vars(jupyter_events).pop("EventSchema")
    vars(jupyter_events)["__getattr__"] = _of_jupyter_events

    from jupyter_events.schema_registry import SchemaRegistry, SchemaRegistryException
    from jupyter_server import DEFAULT_EVENTS_SCHEMA_PATH, serverapp
    from traitlets import default

    class EventLogger(jupyter_events.EventLogger):
        """Registers the server's own schemas, which are good, when it is asked for any."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._own: list[Path] = []
            super().__init__(*args, **kwargs)

        def register_event_schema(self, schema: Any) -> None:
            is_own = isinstance(schema, Path) and DEFAULT_EVENTS_SCHEMA_PATH in schema.parents
            if is_own and not self.trait_has_value("schemas"):
                # Kernels try it again, to be sure.
                if schema in self._own:
                    raise SchemaRegistryException(f"{schema} is already registered")
                self._own.append(schema)
            else:
                super().register_event_schema(schema)

        def _registered(self) -> SchemaRegistry:
            registry = SchemaRegistry()
            for schema in self._own:
                registry.register(schema)  # type: ignore[arg-type]
            return registry

        def _by_schema(self) -> dict[str, set[Any]]:
            return {each: set() for each in self.schemas.schema_ids}

        _schemas = default("schemas")(_registered)
        _of_modifiers = default("_modifiers")(_by_schema)
        _of_modified = default("_modified_listeners")(_by_schema)
        _of_unmodified = default("_unmodified_listeners")(_by_schema)

    serverapp.EventLogger = EventLogger


def _check_core(event: object) -> None:
    from jupyter_events.validators import JUPYTER_EVENTS_CORE_VALIDATOR

    JUPYTER_EVENTS_CORE_VALIDATOR.validate(event)


def _of_jupyter_events(name: str) -> Any:
    if name in ("schema", "validators", "yaml"):
        return importlib.import_module(f"jupyter_events.{name}")
    if name != "EventSchema":
        raise AttributeError(f"module 'jupyter_events' has no attribute {name!r}")
    from jupyter_events.schema import EventSchema

    return EventSchema


def no_ipython() -> None:
    """Where it keeps kernels, and kept extensions of notebooks, is known without importing it."""
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
    """As IPython.paths.get_ipython_dir has it."""
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()


def language_servers_when_asked() -> None:
    """Language servers are looked for when somebody opens JupyterLab: that starts npm, if it is
    there, and looks into many directories."""
    from jupyter_lsp import serverextension

    search = serverextension.initialize

    def prepare(app: Any, *args: Any) -> None:
        manager = app.language_server_manager
        found: asyncio.Future[None] | None = None

        async def ready() -> bool:
            nonlocal found
            if not found or (found.done() and (found.cancelled() or found.exception())):
                found = asyncio.ensure_future(search(app, *args))
            # Whoever stops waiting stops it for nobody else.
            await asyncio.shield(found)
            return True

        manager.ready = ready

    serverextension.initialize = prepare


def no_yarn() -> None:
    """What yarn is configured to is asked of node, if it is there, for the version's sake alone."""
    from jupyterlab import commands

    ask = commands._yarn_config
    commands._yarn_config = lambda _: {"yarn config": {}, "npm config": {}}
    try:
        import jupyterlab.labapp  # noqa: F401
    finally:
        commands._yarn_config = ask


def garbage_while_serving() -> None:
    """Garbage is looked for from when the server serves, in what it makes from then on."""
    from jupyter_server.serverapp import ServerApp

    serve = ServerApp.start_ioloop

    def start_ioloop(self: Any) -> None:
        gc.freeze()
        gc.enable()
        serve(self)

    ServerApp.start_ioloop = start_ioloop
