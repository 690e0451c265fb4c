"""The file that the kernels of every environment execute."""

import ast
import runpy
from pathlib import Path

import pytest

import littlest_hub

pytestmark = pytest.mark.unit

FILE = Path(littlest_hub.__file__).parent / "singleuser/kernel_patches.py"


def test_its_syntax_and_its_imports_are_those_of_an_old_python_without_our_package() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 6))
    found = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    modules = {name.partition(".")[0] for name in found}
    assert modules == {"contextlib", "inspect", "ipykernel", "os", "typing", "zmq"}


def test_it_changes_nothing_where_there_is_no_ipykernel() -> None:
    runpy.run_path(str(FILE))
