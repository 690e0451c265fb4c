"""Bytecode of environments' modules, compiled once for all environments that have a module.

Users may not write to an environment, so each start of a kernel would compile what it imports.
Bytecode is kept by the SHA-256 of its source, which is computed here: what a package's RECORD says
of its files could be anything, and make others run them. It is linked into environments when they
are complete already; without it they are only slower.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python

_LARGEST_BYTES = 2 << 20
_LEFT_OUT = {"__pycache__", "test", "tests"}
_AT_ONCE = 2


def add(place: Place, python: Python, key: str) -> int:
    """Add bytecode to an environment; return how many modules have been compiled for it."""
    store = place.bytecode / python.digest
    store.mkdir(exist_ok=True)
    tag = "cpython-{}{}".format(*python.version.split("."))
    modules = list(_modules(place.environment(key), tag))
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in modules]
    kept = [store / digest[:2] / digest for digest in digests]
    missing = {
        each: module for module, each in zip(modules, kept, strict=True) if not each.exists()
    }
    wanted = [(str(module), str(each)) for each, module in missing.items()]
    _compile(python.program(place), wanted)
    for module, each in zip(modules, kept, strict=True):
        compiled = _compiled(module, tag)
        # Some sources are for another Python. A package may have put anything in this place.
        with contextlib.suppress(OSError):
            compiled.parent.mkdir(exist_ok=True)
            compiled.hardlink_to(each)
    return len(missing)


def remove_unused(place: Place) -> None:
    """Remove the bytecode that no environment has any more."""
    for file in place.bytecode.rglob("*"):
        if file.is_file() and file.stat().st_nlink == 1:
            file.unlink()


def _compiled(module: Path, tag: str) -> Path:
    return module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc"


def _modules(environment: Path, tag: str) -> Iterator[Path]:
    """Yield the modules that came without bytecode."""
    for place, directories, names in os.walk(environment / "lib"):
        directories[:] = [each for each in directories if each not in _LEFT_OUT]
        for name in names:
            file = Path(place, name)
            # A script may have left links, to nothing at worst.
            if file.suffix != ".py" or file.is_symlink() or os.path.lexists(_compiled(file, tag)):
                continue
            if file.stat().st_size <= _LARGEST_BYTES:
                yield file


def _compile(program: Path, wanted: list[tuple[str, str]]) -> None:
    """Compile modules in other processes, since a source may bring the compiler down."""
    command = [str(program), "-I", str(Path(__file__).with_name("compile_modules.py"))]
    parts = [wanted[number::_AT_ONCE] for number in range(_AT_ONCE)]
    running = [
        (subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL), part)
        for part in parts
        if part
    ]
    for process, part in running:
        assert process.stdin
        # A process that has ended early reads nothing more.
        with contextlib.suppress(BrokenPipeError), process.stdin as opened:
            opened.write(json.dumps(part).encode())
    for process, _ in running:
        process.wait()
