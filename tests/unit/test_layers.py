"""The structure of `littlest_hub`: which package may import which, and limits of size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import littlest_hub

PACKAGE = Path(littlest_hub.__file__).parent

# From the ground up: a package imports only packages that are earlier in this list. Each has its
# contents, and who runs it:
LAYERS = {
    "errors": "the one exception that people read",
    "layout": "paths and names of an installation; no input or output",
    "installation": "an installation's layout and its variable files, read from disk",
    "system": "Linux, systemd and Python, each program or interface wrapped once; nothing of ours",
    "manifest": "what stacks consist of, which there are, and which are enabled",
    "units": "systemd units as data: text, ports, names of entry points and variables",
    "proxy": "the proxy's unit: traefik, its supervisor and the files that it reads",
    "helpers": "programs that run as root, for requests of the hub, and the guard's watch",
    "unprivileged": "what root does for a hub that is not root",
    "singleuser": "the user server: runs as the user",
    "hub": "the hub's unit: the supervisor, JupyterHub and our classes for it",
    "check": "fragments judged",
    "fragments": "fragments changed",
    "packages": "Python packages beside a release",
    "lifecycle": "a release installed, started, upgraded, removed",
    "activation": "stacks enabled and disabled, whole or not at all",
    "backup": "a hub in one file, and back",
    "doctor": "an installation examined; reads only",
    "service": "web services of stacks: run as users that systemd allocates",
    "stacks": "opinions on top; each found by its manifest",
    "commands": "what each command prints, asks and returns",
    "cli": "the command line: options and help",
    "__main__": "what `python -m littlest_hub` runs",
}
# These import less than the order allows.
MAY_IMPORT = {
    # It wraps Linux, systemd and Python, whatever product uses it.
    "system": {"errors"},
    # A user server may run on another machine, without units and proxy.
    "singleuser": {"errors", "layout", "installation", "system"},
}
# Only the named ones may import these: code that runs as another user is started, not imported.
IMPORTED_BY = {
    "singleuser": set[str](),
    "stacks": set[str](),
    "commands": {"cli"},
    "cli": {"__main__"},
    "__main__": set[str](),
}

MODULE_LINES, CLASS_LINES, FUNCTION_LINES = 500, 300, 60
# Longer functions, which are tables: of commands, of a unit's settings.
DATA = {
    *("cli.table.all_commands", "cli.table._package_commands"),
    *("units.hub.service", "units.proxy.service"),
}


def _modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), file


MODULES = dict(_modules())


def _imports(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield modules of ours that a module imports anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where things are from"
            name = node.module or ""
            if name.partition(".")[0] == "littlest_hub":
                base = name.removeprefix("littlest_hub").lstrip(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".lstrip(".")
                    yield inner if inner in MODULES else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("littlest_hub."):
                    yield alias.name.removeprefix("littlest_hub.")


def _layer(module: str) -> str:
    return module.partition(".")[0]


IMPORTS = {
    module: {
        imported
        for imported in _imports(module, ast.parse(file.read_text()))
        if imported and imported != module
    }
    for module, file in MODULES.items()
    if module
}


def test_each_part_has_a_place_in_the_layers() -> None:
    assert {_layer(module) for module in IMPORTS} <= set(LAYERS)


@pytest.mark.parametrize("module", IMPORTS)
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    layer = _layer(module)
    order = list(LAYERS)
    allowed = MAY_IMPORT.get(layer, set(order[: order.index(layer)]))
    for imported in IMPORTS[module]:
        other = _layer(imported)
        if other == layer:
            continue
        assert other in allowed, f"{module} imports {imported}: {layer} may not import {other}"
        importers = IMPORTED_BY.get(other)
        assert importers is None or layer in importers, f"{module} imports {imported}"


def test_a_stack_imports_no_other_stack() -> None:
    for module, imported in IMPORTS.items():
        if _layer(module) == "stacks":
            own = module.split(".")[:2]
            others = [m for m in imported if _layer(m) == "stacks" and m.split(".")[:2] != own]
            assert not others, f"{module} imports {others}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for imported in sorted(IMPORTS.get(module, ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in IMPORTS:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_a_class_and_a_function_are_small(module: str) -> None:
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        limit = CLASS_LINES if isinstance(node, ast.ClassDef) else FUNCTION_LINES
        lines = (node.end_lineno or 0) - node.lineno + 1
        assert lines <= limit or f"{module}.{node.name}" in DATA, f"{node.name}: {lines} lines"
