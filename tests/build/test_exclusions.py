"""Nothing in the environment needs the excluded files."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

from construct import wheels
from construct.builder import DEVELOPMENT_LEVEL, Builder
from construct.cache import Cache
from construct.native import NativeBuilder
from construct.wheels import Wheel


@pytest.fixture(scope="module")
def builder() -> Builder:
    return Builder(Cache(), level=DEVELOPMENT_LEVEL, jobs=os.cpu_count() or 1)


@pytest.fixture(scope="module")
def found(builder: Builder) -> dict[str, Wheel]:
    """Return upstream's wheels."""
    return wheels.download(builder.lock.read_text(), builder.cache)


@pytest.mark.long
def test_no_remaining_module_imports_an_excluded_one(
    builder: Builder, found: dict[str, Wheel]
) -> None:
    patterns = [pattern for each in builder.exclusions for pattern in each.paths]
    # The last part of what is gone: a module in which it is not written does not import it.
    words = {PurePosixPath(pattern).parent.name for pattern in patterns}
    staying: dict[str, str] = {}
    gone = set()
    for wheel in found.values():
        with zipfile.ZipFile(wheel.path) as archive:
            for name in archive.namelist():
                if not name.endswith(".py"):
                    continue
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    # debugpy imports what is below this as a directory of its path.
                    gone |= {_module(name), _module(name.rpartition("_vendored/pydevd/")[2])}
                else:
                    staying[name] = archive.read(name).decode(errors="replace")
    assert "tornado.test.web_test" in gone
    assert "pydevd_attach_to_process.winappdbg" in gone
    imports = {
        f"{name} imports {each}"
        for name, text in staying.items()
        if any(word in text for word in words)
        for each in _imported(text, PurePosixPath(name))
        if each in gone
    }
    assert imports == set()


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(text: str, file: PurePosixPath) -> Iterator[str]:
    """Return every name in a module's import statements that may be a module, absolute."""
    try:
        module = ast.parse(text)
    except SyntaxError:
        return  # a template
    for statement in ast.walk(module):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = file.parent.parts[: len(file.parent.parts) + 1 - statement.level]
            source = [*(base if statement.level else ()), *filter(None, [statement.module])]
            yield ".".join(source)
            yield from (".".join([*source, alias.name]) for alias in statement.names)


@pytest.mark.long
def test_jedi_finds_none_of_the_excluded_stubs(
    builder: Builder, found: dict[str, Wheel], tmp_path: Path
) -> None:
    """This checks the whole wheel, to notice if a later jedi finds them."""
    for name in ("jedi", "parso"):
        with zipfile.ZipFile(found[name].path) as archive:
            archive.extractall(tmp_path)
    program = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
from jedi.inference.gradual import typeshed
print(json.dumps([
    {{name: str(info.path) for name, info in typeshed._create_stub_map(folder).items()}}
    for folder in typeshed._get_typeshed_directories((3, 13))
]))
"""
    recipes = builder.recipes()
    python = NativeBuilder(recipes, builder.cache, builder.jobs).build_all()["python"]
    interpreter = str(python / "bin" / "python3.13")
    command = [interpreter, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    maps = json.loads(done.stdout)
    assert any("re" in each for each in maps), "those of the standard library"
    stubs = tmp_path / "jedi" / "third_party" / "typeshed" / "stubs"
    assert len(list(stubs.iterdir())) > 100
    lost = [path for each in maps for path in each.values() if Path(path).is_relative_to(stubs)]
    assert lost == []
