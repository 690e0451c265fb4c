"""Modules and classes that are loaded on first use."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from littlest_hub.system.lazy_imports import (
    lazy_class,
    lazy_function,
    lazy_modules,
    placeholder,
    placeholders,
)

pytestmark = pytest.mark.unit

RUNS: list[str] = []
"""The names of test modules that have run."""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose modules are importable during the test."""
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


def test_a_lazy_module_runs_once_on_first_use(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with lazy_modules(["slow"]):
        slow = importlib.import_module("slow")
        assert importlib.import_module("slow") is slow
    assert RUNS == []
    assert slow.answer == 42
    assert slow.__name__ == "slow"
    assert "answer" in dir(slow)
    with pytest.raises(AttributeError, match="nothing"):
        _ = slow.nothing
    assert RUNS == ["slow"]


def test_a_later_import_of_a_lazy_module_returns_the_real_one(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with lazy_modules(["slow"]):
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


def test_a_lazy_module_that_is_used_at_once_runs_once(modules: Path) -> None:
    write_module(modules, "slow", "answer = 42")
    with lazy_modules(["slow"]):
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
"""A package like `requests`: its exceptions are in a submodule that it imports."""
CATCH = """
from requested.exceptions import Error
import requested
try:
    requested.get()
except Error:
    caught = requested.exceptions.Error is Error is requested.Error
"""


@pytest.mark.parametrize("is_at_once", [False, True])
def test_a_submodule_of_a_lazy_package_that_is_imported_first_runs_once(
    modules: Path, *, is_at_once: bool
) -> None:
    for name, text in REQUESTS.items():
        write_module(modules, f"requested/{name}", text)
    write_module(modules, "extension", CATCH)
    with lazy_modules(["requested"]):
        importlib.import_module("requested")
        if is_at_once:
            importlib.import_module("extension")
    assert importlib.import_module("extension").caught
    assert RUNS == ["extension", "requested", "requested.api", "requested.exceptions"]


def test_a_name_is_importable_from_a_lazy_submodule(modules: Path) -> None:
    write_module(modules, "pack/__init__")
    write_module(modules, "pack/orm", "class User: ...")
    write_module(modules, "pack/handlers", "from . import orm")
    with lazy_modules(["pack.orm"]):
        handlers = importlib.import_module("pack.handlers")
    write_module(modules, "one", "from pack import orm\nUser = orm.User")
    write_module(modules, "two", "from pack.orm import User")
    write_module(modules, "three", "import pack.orm\nUser = pack.orm.User")
    users = {importlib.import_module(name).User for name in ("one", "two", "three")}
    assert users == {handlers.orm.User}
    assert RUNS.count("pack.orm") == 1


def test_a_submodule_of_a_lazy_package_runs_after_the_package(modules: Path) -> None:
    write_module(modules, "slow/__init__", "from slow.one import ONE")
    write_module(modules, "slow/one", "ONE = 1")
    write_module(modules, "slow/two", "from slow import ONE\nTWO = ONE + 1")
    with lazy_modules(["slow"]):
        importlib.import_module("slow")
    assert RUNS == []
    assert importlib.import_module("slow.two").TWO == 2
    assert RUNS == ["slow", "slow.one", "slow.two"]


def test_a_lazy_submodule_is_an_attribute_of_its_package(modules: Path) -> None:
    write_module(modules, "pack/__init__")
    write_module(modules, "pack/slow", "answer = 42")
    write_module(modules, "pack/user", "from . import slow")
    with lazy_modules(["pack.slow"]):
        user = importlib.import_module("pack.user")
    assert RUNS == ["pack", "pack.user"]
    assert user.slow.answer == 42


def test_each_use_of_a_lazy_module_that_fails_raises_its_error(modules: Path) -> None:
    write_module(modules, "broken", "raise ImportError('no such library')")
    with lazy_modules(["broken", "missing"]):
        broken = importlib.import_module("broken")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("missing")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            _ = broken.anything


def test_threads_that_use_a_lazy_module_at_once_wait_for_each_other(modules: Path) -> None:
    write_module(modules, "slow", f"import {__name__} as t\nt.GATE.wait(5)\nanswer = 42")
    with lazy_modules(["slow"]):
        slow = importlib.import_module("slow")
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(lambda: slow.answer) for _ in range(2)]
        GATE.set()
        assert [answer.result(10) for answer in answers] == [42, 42]
    assert RUNS == ["slow"]


GATE = threading.Event()


def test_two_threads_that_import_and_use_each_others_modules_do_not_deadlock(modules: Path) -> None:
    # Each thread is importing a module when it needs the next one: `mine`, which is not lazy, uses
    # `slow`; `other`, which is lazy, imports `mine`.
    meet = f"import {__name__} as t\nt.MEET.wait(10)\n"
    write_module(modules, "mine", f"{meet}import uses\nanswer = uses.slow.answer")
    write_module(modules, "other", f"{meet}import mine\nanswer = mine.answer")
    write_module(modules, "slow", "answer = 42")
    write_module(modules, "uses", "import slow, other")
    with lazy_modules(["slow", "other"]):
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


def test_an_import_after_the_block_returns_the_real_module(modules: Path) -> None:
    write_module(modules, "real", "class Error(Exception): ...\ndef double(n): return 2 * n")
    with placeholders(
        {"real": placeholder("real", Error=ValueError, double=lazy_function("real", "double"))}
    ):
        stand_in = importlib.import_module("real")
        with pytest.raises(AttributeError):
            _ = stand_in.other
    assert RUNS == []
    assert stand_in.Error is ValueError
    assert stand_in.double(21) == 42
    assert importlib.import_module("real") is not stand_in
    assert RUNS == ["real"]


def test_a_loaded_module_gets_no_placeholder(modules: Path) -> None:
    write_module(modules, "real")
    real = importlib.import_module("real")
    with placeholders({"real": placeholder("real", Error=ValueError)}):
        assert importlib.import_module("real") is real
    assert sys.modules["real"] is real


@pytest.fixture
def lazy_schema(modules: Path) -> Any:
    """A placeholder for a class of a module that is not loaded."""
    text = "class Schema:\n    kind = 'json'\n    def __init__(self, n=0): self.n = n"
    write_module(modules, "real", text)
    return lazy_class("real", "Schema")


def real_schema() -> Any:
    return importlib.import_module("real").Schema


def test_a_lazy_class_creates_objects_of_the_real_class(lazy_schema: Any) -> None:
    assert RUNS == []
    created = lazy_schema(7)
    assert RUNS == ["real"]
    assert created.n == 7
    assert type(created) is real_schema()
    assert isinstance(created, lazy_schema)
    assert not isinstance(7, lazy_schema)


def test_isinstance_and_issubclass_do_not_load_a_lazy_class(lazy_schema: Any) -> None:
    assert not isinstance(7, lazy_schema)
    assert not issubclass(int, lazy_schema)
    assert issubclass(lazy_schema, lazy_schema)
    assert RUNS == []
    assert issubclass(real_schema(), lazy_schema)


def test_a_subclass_of_a_lazy_class_is_one_of_the_real_class(lazy_schema: Any) -> None:
    class Mixin: ...

    class Own(Mixin, lazy_schema):  # type: ignore[misc]
        def double(self) -> int:
            return 2 * int(self.n)

    assert issubclass(Own, real_schema())
    assert Own.__mro__[1:] == (Mixin, real_schema(), object)
    assert Own(21).double() == 42
    assert isinstance(Own(), lazy_schema)


def test_a_lazy_class_has_the_attributes_of_the_real_class(lazy_schema: Any) -> None:
    assert lazy_schema.kind == "json"
    with pytest.raises(AttributeError, match="other"):
        _ = lazy_schema.other


def test_a_placeholder_in_sys_modules_is_not_taken_for_the_real_class(lazy_schema: Any) -> None:
    with placeholders({"real": placeholder("real", Schema=lazy_schema)}):
        assert not isinstance(7, lazy_schema)
    assert RUNS == []


def test_a_lazy_exception_class_catches_nothing() -> None:
    lazy_error = lazy_class("real", "Error", Exception)
    with pytest.raises(ValueError, match="kept"), contextlib.suppress(lazy_error):
        raise ValueError("kept")
