"""The unit tests that `make quick` runs: those whose imports its small environment has.

A test file is selected by what it imports, directly or through modules of this repository, also
inside functions; so there is no list of tests to keep up to date.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("construct", "littlest_hub", "tests")
# Third-party packages that the environment of `make quick` lacks. What is in neither list is meant
# to be there: without it, its tests fail instead of being left out silently.
LEFT_OUT = frozenset(
    (
        *("alembic", "batchspawner", "idle_culler", "jinja2", "jupyter_client", "jupyter_core"),
        *("jupyter_events", "jupyter_lsp", "jupyter_server", "jupyterhub", "jupyterlab"),
        *("jupyterhub_traefik_proxy", "matplotlib", "notebook_shim", "pamela", "rattler"),
        *("ldapauthenticator", "ltiauthenticator", "oauthenticator", "tmpauthenticator"),
        *(
            "rattler_build",
            "selenium",
            "sqlalchemy",
            "systemdspawner",
            "tornado",
            "traitlets",
            "uv",
        ),
    )
)

UNIT_TESTS = REPOSITORY / "tests" / "unit"
# One runs pytest itself, for half as long as all the others together; the other pip and uv.
SLOW = frozenset((UNIT_TESTS / "test_parallel.py", UNIT_TESTS / "construct" / "test_bundle.py"))


def is_quick(test_file: Path) -> bool:
    """Return whether a test file is of the unit tier, fast, and needs nothing that is left out."""
    if not test_file.is_relative_to(UNIT_TESTS) or test_file in SLOW:
        return False
    return not third_party(test_file) & LEFT_OUT


def third_party(file: Path) -> set[str]:
    """Return the third-party packages that a file imports, directly or through our modules."""
    found: set[str] = set()
    seen: set[Path] = set()
    to_read = [file]
    while to_read:
        current = to_read.pop()
        if current in seen:
            continue
        seen.add(current)
        for name in _imports(current):
            package = name.partition(".")[0]
            if package in PACKAGES:
                to_read += _files(name)
            elif package not in sys.stdlib_module_names:
                found.add(package)
    return found


@cache
def _imports(file: Path) -> frozenset[str]:
    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                # Each imported name may be a module.
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    return frozenset(names())


def _files(name: str) -> Iterator[Path]:
    """Yield the file of a module of ours, and those of the packages that contain it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = REPOSITORY.joinpath(*parts[:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                yield file
