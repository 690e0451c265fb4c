"""Write the final prefix into a freshly unpacked hub environment.

Packages are linked at a placeholder prefix when the installer is built. `conda-meta/relocate.json`
lists the few files that contain it. The installer runs this file with the interpreter that it has
just unpacked (`python -I -S -B relocate.py TREE PREFIX`), so it uses only the standard library.
TREE is the present directory of the files, PREFIX the final one.

This follows conda's installation: text is simply replaced, C strings in binaries are padded with
NULs to their length, and every record in `conda-meta` gets the `sha256_in_prefix` of the file as
installed. Byte code cannot be edited in place, so it is compiled again from its source.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import py_compile
import re
import sys
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

MANIFEST = "conda-meta/relocate.json"
MODES = ("text", "binary")


class RelocationError(Exception):
    """The tree cannot be moved to the prefix; the message names the file and the reason."""


class Relocation(NamedTuple):
    """A file that contains the placeholder: its path below the tree, and the record listing it."""

    path: str
    mode: str
    record: str


def in_text(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    """Return `data` with every placeholder replaced by the prefix. The length may change."""
    return data.replace(placeholder, prefix)


def in_binary(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    """Return `data` with the prefix in its NUL-terminated strings, and of the same length.

    The rest of a string follows the prefix directly, and NULs pad its end, so that the data after
    the string does not move.

    Raises:
        RelocationError: the prefix is longer than the placeholder, or a string has no end.
    """
    spare = len(placeholder) - len(prefix)
    if spare < 0:
        raise RelocationError(
            f"the prefix has {len(prefix)} bytes, and binaries have room for {len(placeholder)}"
        )

    def moved(string: re.Match[bytes]) -> bytes:
        count = string.group().count(placeholder)
        return string.group().replace(placeholder, prefix) + b"\0" * (spare * count)

    result = re.sub(re.escape(placeholder) + rb"[^\0]*(?=\0)", moved, data)
    if placeholder in result and placeholder not in prefix:
        raise RelocationError("a string with the placeholder does not end with a NUL")
    return result


def relocate(tree: Path, prefix: str) -> int:
    """Replace the placeholder by `prefix` in `tree`. Return the number of files rewritten.

    The manifest is removed last: a second run does nothing, and a run after an interrupted one
    completes it.

    Raises:
        RelocationError: a listed file, its record or the manifest is missing or not as expected.
    """
    manifest = tree / MANIFEST
    if not manifest.exists():
        return 0
    placeholder, relocations = _read_manifest(manifest)
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    rewritten = 0
    for relocation in relocations:
        for path in _relocate_file(tree, relocation, placeholder, prefix):
            digests[relocation.record][path] = _sha256(tree / path)
            rewritten += 1
    _update_records(tree, digests, placeholder, prefix)
    manifest.unlink()
    return rewritten


def _read_manifest(manifest: Path) -> tuple[str, list[Relocation]]:
    try:
        content = json.loads(manifest.read_bytes())
        placeholder = content["placeholder"]
        relocations = [
            Relocation(path, entry["mode"], entry["record"])
            for path, entry in sorted(content["files"].items())
        ]
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise RelocationError(f"{MANIFEST} cannot be used: {error!r}") from error
    if not isinstance(placeholder, str) or not placeholder:
        raise RelocationError(f"{MANIFEST} names no placeholder")
    for relocation in relocations:
        if relocation.mode not in MODES:
            raise RelocationError(f"{relocation.path}: unknown mode {relocation.mode!r}")
        for path in (relocation.path, relocation.record):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise RelocationError(f"{path}: not a path inside the environment")
    return placeholder, relocations


def _relocate_file(tree: Path, relocation: Relocation, placeholder: str, prefix: str) -> list[str]:
    """Rewrite a listed file and the byte code made from it. Return the changed paths."""
    file = tree / relocation.path
    if file.suffix == ".pyc":
        return _compile(tree, _source_of(relocation.path), prefix)
    if file.is_symlink() or not file.is_file():
        raise RelocationError(f"{relocation.path}: listed in {MANIFEST}, but not a regular file")
    replace = in_text if relocation.mode == "text" else in_binary
    try:
        data = replace(file.read_bytes(), os.fsencode(placeholder), os.fsencode(prefix))
    except RelocationError as error:
        raise RelocationError(f"{relocation.path}: {error}") from error
    _write(file, data)
    changed = [relocation.path]
    if file.suffix == ".py":
        changed += _compile(tree, relocation.path, prefix)
    return changed


def _source_of(byte_code: str) -> str:
    """Return `a/b.py` for `a/__pycache__/b.cpython-313.pyc` (PEP 3147)."""
    path = PurePosixPath(byte_code)
    return str(path.parent.parent / (path.name.partition(".")[0] + ".py"))


def _compile(tree: Path, source: str, prefix: str) -> list[str]:
    """Compile the byte code of `source` again if the package contains it. Return its path."""
    path = PurePosixPath(source)
    target = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
    if not (tree / target).exists():
        return []
    try:
        py_compile.compile(
            str(tree / source),
            cfile=str(tree / target),
            dfile=f"{prefix}/{source}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except (py_compile.PyCompileError, OSError) as error:
        raise RelocationError(f"{source}: cannot be compiled: {error}") from error
    return [str(target)]


def _update_records(
    tree: Path, digests: dict[str, dict[str, str]], placeholder: str, prefix: str
) -> None:
    """Write digests and the prefix into the files of `conda-meta`."""
    missing = sorted(record for record in digests if not (tree / record).is_file())
    if missing:
        raise RelocationError(f"{missing[0]}: named in {MANIFEST}, but not there")
    for file in sorted((tree / "conda-meta").iterdir()):
        name = file.relative_to(tree).as_posix()
        if name == MANIFEST or not file.is_file():
            continue
        data = file.read_bytes()
        if name not in digests and os.fsencode(placeholder) not in data:
            continue
        if file.suffix == ".json":
            data = _updated_record(name, data, digests.get(name, {}), placeholder, prefix)
        else:
            data = in_text(data, os.fsencode(placeholder), os.fsencode(prefix))
        _write(file, data)


def _updated_record(
    name: str, data: bytes, digests: dict[str, str], placeholder: str, prefix: str
) -> bytes:
    try:
        record = _with_prefix(json.loads(data), placeholder, prefix)
        listed = {entry["_path"]: entry for entry in record["paths_data"]["paths"]}
    except (KeyError, TypeError, ValueError) as error:
        raise RelocationError(f"{name}: not a record of a package: {error!r}") from error
    for path, digest in digests.items():
        if path not in listed:
            raise RelocationError(f"{name}: does not list {path}")
        listed[path]["sha256_in_prefix"] = digest
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def _with_prefix(value: Any, placeholder: str, prefix: str) -> Any:
    """Return a JSON value with the prefix in every string, except in `prefix_placeholder`."""
    if isinstance(value, str):
        return value.replace(placeholder, prefix)
    if isinstance(value, list):
        return [_with_prefix(item, placeholder, prefix) for item in value]
    if isinstance(value, dict):
        return {
            key: item if key == "prefix_placeholder" else _with_prefix(item, placeholder, prefix)
            for key, item in value.items()
        }
    return value


def _write(file: Path, data: bytes) -> None:
    """Replace a file, and keep its mode. Not in place: it may be the running interpreter."""
    new = file.with_name(f".{file.name}.relocated")
    try:
        with new.open("wb") as stream:
            os.fchmod(stream.fileno(), file.stat().st_mode & 0o7777)
            stream.write(data)
        new.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    """Run `relocate.py TREE PREFIX`. Return 0 if done, 1 if not possible, 2 for wrong usage."""
    if len(arguments) != 2 or not Path(arguments[1]).is_absolute():
        print("usage: relocate.py TREE PREFIX (an absolute path)", file=sys.stderr)
        return 2
    try:
        relocate(Path(arguments[0]), arguments[1])
    except RelocationError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ERROR: {error.filename or arguments[0]}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
