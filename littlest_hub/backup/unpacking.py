"""Reading a backup that anyone may have made: verify it and unpack it into a scratch directory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from littlest_hub.backup.contents import (
    DAMAGED,
    DATABASE,
    DROP_INS,
    FRAGMENTS,
    MANIFEST,
    PACKAGES,
    RECORD,
    STACKS,
    STATE,
    Manifest,
)
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, PRODUCT, Layout
from littlest_hub.system.files import naming

MAX_MEMBERS = 100_000
# More than the longest extended header, little enough to be kept in memory.
MAX_READ_BYTES = 1 << 20

_PACKAGES = rf"{PACKAGES}/(?:lock\.json|wheels/[^/]+\.whl)"
_NAME = re.compile(
    rf"(?:{FRAGMENTS}|{STATE}|{DROP_INS})/.+|{_PACKAGES}|{STACKS}/{re.escape(RECORD)}"
    rf"|{DATABASE}|{DAMAGED}|{MANIFEST}"
)
# In a backup, units have the names of the default base directory: see `contents.collect`.
_UNITS = "|".join(map(re.escape, Layout(DEFAULT_BASE).all_unit_names))
_DROP_IN = re.compile(rf"{DROP_INS}/(?:{_UNITS}|{PRODUCT}\.[^/]+)\.d/[^/]+\.conf")


_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


class _BoundedReader:
    """Small reads only: tarfile reads an extended header whole, however long it claims to be."""

    def __init__(self, opened: gzip.GzipFile) -> None:
        self._opened = opened
        self.seek = opened.seek
        self.tell = opened.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._opened.read(size)


def unpack(file: Path, into: Path | None) -> Manifest:
    """Verify a backup, unpack it and return its manifest.

    Args:
        file: the backup.
        into: an empty directory that only we may enter; None: verify only.

    Raises:
        LittlestHubError: it is damaged, incomplete, hostile, or not of this product.
    """
    try:
        with file.open("rb") as raw, gzip.open(raw) as opened:
            bounded: Any = _BoundedReader(opened)
            with tarfile.open(fileobj=bounded, mode="r:") as tar:
                manifest = _read(tar, into)
            # To its end, for gzip's own checksum.
            if opened.read(MAX_READ_BYTES).strip(b"\0"):
                raise LittlestHubError("data follows its end")
            return manifest
    # ValueError and RecursionError: tarfile's own, at headers that no program writes.
    except (*_DAMAGE, ValueError, RecursionError) as error:
        raise LittlestHubError(
            f"{file} is not a backup, or was cut off or damaged: {error}",
            "Nothing was changed. Take another backup.",
        ) from error
    except LittlestHubError as error:
        hint = " ".join(filter(None, ("Nothing was changed.", error.hint)))
        raise LittlestHubError(f"{file}: {error.message}", hint) from error


def _read(tar: tarfile.TarFile, into: Path | None) -> Manifest:
    found: dict[str, tuple[str, int]] = {}
    free_bytes = shutil.disk_usage(into).free if into else None
    place = into.parent if into else Path()
    manifest: Manifest | None = None
    for info in tar:
        if manifest is not None:
            raise LittlestHubError(f"{info.name!r} follows the manifest, which is the last")
        _refuse_hostile(info, found)
        if free_bytes is not None:
            # Twice: here, and beside the file that it replaces.
            free_bytes -= 2 * info.size
            if free_bytes < 0:
                raise LittlestHubError(
                    f"{info.name}: {info.size} bytes do not fit on the disk of {place}",
                    f"Make room: df -h {place}",
                )
        content = tar.extractfile(info)
        assert content is not None
        if info.name == MANIFEST:
            manifest = _parse(info, content)
            continue
        digest = hashlib.sha256()
        file = into / info.name if into else Path(os.devnull)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with naming(file, file), file.open("wb") as out:
            while chunk := content.read(1 << 16):
                digest.update(chunk)
                out.write(chunk)
        found[info.name] = (digest.hexdigest(), info.size)
    if manifest is None:
        raise LittlestHubError("it is incomplete: there is no manifest at its end")
    listed = {name: (each.sha256, each.size) for name, each in manifest.members.items()}
    differing = sorted(name for name in {*listed, *found} if listed.get(name) != found.get(name))
    if differing:
        raise LittlestHubError(f"not as in the manifest: {', '.join(differing[:5])}")
    return manifest


def _refuse_hostile(info: tarfile.TarInfo, found: dict[str, tuple[str, int]]) -> None:
    parts = info.name.split("/")
    is_regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    is_plain = is_regular and info.size >= 0
    if not is_plain:
        why = "is not an ordinary file"
    elif info.name in found:
        why = "is in it twice"
    elif len(found) >= MAX_MEMBERS:
        why = f"is one more than {MAX_MEMBERS} files"
    elif (
        not _NAME.fullmatch(info.name)
        or any(part.startswith(".") or not part for part in parts)
        or not info.name.isprintable()
        or (parts[0] == DROP_INS and not _DROP_IN.fullmatch(info.name))
        or any(len(part.encode()) > 200 for part in parts)
    ):
        why = "is no name that a backup has"
    elif any(str(parent) in found for parent in PurePosixPath(info.name).parents):
        why = "is below a file"
    else:
        return
    raise LittlestHubError(f"{info.name!r} {why}")


def _parse(info: tarfile.TarInfo, content: IO[bytes]) -> Manifest:
    if info.size > 64 * MAX_READ_BYTES:
        raise LittlestHubError(f"a manifest of {info.size} bytes")
    try:
        found = json.loads(b"".join(iter(lambda: content.read(1 << 16), b"")))
    except (ValueError, RecursionError) as error:
        raise LittlestHubError(f"its manifest cannot be read: {error!r}") from error
    return Manifest.from_json(found)
