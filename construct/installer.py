"""The self-extracting installer: one file with a header, support files and the environment.

The header is `header.sh`, a POSIX shell script. It keeps the contract of the installers that
conda's `constructor` writes (options, messages, exit codes, `INSTALLER_*` variables). The
header is followed, at a multiple of 512 bytes, by an uncompressed tar of the support files, which
the installation needs before the environment exists. Then come the zstd frames of the environment,
in parts that are unpacked in parallel.

The header contains three sha256 sums, which detect every damaged byte: the sum of all that follows
the header, the sum of the support files, which run before the first one has been computed, and the
sum of the header itself.

The same payload gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from littlest_hub.errors import LittlestHubError

HEADER = Path(__file__).with_name("header.sh")
RELOCATE = Path(__file__).with_name("relocate.py")

BLOCK_BYTES = 512  # of tar, and of every offset in the header
SHEBANG_LIMIT_BYTES = 127  # Linux before 5.1, execve(2)
SUPPORT_MTIME = 1577836800  # 2020-01-01: GNU tar warns about times before 1970 and in the future
ARCHITECTURES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}

NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = r"[A-Za-z0-9/._+@,=:-]|\$[A-Za-z_]\w*"
DEFAULT_PREFIX = re.compile(rf"({_PLAIN}|\$\{{[A-Za-z_]\w*(:-({_PLAIN})*)?\}})+", re.ASCII)
_BASED_PREFIX = re.compile(
    r"\$\{(?P<variable>[A-Za-z_][A-Za-z0-9_]*):-[^${}]+\}/+(?P<rest>[^${}]*[^${}/])/*"
)
_TOKEN = re.compile(r"@[A-Z_0-9]+@")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Payload:
    """The contents of an installer.

    Each of the `parts` consists of zstd frames, which decompress to one complete tar. Together they
    are the environment, with paths relative to the prefix and a `conda-meta/relocate.json` (see
    `relocate.py`). `directories` are those with files from several parts. They are created first,
    because tar fails if one appears while it runs. `zstd` is an executable, called as
    `zstd -d -c`; `python` is the interpreter's path in the environment. `size_bytes` is the size of
    the unpacked environment on disk. `default_prefix` may contain parameter expansions. If it has
    the form `${VARIABLE:-DIRECTORY}/REST`, such as
    `${LITTLEST_HUB_BASE:-/opt/littlest-hub}/releases/1.0`, `post_install` runs only in a prefix
    that ends in `/REST`. `variables` are listed in the help,
    with one line each.
    """

    name: str
    version: str
    platform: str
    parts: Sequence[Sequence[Path | bytes]]
    zstd: bytes
    size_bytes: int
    glibc_floor: tuple[int, int]
    default_prefix: str
    post_install: str | None = None
    license: str | None = None
    script_env_variables: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    conclusion: str = "installation finished."
    python: str = "bin/python3.13"
    directories: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise `LittlestHubError` for values that the header cannot contain."""
        for what, value in (("name", self.name), ("version", self.version)):
            if not NAME.fullmatch(value):
                raise LittlestHubError(
                    f"the installer's {what} is {value!r}",
                    "Use letters, digits, '_', '.' and '-', with none of the last two at an end.",
                )
        if self.platform not in ARCHITECTURES:
            raise LittlestHubError(
                f"there is no installer for platform {self.platform!r}",
                f"Use one of: {', '.join(ARCHITECTURES)}.",
            )
        if not DEFAULT_PREFIX.fullmatch(self.default_prefix):
            raise LittlestHubError(f"the default prefix is {self.default_prefix!r}")
        for variable in (*self.script_env_variables, *self.variables):
            if not VARIABLE.fullmatch(variable):
                raise LittlestHubError(f"{variable!r} is not the name of a variable")


def write(payload: Payload, script: Path) -> Path:
    """Write the installer to `script`, executable, and return that path.

    Replace an older file when the new one is complete.

    Raises:
        LittlestHubError: the name does not end in `.sh`, with which the header refuses to run.
    """
    if script.suffix != ".sh":
        raise LittlestHubError(
            f"the installer cannot be named {script.name}", "Its name has to end in .sh."
        )
    support = support_archive(payload)
    partial = script.with_name(f".{script.name}.partial")
    digest = hashlib.sha256()
    sizes_bytes: list[int] = []
    unknown = [10**12] * len(payload.parts)
    start = len(render_header(payload, support, parts_size_bytes=unknown))
    try:
        with partial.open("wb") as stream:
            stream.seek(start)
            digest.update(support)
            stream.write(support)
            for part in payload.parts:
                begin = stream.tell()
                for chunk in _chunks(part):
                    digest.update(chunk)
                    stream.write(chunk)
                padding = skippable_frame(stream.tell() - begin)
                digest.update(padding)
                stream.write(padding)
                sizes_bytes.append(stream.tell() - begin)
            header = render_header(
                payload,
                support,
                parts_size_bytes=sizes_bytes,
                payload_sha256=digest.hexdigest(),
                header_size_bytes=start,
            )
            stream.seek(0)
            stream.write(header)
        partial.chmod(0o755)
        return partial.replace(script)
    finally:
        partial.unlink(missing_ok=True)


def skippable_frame(size_bytes: int) -> bytes:
    """Return a frame without content that pads a part of that size to whole blocks (RFC 8878)."""
    zeros = -(size_bytes + 8) % BLOCK_BYTES
    return b"\x50\x2a\x4d\x18" + zeros.to_bytes(4, "little") + bytes(zeros)


def support_archive(payload: Payload) -> bytes:
    """Return the tar of the support files, which the header unpacks first."""
    members: dict[str, tuple[int, bytes]] = {
        "relocate.py": (0o644, RELOCATE.read_bytes()),
        "zstd": (0o755, payload.zstd),
    }
    if payload.license is not None:
        members["LICENSE.txt"] = (0o644, payload.license.encode())
    if payload.post_install is not None:
        script = payload.post_install
        if not script.startswith("#!"):
            script = f"#!/bin/sh\n{script}"
        members["post_install.sh"] = (0o755, script.encode())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (mode, content) in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.mtime = mode, len(content), SUPPORT_MTIME
            tar.addfile(member, io.BytesIO(content))
        for name in sorted({"prefix", *(f"prefix/{path}" for path in payload.directories)}):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, SUPPORT_MTIME
            tar.addfile(member)
    return archive.getvalue()


def render_header(
    payload: Payload,
    support: bytes,
    *,
    parts_size_bytes: Sequence[int],
    payload_sha256: str = "",
    header_size_bytes: int = 0,
) -> bytes:
    """Return the header, padded with empty lines to whole blocks, or to `header_size_bytes`.

    `payload_sha256` covers everything that follows the header: the `support` archive and the parts.
    """
    size_bytes = header_size_bytes or 10**6 * BLOCK_BYTES
    text = _rendered(payload, support, parts_size_bytes, payload_sha256, size_bytes)
    padding = (header_size_bytes - len(text)) if header_size_bytes else -len(text) % BLOCK_BYTES
    header = text + b"\n" * padding
    # The sum covers every line except its own.
    first, second, rest = header.split(b"\n", 2)
    digest = hashlib.sha256(first + b"\n" + rest).hexdigest()
    return b"\n".join((first, second.replace(b"0" * 64, digest.encode()), rest))


def _rendered(
    payload: Payload,
    support: bytes,
    parts_size_bytes: Sequence[int],
    payload_sha256: str,
    header_size_bytes: int,
) -> bytes:
    *begins, _ = accumulate(parts_size_bytes, initial=header_size_bytes + len(support))
    sizes = zip(begins, parts_size_bytes, strict=True)
    parts = [f"{begin // BLOCK_BYTES}:{size_bytes}" for begin, size_bytes in sizes]
    exports = [f"export {k}={shlex.quote(v)}" for k, v in payload.script_env_variables.items()]
    width = max(map(len, payload.variables), default=0) + 2
    variables = [f"{name:<{width}}{text}" for name, text in payload.variables.items()]
    base_form = _BASED_PREFIX.fullmatch(payload.default_prefix)
    values = {
        "NAME": shlex.quote(payload.name),
        "VERSION": shlex.quote(payload.version),
        "PLATFORM": payload.platform,
        "ARCHITECTURE": ARCHITECTURES[payload.platform],
        "GLIBC": "{}.{}".format(*payload.glibc_floor),
        "PYTHON": shlex.quote(payload.python),
        "HAS_LICENSE": str(int(payload.license is not None)),
        "HAS_POST_INSTALL": str(int(payload.post_install is not None)),
        "CONCLUSION": shlex.quote(payload.conclusion),
        "HEADER_SHA256": "0" * 64,
        "HEADER_BLOCKS": str(header_size_bytes // BLOCK_BYTES),
        "SUPPORT_BLOCKS": str(len(support) // BLOCK_BYTES),
        "SUPPORT_SHA256": hashlib.sha256(support).hexdigest(),
        "PARTS": shlex.quote(" ".join(parts)),
        "PAYLOAD_SIZE": str(len(support) + sum(parts_size_bytes)),
        "PAYLOAD_SHA256": payload_sha256 or "0" * 64,
        "UNPACKED_SIZE": str(payload.size_bytes),
        "PREFIX_LIMIT": str(SHEBANG_LIMIT_BYTES - len(f"#!/{payload.python}")),
        "BASE_VARIABLE": base_form["variable"] if base_form else "",
        "REST": shlex.quote(base_form["rest"]) if base_form else "",
        "VARIABLES": shlex.quote("\n".join(variables)),
        "DEFAULT_PREFIX": payload.default_prefix,
        "SCRIPT_ENV_VARIABLES": "\n".join(exports) or ":",
    }
    return _TOKEN.sub(lambda token: values[token.group().strip("@")], HEADER.read_text()).encode()


def _chunks(parts: Sequence[Path | bytes]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
