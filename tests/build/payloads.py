"""A small environment that is installed like the real one, for the tests of the installer.

It has all that the installer handles: text, a binary and byte code with the prefix in them, a
record in `conda-meta`, the manifest of what to relocate, an interpreter (this machine's), and a
script that can be told by `LITTLEST_HUB_TEST` to fail or to wait.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import py_compile
import random
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

from construct.cache import Cache
from construct.installer import Payload
from construct.native import NativeBuilder
from construct.recipe import read_recipe

ROOT = Path(__file__).parents[2]
PLACEHOLDER = "/" + "placeholder_" * 21 + "pl"
RECORD = "conda-meta/demo-1.0-0.json"
BYTE_CODE = f"lib/demo/__pycache__/settings.{sys.implementation.cache_tag}.pyc"
MTIME = 1577836800

POST_INSTALL = """\
#!/bin/sh
set -eu
{
    env
    echo "cwd=$(pwd)"
    echo "umask=$(umask)"
} > post_install.env
if [ "$INSTALLER_UNATTENDED" = 0 ]; then read -r answer && echo "$answer" > answer; fi
echo "post_install of $INSTALLER_NAME" >> .messages.txt
case "${LITTLEST_HUB_TEST-}" in
    fail) echo 'units cannot be written' >&2; exit 3 ;;
    wait:*) mkfifo fifo; : > "${LITTLEST_HUB_TEST#wait:}"; read -r never < fifo ;;
esac
"""


def contents() -> dict[str, tuple[int, bytes]]:
    """Return mode and content of each file of the environment, without `conda-meta`."""
    pseudo_random = random.Random(1)
    source = f'PREFIX = "{PLACEHOLDER}"\n'.encode()
    files = {
        "bin/tool": (0o755, f"#!{PLACEHOLDER}/bin/python3\nprint('works')\n".encode()),
        "lib/libdemo.so": (0o644, f"\0A{PLACEHOLDER}/lib:{PLACEHOLDER}/etc\0Z\0".encode()),
        "lib/demo/settings.py": (0o644, source),
        "etc/plain": (0o644, b"no prefix here\n"),
        "share/large": (0o644, pseudo_random.randbytes(3 << 20)),
    }
    for number in range(200):
        files[f"share/many/{number}"] = (
            0o644,
            pseudo_random.randbytes(pseudo_random.randrange(4096)),
        )
    return files


def environment(byte_code: bytes) -> tuple[list[bytes], int]:
    """Return the tars of the environment, linked at the placeholder, and their unpacked size.

    The second contains only files that nothing needs, in a directory that the first contains too.
    """
    files = contents() | {BYTE_CODE: (0o644, byte_code)}
    record = {
        "name": "demo",
        "version": "1.0",
        "build": "0",
        "build_number": 0,
        "subdir": "linux-64",
        "fn": "demo-1.0-0.conda",
        "url": "https://conda.anaconda.org/conda-forge/linux-64/demo-1.0-0.conda",
        "channel": "https://conda.anaconda.org/conda-forge",
        "depends": [],
        "extracted_package_dir": f"{PLACEHOLDER}/pkgs/demo-1.0-0",
        "files": sorted(files),
        "paths_data": {
            "paths_version": 1,
            "paths": [_record_of(name, *files[name]) for name in sorted(files)],
        },
    }
    relocations = {
        name: {"mode": "binary" if name.endswith(".so") else "text", "record": RECORD}
        for name, (_, content) in files.items()
        if PLACEHOLDER.encode() in content and not name.endswith(".pyc")
    }
    manifest = {"placeholder": PLACEHOLDER, "files": relocations}
    files |= {
        RECORD: (0o644, json.dumps(record).encode()),
        "conda-meta/history": (0o644, f"# cmd: install -p {PLACEHOLDER}\n+demo-1.0-0\n".encode()),
        "conda-meta/relocate.json": (0o644, json.dumps(manifest).encode()),
        ".installer.info": (0o644, b'{"name": "demo"}'),
    }
    second = {name for name in files if name.startswith("share/many/1")}
    archives = [io.BytesIO(), io.BytesIO()]
    for number, archive in enumerate(archives):
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, (mode, content) in sorted(files.items()):
                if (name in second) != bool(number):
                    continue
                member = tarfile.TarInfo(name)
                member.mode, member.size, member.mtime = mode, len(content), MTIME
                # Owned by another user, which must not matter to an installer that is root.
                member.uid = member.gid = 1234
                tar.addfile(member, io.BytesIO(content))
            if number == 0:
                interpreter = tarfile.TarInfo("bin/python3")
                interpreter.type, interpreter.mtime = tarfile.SYMTYPE, MTIME
                interpreter.linkname = str(Path(sys.executable).resolve())
                tar.addfile(interpreter)
    size_bytes = sum(len(content) for _, content in files.values())
    return [archive.getvalue() for archive in archives], size_bytes


def _record_of(name: str, mode: int, content: bytes) -> Mapping[str, object]:
    entry: dict[str, object] = {
        "_path": name,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    if PLACEHOLDER.encode() in content:
        mode_of_file = "binary" if name.endswith((".so", ".pyc")) else "text"
        return entry | {"prefix_placeholder": PLACEHOLDER, "file_mode": mode_of_file}
    return entry | {"sha256_in_prefix": entry["sha256"]}


def decompressor() -> bytes:
    """Return the zstd of real installers (built once, then from the cache)."""
    recipe = read_recipe(ROOT / "recipe" / "zstd")
    tree = NativeBuilder({"zstd": recipe}, Cache(), jobs=2).build_all()["zstd"]
    return (tree / "bin" / "zstd-decompress").read_bytes()


def small(scratch: Path) -> Payload:
    """Return the payload of a small installer for this machine. `scratch` is for byte code."""
    source = scratch / "settings.py"
    source.write_bytes(contents()["lib/demo/settings.py"][1])
    py_compile.compile(
        str(source),
        cfile=str(scratch / "settings.pyc"),
        dfile=f"{PLACEHOLDER}/lib/demo/settings.py",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    (tree, rest), size_bytes = environment((scratch / "settings.pyc").read_bytes())
    # Cut where no file ends, to have frames that only make sense one after the other.
    frames = [zstandard.compress(part, 1) for part in (tree[:100_000], tree[100_000:])]
    return Payload(
        name="demo",
        version="1.0",
        platform="linux-64",
        parts=[frames, [zstandard.compress(rest, 1)]],
        directories=["share", "share/many"],
        zstd=decompressor(),
        size_bytes=size_bytes,
        glibc_floor=(2, 28),
        default_prefix="${LITTLEST_HUB_BASE:-/opt/demo}/releases/1.0",
        post_install=POST_INSTALL,
        script_env_variables={"GREETING": 'it\'s $HOME "here"'},
        python="bin/python3",
    )


def licensed(payload: Payload) -> Payload:
    """Return the same payload with license terms."""
    return dataclasses.replace(payload, license="You may do as you like.\n")
