"""Changes to the user server's libraries, each alone and with fakes of the libraries.

`make test-upstream` and tests/container/test_light_servers.py run them with the real ones.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from littlest_hub.singleuser import patches

pytestmark = pytest.mark.unit

CHANGES = [
    node.value.func.id
    for node in ast.walk(ast.parse(inspect.getsource(patches.import_server)))
    if isinstance(node, ast.Expr)
    and isinstance(node.value, ast.Call)
    and isinstance(node.value.func, ast.Name)
]
"""The functions that `import_server` calls."""


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_says_why_what_it_saves_and_when_it_can_be_deleted(name: str) -> None:
    text = inspect.getdoc(getattr(patches, name)) or ""
    starts = [line.partition(":")[0] for line in text.splitlines()]
    assert [start for start in starts if start in ("Why", "Gain", "Until")] == [
        "Why",
        "Gain",
        "Until",
    ]


def test_the_changes_are_found_in_import_server() -> None:
    assert {"lazy_event_schemas", "lazy_extension_manager", "no_ipython"} <= set(CHANGES)


def test_a_port_that_the_hub_has_chosen_is_not_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class ServerApp:
        port = 0

        def _find_http_port(self) -> None:
            self.port = 50000

    module = ModuleType("jupyter_server.serverapp")
    module.__dict__["ServerApp"] = ServerApp
    monkeypatch.setitem(sys.modules, "jupyter_server", ModuleType("jupyter_server"))
    monkeypatch.setitem(sys.modules, "jupyter_server.serverapp", module)
    patches.one_listening_socket()
    server = ServerApp()
    server._find_http_port()
    assert server.port == 50000
    server.port = 40000
    server._find_http_port()
    assert server.port == 40000


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """A search for language servers, which starts on first use."""
    search = Search()
    module = ModuleType("jupyter_lsp.serverextension")
    module.__dict__["initialize"] = search
    package = ModuleType("jupyter_lsp")
    package.__dict__["serverextension"] = module
    monkeypatch.setitem(sys.modules, "jupyter_lsp", package)
    monkeypatch.setitem(sys.modules, "jupyter_lsp.serverextension", module)
    patches.lazy_language_servers()
    module.__dict__["initialize"](search, "file:///")
    return search


class Search:
    """A fake of jupyter_lsp's search that fails a number of times."""

    def __init__(self) -> None:
        self.language_server_manager = SimpleNamespace()
        self.failures = 0
        self.begun = 0
        self.ended = 0

    async def __call__(self, app: Search, uri: str) -> None:
        self.begun += 1
        await asyncio.sleep(0)
        if self.begun <= self.failures:
            raise OSError("no more processes")
        self.ended += 1

    async def ready(self) -> object:
        return await self.language_server_manager.ready()


def test_the_search_for_language_servers_runs_once_and_on_first_use(search: Search) -> None:
    async def use() -> None:
        assert search.begun == 0
        await asyncio.gather(search.ready(), search.ready())
        assert await search.ready()

    asyncio.run(use())
    assert (search.begun, search.ended) == (1, 1)


def test_the_search_for_language_servers_runs_again_after_a_failure(search: Search) -> None:
    async def use() -> None:
        with pytest.raises(OSError, match="processes"):
            await search.ready()
        assert await search.ready()

    search.failures = 1
    asyncio.run(use())
    assert (search.begun, search.ended) == (2, 1)


def test_a_cancelled_request_does_not_cancel_the_search_for_others(
    search: Search,
) -> None:
    async def use() -> None:
        first, second = (asyncio.ensure_future(search.ready()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert first.cancelled()

    asyncio.run(use())
    assert (search.begun, search.ended) == (1, 1)


# --- Kernels


class Kernels(dict[str, object]):
    """A fake of jupyter_client's manager: kernels that run, by their id, and those that start."""

    def __init__(self) -> None:
        super().__init__()
        self._pending_kernels: dict[str, asyncio.Task[None]] = {}

    async def _add_kernel_when_ready(self, name: str, kernel: object, started: Any) -> None:
        try:
            await started
            self[name] = kernel
            self._pending_kernels.pop(name, None)
        except OSError:
            pass

    async def start(self, name: str, started: Any) -> None:
        task = asyncio.create_task(self._add_kernel_when_ready(name, name, started))
        self._pending_kernels[name] = task
        await task


def test_a_kernel_whose_program_is_missing_is_not_one_that_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager, package = ModuleType("jupyter_client.multikernelmanager"), ModuleType("jupyter_client")
    manager.__dict__["MultiKernelManager"] = type("Changed", (Kernels,), {})
    for module in (package, manager):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    patches.forget_failed_kernels()

    async def start(error: OSError | None = None) -> None:
        if error:
            raise error

    async def use() -> None:
        kernels = manager.MultiKernelManager()
        await kernels.start("good", start())
        await kernels.start("gone", start(FileNotFoundError()))
        assert kernels == {"good": "good"}
        assert kernels._pending_kernels == {}

    asyncio.run(use())


# --- JupyterLab's extension manager


class Manager:
    """A fake of JupyterLab's manager that counts its objects."""

    created = 0

    def __init__(self, app_options: Any = None, ext_options: Any = None, parent: Any = None):
        type(self).created += 1
        self.arguments = (app_options, ext_options, parent)
        self.installed: list[str] = []

    def install(self, name: str) -> None:
        self.installed.append(name)


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake of jupyterlab.extensions, changed."""
    lab, package = ModuleType("jupyterlab"), ModuleType("jupyterlab.extensions")
    pypi = ModuleType("jupyterlab.extensions.pypi")
    pypi.__dict__["PyPIExtensionManager"] = type("PyPIExtensionManager", (Manager,), {"created": 0})
    package.__dict__.update(
        PyPIExtensionManager=None,
        manager=SimpleNamespace(ExtensionManagerMetadata=lambda *each: each),
    )
    lab.__dict__["extensions"] = package
    for module in (lab, package):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    patches.lazy_extension_manager()
    monkeypatch.setitem(sys.modules, pypi.__name__, pypi)
    return package


def test_the_extension_manager_is_created_on_first_use(extensions: Any) -> None:
    manager = extensions.get_pypi_manager("app", {}, parent=None)
    assert manager.metadata == ("PyPI", True, sys.prefix)
    real = extensions.pypi.PyPIExtensionManager
    assert real.created == 0
    manager.install("theme")
    assert manager.installed == ["theme"]
    assert manager.arguments == ("app", {}, None)
    manager.installed = []
    assert manager.installed == []
    assert isinstance(manager, real)
    assert real.created == 1


def test_the_class_of_the_extension_manager_remains_jupyterlabs(extensions: Any) -> None:
    assert extensions.PyPIExtensionManager is extensions.pypi.PyPIExtensionManager

    class Own(extensions.PyPIExtensionManager):  # type: ignore[misc]
        def install(self, name: str) -> None:
            super().install(name.upper())

    own = Own(parent="lab")
    own.install("theme")
    assert own.installed == ["THEME"]
    assert own.arguments == (None, None, "lab")
    assert isinstance(own, extensions.PyPIExtensionManager)
    with pytest.raises(AttributeError, match="nothing"):
        _ = extensions.nothing


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"blocked_extensions_uris": {"https://example.org/list"}}, {}),
        ({"allowed_extensions_uris": {"https://example.org/list"}}, {}),
        ({}, {"PyPIExtensionManager": {"base_url": "https://example.org"}}),
    ],
)
def test_a_configured_extension_manager_is_created_at_once(
    extensions: Any, options: dict[str, Any], config: dict[str, Any]
) -> None:
    manager = extensions.get_pypi_manager({}, options, SimpleNamespace(config=config))
    assert type(manager) is extensions.PyPIExtensionManager


@pytest.fixture
def entry_point_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The names of entry points of one group, as a server finds them that has looked before."""
    monkeypatch.setattr(importlib.metadata, "entry_points", importlib.metadata.entry_points)
    monkeypatch.syspath_prepend(tmp_path)
    patches.cache_entry_points()
    return lambda: [each.name for each in importlib.metadata.entry_points(group="kernels.of.mine")]


def test_entry_points_that_are_installed_later_are_found(
    tmp_path: Path, entry_point_names: Callable[[], list[str]]
) -> None:
    assert entry_point_names() == []
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kernels.of.mine]\nfast = mine:fast\n")
    assert entry_point_names() == ["fast"]


def test_entry_points_of_a_package_that_is_being_installed_are_found_in_the_end(
    tmp_path: Path, entry_point_names: Callable[[], list[str]]
) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    assert entry_point_names() == []
    (info / "entry_points.txt").write_text("[kernels.of.mine]\n")
    assert entry_point_names() == []
    with (info / "entry_points.txt").open("a") as file:
        file.write("fast = mine:fast\n")
    assert entry_point_names() == ["fast"]


def test_entry_points_are_read_once_while_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []
    read = importlib.metadata.entry_points

    def counted() -> object:
        reads.append(1)
        return read()

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    patches.cache_entry_points()
    for group in ("console_scripts", "jupyter_client.kernel_provisioners", "console_scripts"):
        importlib.metadata.entry_points(group=group)
    assert len(reads) == 1
