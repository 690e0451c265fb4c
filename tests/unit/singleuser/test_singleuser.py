"""What a user server does without, until it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tornado.httpclient import HTTPError

from littlest_hub.singleuser import hubclient, patches
from littlest_hub.system.lazy_imports import (
    class_later,
    late,
    later,
    names_only,
    postponed,
    standing_in,
)

pytestmark = pytest.mark.unit

RUNS: list[str] = []
"""Modules of these tests that have run."""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where modules can be put that are importable while the test runs."""
    RUNS.clear()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write_module(directory: Path, name: str, text: str = "") -> None:
    file = directory / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"import {__name__}\n{__name__}.RUNS.append(__name__)\n{text}\n")
    importlib.invalidate_caches()


def test_a_postponed_module_runs_once_when_it_is_first_used(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with postponed(["slow"]):
        slow = importlib.import_module("slow")
        assert importlib.import_module("slow") is slow
    assert RUNS == []
    assert slow.answer == 42
    assert slow.__name__ == "slow"
    assert "answer" in dir(slow)
    with pytest.raises(AttributeError, match="nothing"):
        _ = slow.nothing
    assert RUNS == ["slow"]


def test_whoever_imports_a_postponed_module_later_has_the_real_one(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with postponed(["slow"]):
        slow: Any = importlib.import_module("slow")
    assert "slow" not in sys.modules
    real: Any = importlib.import_module("slow")
    assert type(real) is ModuleType
    assert importlib.reload(real) is real
    assert RUNS == ["slow", "slow"]
    slow.answer = 43
    assert real.answer == 43
    del slow.answer
    assert not hasattr(real, "answer")


def test_a_postponed_module_that_is_used_at_once_runs_once(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with postponed(["slow"]):
        slow = importlib.import_module("slow")
        assert slow.answer == 42
        real = importlib.import_module("slow")
        assert type(real) is ModuleType
    assert importlib.import_module("slow") is real
    assert RUNS == ["slow"]


REQUESTS = {
    "__init__": "from requested.api import get\nfrom requested.exceptions import Error",
    "api": "from requested.exceptions import Error\ndef get(): raise Error",
    "exceptions": "class Error(Exception): ...",
}
"""A package as `requests` is: what it raises is in a module that it imports."""
CATCH = """
from requested.exceptions import Error
import requested
try:
    requested.get()
except Error:
    caught = requested.exceptions.Error is Error is requested.Error
"""


@pytest.mark.parametrize("is_at_once", [False, True])
def test_a_module_of_a_postponed_package_that_is_imported_first_runs_once(
    modules: Path, *, is_at_once: bool
) -> None:
    for name, text in REQUESTS.items():
        write_module(modules, f"requested/{name}", text)
    write_module(modules, "extension", CATCH)
    with postponed(["requested"]):
        importlib.import_module("requested")
        if is_at_once:
            importlib.import_module("extension")
    assert importlib.import_module("extension").caught
    assert RUNS == ["extension", "requested", "requested.api", "requested.exceptions"]


def test_a_name_is_imported_of_a_postponed_module_of_a_package(modules: Path) -> None:
    write_module(modules, "pack/__init__")
    write_module(modules, "pack/orm", "class User: ...")
    write_module(modules, "pack/handlers", "from . import orm")
    with postponed(["pack.orm"]):
        handlers = importlib.import_module("pack.handlers")
    write_module(modules, "one", "from pack import orm\nUser = orm.User")
    write_module(modules, "two", "from pack.orm import User")
    write_module(modules, "three", "import pack.orm\nUser = pack.orm.User")
    users = {importlib.import_module(name).User for name in ("one", "two", "three")}
    assert users == {handlers.orm.User}
    assert RUNS.count("pack.orm") == 1


def test_what_is_imported_of_a_postponed_package_runs_after_the_package(modules: Path) -> None:
    write_module(modules, "slow/__init__", "from slow.one import ONE")
    write_module(modules, "slow/one", "ONE = 1")
    write_module(modules, "slow/two", "from slow import ONE\nTWO = ONE + 1")
    with postponed(["slow"]):
        importlib.import_module("slow")
    assert RUNS == []
    assert importlib.import_module("slow.two").TWO == 2
    assert RUNS == ["slow", "slow.one", "slow.two"]


def test_a_postponed_module_of_a_package_is_the_packages(modules: Path) -> None:
    write_module(modules, "pack/__init__")
    write_module(modules, "pack/slow", "answer = 42")
    write_module(modules, "pack/user", "from . import slow")
    with postponed(["pack.slow"]):
        user = importlib.import_module("pack.user")
    assert RUNS == ["pack", "pack.user"]
    assert user.slow.answer == 42


def test_a_postponed_module_that_fails_says_so_to_whoever_uses_it(modules: Path) -> None:
    write_module(modules, "broken", "raise ImportError('no such library')")
    with postponed(["broken", "missing"]):
        broken = importlib.import_module("broken")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("missing")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            _ = broken.anything


def test_threads_that_use_a_postponed_module_at_once_wait_for_each_other(modules: Path) -> None:
    write_module(modules, "slow", f"import {__name__} as t\nt.GATE.wait(5)\nanswer = 42")
    with postponed(["slow"]):
        slow = importlib.import_module("slow")
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(lambda: slow.answer) for _ in range(2)]
        GATE.set()
        assert [answer.result(10) for answer in answers] == [42, 42]
    assert RUNS == ["slow"]


GATE = threading.Event()


def test_threads_of_which_each_imports_what_the_other_uses_end(modules: Path) -> None:
    # Each is in a module's import when it wants the next: `mine`, which nobody has postponed, uses
    # `slow`; `other`, which is used, imports `mine`.
    meet = f"import {__name__} as t\nt.MEET.wait(10)\n"
    write_module(modules, "mine", f"{meet}import uses\nanswer = uses.slow.answer")
    write_module(modules, "other", f"{meet}import mine\nanswer = mine.answer")
    write_module(modules, "slow", "answer = 42")
    write_module(modules, "uses", "import slow, other")
    with postponed(["slow", "other"]):
        uses = importlib.import_module("uses")
    answers: list[int] = []
    work = [lambda: uses.other.answer, lambda: importlib.import_module("mine").answer]
    threads = [
        threading.Thread(target=lambda task=task: answers.append(task()), daemon=True)
        for task in work
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == [42, 42]


MEET = threading.Barrier(2)


def test_a_stand_in_is_gone_when_others_import(modules: Path) -> None:
    write_module(modules, "real", "class Error(Exception): ...\ndef double(n): return 2 * n")
    with standing_in({"real": late("real", Error=ValueError, double=later("real", "double"))}):
        stand_in = importlib.import_module("real")
        with pytest.raises(AttributeError):
            _ = stand_in.other
    assert RUNS == []
    assert stand_in.Error is ValueError
    assert stand_in.double(21) == 42
    assert importlib.import_module("real") is not stand_in
    assert RUNS == ["real"]


def test_what_has_been_imported_has_no_stand_in(modules: Path) -> None:
    write_module(modules, "real")
    real = importlib.import_module("real")
    with standing_in({"real": names_only("real", "Error")}):
        assert importlib.import_module("real") is real
    assert sys.modules["real"] is real


def test_nothing_is_an_instance_of_a_name() -> None:
    stand_in = names_only("orm", "OrmError")
    assert not isinstance(ValueError(), stand_in.OrmError)
    with pytest.raises(ValueError, match="kept"), contextlib.suppress(stand_in.OrmError):
        raise ValueError("kept")


def test_a_class_is_imported_when_it_is_called_or_asked_for_instances(modules: Path) -> None:
    write_module(modules, "real", "class Schema:\n    def __init__(self, n): self.n = n")
    stand_in: Any = class_later("real", "Schema")
    assert RUNS == []
    made = stand_in(7)
    assert RUNS == ["real"]
    assert made.n == 7
    assert type(made) is importlib.import_module("real").Schema
    assert isinstance(made, stand_in)
    assert not isinstance(7, stand_in)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The names of entry points of one group, as a server finds them that has looked before."""
    monkeypatch.setattr(importlib.metadata, "entry_points", importlib.metadata.entry_points)
    monkeypatch.syspath_prepend(tmp_path)
    patches.entry_points_once()
    return lambda: [each.name for each in importlib.metadata.entry_points(group="kernels.of.mine")]


def test_entry_points_that_are_installed_later_are_found(
    tmp_path: Path, found: Callable[[], list[str]]
) -> None:
    assert found() == []
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kernels.of.mine]\nfast = mine:fast\n")
    assert found() == ["fast"]


def test_entry_points_of_a_package_that_is_being_installed_are_found_in_the_end(
    tmp_path: Path, found: Callable[[], list[str]]
) -> None:
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    assert found() == []
    (info / "entry_points.txt").write_text("[kernels.of.mine]\n")
    assert found() == []
    with (info / "entry_points.txt").open("a") as file:
        file.write("fast = mine:fast\n")
    assert found() == ["fast"]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """The search for language servers, which starts when it is asked for."""
    search = Search()
    module = ModuleType("jupyter_lsp.serverextension")
    module.__dict__["initialize"] = search
    package = ModuleType("jupyter_lsp")
    package.__dict__["serverextension"] = module
    monkeypatch.setitem(sys.modules, "jupyter_lsp", package)
    monkeypatch.setitem(sys.modules, "jupyter_lsp.serverextension", module)
    patches.language_servers_when_asked()
    module.__dict__["initialize"](search, "file:///")
    return search


class Search:
    """In the place of jupyter_lsp's: fails as often as it is told to."""

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


def test_language_servers_are_looked_for_once_and_when_asked(search: Search) -> None:
    async def ask() -> None:
        assert search.begun == 0
        await asyncio.gather(search.ready(), search.ready())
        assert await search.ready()

    asyncio.run(ask())
    assert (search.begun, search.ended) == (1, 1)


def test_language_servers_are_looked_for_again_after_a_failure(search: Search) -> None:
    async def ask() -> None:
        with pytest.raises(OSError, match="processes"):
            await search.ready()
        assert await search.ready()

    search.failures = 1
    asyncio.run(ask())
    assert (search.begun, search.ended) == (2, 1)


def test_whoever_stops_waiting_for_language_servers_stops_the_search_for_nobody(
    search: Search,
) -> None:
    async def ask() -> None:
        first, second = (asyncio.ensure_future(search.ready()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert first.cancelled()

    asyncio.run(ask())
    assert (search.begun, search.ended) == (1, 1)


# --- how the hub is asked


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(404 if self.path == "/missing" else 200, self.path)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(201, f"{self.headers['Authorization']} {body}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def hub() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_hub_is_asked_as_jupyterhub_asks_it() -> None:
    async def ask(url: str) -> None:
        answer = await hubclient.fetch(f"{url}/hub/api")
        assert (answer.status, await answer.text()) == (200, "/hub/api")
        assert answer.headers.get("x-jupyterhub-version") == "6.1.1"
        answer = await hubclient.fetch(
            f"{url}/activity", method="POST", headers={"Authorization": "token x"}, data='{"a": 1}'
        )
        assert (answer.status, await answer.text()) == (201, 'token x {"a": 1}')
        answer = await hubclient.fetch(f"{url}/missing", raise_for_status=False)
        assert answer.status == 404
        with pytest.raises(HTTPError):
            await hubclient.fetch(f"{url}/missing")

    with hub() as url:
        asyncio.run(ask(url))
    for is_picky in (True, False):
        with pytest.raises(OSError, match="refused"):
            asyncio.run(hubclient.fetch(f"{url}/hub/api", raise_for_status=is_picky))
