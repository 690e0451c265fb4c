"""conda packages: ``.conda`` files whose bytes depend only on the tree of files in them.

The inner ``pkg-*.tar.zst`` is one zstd frame without tar's end-of-archive blocks. The frames of
several packages, concatenated, are therefore one tar file: the installer's payload.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from construct.elf import MAGIC, X86_64, Elf, glibc
from littlest_hub.errors import LittlestHubError

SUBDIR = "linux-64"
EPOCH_S = 1_793_491_200
"""Modification time of every file in every package: 2026-11-01, the month of the version."""
GLIBC_FLOOR = (2, 28)
"""The oldest glibc that the environment runs with. No file may need a newer one."""
PLACEHOLDER = ("/opt/littlest-hub/releases/" + "placehold_" * 23)[:255]
"""The prefix in packages, replaced at installation. 255 characters, as in conda-build."""
SITE_PACKAGES = "lib/python3.13/site-packages"
PYTHON_VERSION = "3.13"
BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)

COMPILE = """
import json, py_compile, sys
for source, compiled, name in json.load(sys.stdin):
    try:
        py_compile.compile(
            source, compiled, name, doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except (py_compile.PyCompileError, SyntaxError):
        pass  # a template, or a test of the parser: python cannot compile it either
"""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a package."""

    name: str
    version: str
    license: str
    summary: str
    homepage: str = ""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    build_number: int = 0
    build_string: str = "h${{ hash }}_${{ build_number }}"
    """The build string, as in a recipe. The hash covers the content."""
    licenses: tuple[str, ...] = ()
    """License files in the tree."""
    index: dict[str, Any] = field(default_factory=dict)
    """More entries of ``info/index.json``."""


@dataclass(frozen=True)
class Package:
    """A finished package in the cache: a folder with the file and its metadata."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """Its entry in repodata.json, with ``fn``."""
        result: dict[str, Any] = json.loads((self.folder / "record.json").read_text())
        return result

    @property
    def paths(self) -> list[dict[str, Any]]:
        """The entries of its ``info/paths.json``."""
        result: list[dict[str, Any]] = json.loads((self.folder / "paths.json").read_text())
        return result

    @property
    def about(self) -> dict[str, Any]:
        """License, license files with their text, summary and homepage."""
        result: dict[str, Any] = json.loads((self.folder / "about.json").read_text())
        return result

    @property
    def file(self) -> Path:
        """The ``.conda`` file."""
        return next(self.folder.glob("*.conda"))

    def frame(self) -> bytes:
        """Return the zstd frame of its files, or nothing for a package without files."""
        if not self.paths:
            return b""
        with zipfile.ZipFile(self.file) as archive:
            return archive.read(f"pkg-{self.file.stem}.tar.zst")


def compile_python(tree: Path, interpreter: Path) -> None:
    """Add ``__pycache__`` for each module below ``lib/`` of a tree.

    Skip modules that contain the placeholder: a compiled file cannot be relocated.
    """
    work = []
    for source in sorted(tree.glob("lib/python*/**/*.py")):
        if PLACEHOLDER.encode() in source.read_bytes():
            continue
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        compiled.parent.mkdir(exist_ok=True)
        work.append([str(source), str(compiled), str(source.relative_to(tree))])
    # The order of a set, and so of its constant in the compiled file, depends on the hash seed.
    subprocess.run(
        [interpreter, "-S", "-s", "-B", "-X", "utf8", "-c", COMPILE],
        input=json.dumps(work),
        env={"PYTHONHASHSEED": "0"},
        text=True,
        check=True,
    )
    for folder in tree.glob("lib/python*/**/__pycache__"):
        if not any(folder.iterdir()):
            folder.rmdir()


def check_compiled(data: bytes, name: str, floor: tuple[int, int] = GLIBC_FLOOR) -> None:
    """Raise LittlestHubError if an ELF file cannot run on the oldest supported machine."""
    try:
        elf = Elf(data)
    except ValueError as error:
        raise LittlestHubError(f"{name}: {error}") from error
    if elf.machine != X86_64:
        raise LittlestHubError(f"{name} is compiled for machine {elf.machine}, expected {X86_64}")
    for requirement in elf.requirements:
        version = glibc(requirement)
        if version is not None and version > floor:
            symbols = ", ".join(elf.symbols(requirement)) or "a symbol"
            raise LittlestHubError(
                f"{name} needs {symbols} of {requirement.version}; "
                f"the declared floor is {floor[0]}.{floor[1]}",
                "build it against the older glibc, or raise GLIBC_FLOOR in construct/condapkg.py",
            )


def write(tree: Path, metadata: Metadata, folder: Path, level: int) -> Package:
    """Write the package of a tree to ``folder``. ``level`` is zstd's, 1 to 19.

    Raise LittlestHubError if a compiled file needs a newer glibc than the floor.
    """
    folder.mkdir(parents=True)
    files = sorted(path for path in tree.rglob("*") if path.is_symlink() or path.is_file())
    paths = [_path_entry(path, tree) for path in files]
    digest = hashlib.sha256(json.dumps(paths, sort_keys=True).encode()).hexdigest()[:7]
    build = metadata.build_string.replace("${{ hash }}", digest)
    build = build.replace("${{ build_number }}", str(metadata.build_number))
    stem = f"{metadata.name}-{metadata.version}-{build}"
    index = {
        "arch": "x86_64",
        "build": build,
        "build_number": metadata.build_number,
        "constrains": list(metadata.constrains),
        "depends": list(metadata.depends),
        "license": metadata.license,
        "name": metadata.name,
        "platform": "linux",
        "subdir": SUBDIR,
        "timestamp": EPOCH_S * 1000,
        "version": metadata.version,
        **metadata.index,
    }
    about = {
        "license": metadata.license,
        "summary": metadata.summary,
        "home": metadata.homepage,
    }
    licenses = {name: (tree / name).read_bytes() for name in metadata.licenses}
    info = {
        "info/about.json": _json(about),
        "info/index.json": _json(index),
        "info/paths.json": _json({"paths": paths, "paths_version": 1}),
        **{f"info/licenses/{Path(name).name}": text for name, text in licenses.items()},
    }
    members = [(path, str(path.relative_to(tree))) for path in files]
    target = folder / f"{stem}.conda"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(_zip_entry("metadata.json"), "w") as stream:
            stream.write(_json({"conda_pkg_format_version": 2}))
        with archive.open(_zip_entry(f"pkg-{stem}.tar.zst"), "w", force_zip64=True) as stream:
            write_frame(stream, members, level)
        with archive.open(_zip_entry(f"info-{stem}.tar.zst"), "w") as stream:
            stream.write(text_frame(info, level, end=True))
    record = {
        **index,
        "fn": target.name,
        "size": target.stat().st_size,
        "sha256": hashlib.sha256(data := target.read_bytes()).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
    }
    texts = {Path(name).name: text.decode(errors="replace") for name, text in licenses.items()}
    (folder / "record.json").write_bytes(_json(record))
    (folder / "paths.json").write_bytes(_json(paths))
    (folder / "about.json").write_bytes(_json({**about, "licenses": texts}))
    return Package(folder)


def _path_entry(path: Path, tree: Path) -> dict[str, Any]:
    name = str(path.relative_to(tree))
    data = path.read_bytes() if path.is_file() else b""
    entry: dict[str, Any] = {
        "_path": name,
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if path.is_symlink():
        return entry
    if data[:4] == MAGIC:
        check_compiled(data, name)
    if PLACEHOLDER.encode() in data:
        entry["prefix_placeholder"] = PLACEHOLDER
        entry["file_mode"] = "binary" if b"\0" in data else "text"
    return entry


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry


def _member(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mtime = EPOCH_S
    member.mode = 0o644
    return member


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT)


def write_frame(output: IO[bytes], files: Sequence[tuple[Path, str]], level: int) -> None:
    """Write files and symbolic links, under the given names, as one frame without end blocks.

    Without any files the frame consists of end blocks, as conda's tools reject an empty tar file.
    """
    compressor = zstandard.ZstdCompressor(level=level)
    with compressor.stream_writer(output, closefd=False) as stream:
        for path, name in files:
            member = _member(name)
            if path.is_symlink():
                member.type = tarfile.SYMTYPE
                member.linkname = str(path.readlink())
                member.mode = 0o777
                stream.write(_header(member))
                continue
            status = path.stat()
            member.size = status.st_size
            member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            stream.write(_header(member))
            stream.write(path.read_bytes())
            stream.write(bytes(-member.size % BLOCK_BYTES))
        if not files:
            stream.write(END)


def text_frame(files: dict[str, bytes], level: int, *, end: bool) -> bytes:
    """Return a frame of files given by content. With ``end`` it closes the tar file."""
    buffer = io.BytesIO()
    for name, data in sorted(files.items()):
        member = _member(name)
        member.size = len(data)
        buffer.write(_header(member) + data + bytes(-len(data) % BLOCK_BYTES))
    if end:
        buffer.write(END)
    return zstandard.ZstdCompressor(level=level).compress(buffer.getvalue())
