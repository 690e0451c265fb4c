"""The changes of `construct/relocate.py` to an unpacked environment."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import py_compile
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from construct import relocate
from construct.relocate import RelocationError

PLACEHOLDER = "/" + "p" * 254
RECORD = "conda-meta/demo-1.0-0.json"
TAG = sys.implementation.cache_tag


class Tree:
    """An environment on disk with one package, which has the files that were added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.record: dict[str, Any] = {"name": "demo", "paths_data": {"paths": []}}
        self.relocations: dict[str, dict[str, str]] = {}
        (root / "conda-meta").mkdir(parents=True)

    def add(self, path: str, content: bytes, mode: str | None = None) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        entry: dict[str, object] = {
            "_path": path,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        if mode:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": mode}
            self.relocations[path] = {"mode": mode, "record": RECORD}
        self.record["paths_data"]["paths"].append(entry)
        return file

    def close(self) -> Path:
        (self.root / RECORD).write_text(json.dumps(self.record))
        manifest = {"placeholder": PLACEHOLDER, "files": self.relocations}
        (self.root / relocate.MANIFEST).write_text(json.dumps(manifest))
        return self.root

    def entry(self, path: str) -> dict[str, Any]:
        record = json.loads((self.root / RECORD).read_text())
        return next(entry for entry in record["paths_data"]["paths"] if entry["_path"] == path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The file itself, as the installer runs it."""
    command = [sys.executable, "-I", "-S", "-B", relocate.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_placeholder_in_a_text_becomes_the_prefix() -> None:
    text = f"#!{PLACEHOLDER}/bin/python\nA = '{PLACEHOLDER}:{PLACEHOLDER}/x'\n".encode()
    moved = relocate.in_text(text, PLACEHOLDER.encode(), b"/opt/hub")
    assert moved == b"#!/opt/hub/bin/python\nA = '/opt/hub:/opt/hub/x'\n"


def test_strings_in_binaries_keep_their_length() -> None:
    data = f"\x7fELF\0{PLACEHOLDER}/lib:{PLACEHOLDER}/etc\0next\0".encode()
    moved = relocate.in_binary(data, PLACEHOLDER.encode(), b"/opt/hub")
    assert len(moved) == len(data)
    assert moved.startswith(b"\x7fELF\0/opt/hub/lib:/opt/hub/etc\0\0")
    assert moved.endswith(b"\0\0next\0")
    assert moved.index(b"next") == data.index(b"next")


def test_a_prefix_as_long_as_the_placeholder_fits_a_binary_and_a_longer_one_does_not() -> None:
    data = f"{PLACEHOLDER}\0".encode()
    as_long = "/" + "q" * 254
    assert (
        relocate.in_binary(data, PLACEHOLDER.encode(), as_long.encode()) == as_long.encode() + b"\0"
    )
    with pytest.raises(RelocationError, match="256 bytes, and binaries have room for 255"):
        relocate.in_binary(data, PLACEHOLDER.encode(), as_long.encode() + b"q")


def test_a_string_without_an_end_in_a_binary_is_an_error() -> None:
    with pytest.raises(RelocationError, match="NUL"):
        relocate.in_binary(f"\0{PLACEHOLDER}/lib".encode(), PLACEHOLDER.encode(), b"/opt")


def test_files_are_rewritten_with_their_mode_and_their_digest_recorded(tree: Tree) -> None:
    script = tree.add("bin/tool", f"#!{PLACEHOLDER}/bin/python\n".encode(), "text")
    script.chmod(0o755)
    library = tree.add("lib/libdemo.so", f"\0{PLACEHOLDER}/lib\0".encode(), "binary")
    untouched = tree.add("etc/plain", b"nothing")
    before = untouched.stat()

    assert relocate.relocate(tree.close(), "/opt/hub") == 2

    assert script.read_bytes() == b"#!/opt/hub/bin/python\n"
    assert script.stat().st_mode & 0o7777 == 0o755
    for path, file in (("bin/tool", script), ("lib/libdemo.so", library)):
        entry = tree.entry(path)
        assert entry["sha256_in_prefix"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry["sha256"] != entry["sha256_in_prefix"]
        assert entry["prefix_placeholder"] == PLACEHOLDER
    assert tree.entry("bin/tool")["size_in_bytes"] == len(f"#!{PLACEHOLDER}/bin/python\n")
    assert "sha256_in_prefix" not in tree.entry("etc/plain")
    assert untouched.stat() == before


def test_records_and_the_history_name_the_prefix(tree: Tree) -> None:
    tree.add("bin/tool", PLACEHOLDER.encode(), "text")
    tree.record["extracted_package_dir"] = f"{PLACEHOLDER}/pkgs/demo"
    tree.record["link"] = {"source": [f"{PLACEHOLDER}/pkgs"], "type": 1}
    root = tree.close()
    (root / "conda-meta/history").write_text(f"# cmd: install -p {PLACEHOLDER}\n")
    other = root / "conda-meta/other-1.0-0.json"
    other.write_text('{"name": "other", "paths_data": {"paths": []}, "depends": []}')
    before = other.read_text()

    relocate.relocate(root, "/opt/hub")

    record = json.loads((root / RECORD).read_text())
    assert record["extracted_package_dir"] == "/opt/hub/pkgs/demo"
    assert record["link"] == {"source": ["/opt/hub/pkgs"], "type": 1}
    assert (root / "conda-meta/history").read_text() == "# cmd: install -p /opt/hub\n"
    assert other.read_text() == before


def test_byte_code_is_compiled_again_from_the_relocated_source(tree: Tree) -> None:
    source = tree.add("lib/settings.py", f"PREFIX = {PLACEHOLDER!r}\n".encode(), "text")
    path = f"lib/__pycache__/settings.{TAG}.pyc"
    byte_code = tree.add(path, b"")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), cfile=str(byte_code), invalidation_mode=unchecked)

    assert relocate.relocate(tree.close(), "/opt/hub") == 2

    data = byte_code.read_bytes()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == 0b01  # PEP 552: by hash, not checked
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    assert "/opt/hub" in code.co_consts
    assert code.co_filename == "/opt/hub/lib/settings.py"
    assert tree.entry(path)["sha256_in_prefix"] == hashlib.sha256(data).hexdigest()


def test_a_second_run_changes_nothing(tree: Tree) -> None:
    tree.add("bin/tool", PLACEHOLDER.encode(), "text")
    root = tree.close()
    relocate.relocate(root, "/opt/hub")
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert relocate.relocate(root, "/opt/hub") == 0
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
    assert root / relocate.MANIFEST not in before


def test_a_run_after_an_interrupted_one_completes_it(tree: Tree) -> None:
    tool = tree.add("bin/tool", PLACEHOLDER.encode(), "text")
    library = tree.add("lib/libdemo.so", f"{PLACEHOLDER}\0".encode(), "binary")
    root = tree.close()
    tool.write_bytes(b"/opt/hub")
    relocate.relocate(root, "/opt/hub")
    for path, file in (("bin/tool", tool), ("lib/libdemo.so", library)):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert tree.entry(path)["sha256_in_prefix"] == digest


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda tree: (tree.root / "bin/tool").unlink(), "bin/tool: listed in"),
        (lambda tree: (tree.root / RECORD).unlink(), f"{RECORD}: named in"),
        (lambda tree: (tree.root / RECORD).write_text("{}"), f"{RECORD}: not a record"),
        (
            lambda tree: (tree.root / RECORD).write_text('{"paths_data": {"paths": []}}'),
            f"{RECORD}: does not list bin/tool",
        ),
        (lambda tree: (tree.root / relocate.MANIFEST).write_text("[]"), "cannot be used"),
        (
            lambda tree: (tree.root / relocate.MANIFEST).write_text(
                '{"placeholder": "/p", "files": {"../x": {"mode": "text", "record": "r"}}}'
            ),
            "../x: not a path inside",
        ),
        (
            lambda tree: (tree.root / relocate.MANIFEST).write_text(
                '{"placeholder": "/p", "files": {"x": {"mode": "magic", "record": "r"}}}'
            ),
            "x: unknown mode 'magic'",
        ),
    ],
)
def test_a_mismatch_with_the_manifest_is_an_error_in_one_line(
    tree: Tree, break_it: Any, message: str
) -> None:
    tree.add("bin/tool", PLACEHOLDER.encode(), "text")
    root = tree.close()
    break_it(tree)
    done = run(root, "/opt/hub")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert (root / relocate.MANIFEST).exists()


def test_it_runs_without_site_packages_and_returns_2_for_wrong_usage(tree: Tree) -> None:
    tool = tree.add("bin/tool", PLACEHOLDER.encode(), "text")
    root = tree.close()
    assert run(root).returncode == 2
    assert run(root, "relative").returncode == 2
    assert run(root, "/opt/hub").returncode == 0
    assert tool.read_bytes() == b"/opt/hub"
