"""The header that `construct/installer.py` writes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from construct import installer
from construct.installer import Payload
from littlest_hub.errors import LittlestHubError


@pytest.fixture
def payload() -> Payload:
    return Payload(
        name="demo",
        version="1.0",
        platform="linux-64",
        parts=[[b"first frame", b"second frame"]],
        zstd=b"an executable",
        size_bytes=123_456_789,
        glibc_floor=(2, 28),
        default_prefix="${LITTLEST_HUB_BASE:-/opt/demo}/releases/1.0",
    )


def variables(script: Path) -> dict[str, str]:
    """Return the assignments at the start of the header, unquoted."""
    lines = script.read_bytes().split(b"\nBATCH=0\n")[0].decode().splitlines()
    pairs = (line.partition("=") for line in lines if line[:1].isupper())
    return {name: value.strip("'") for name, _, value in pairs}


def test_header_support_files_and_parts_follow_each_other_at_the_offsets_the_header_names(
    payload: Payload, tmp_path: Path
) -> None:
    frame = tmp_path / "frame"
    frame.write_bytes(b"frame in a file")
    payload = dataclasses.replace(
        payload, parts=[*payload.parts, [frame]], license="Terms.\n", directories=["lib", "lib/x"]
    )
    script = installer.write(payload, tmp_path / "demo.sh")
    data, header = script.read_bytes(), variables(script)
    start = int(header["HEADER_BLOCKS"]) * 512
    support = data[start : start + int(header["SUPPORT_BLOCKS"]) * 512]
    assert hashlib.sha256(support).hexdigest() == header["SUPPORT_SHA256"]
    parts = [tuple(map(int, part.split(":"))) for part in header["PARTS"].split()]
    found = [data[block * 512 :][:size_bytes] for block, size_bytes in parts]
    assert [part[:15] for part in found] == [b"first framesecond frame"[:15], b"frame in a file"]
    assert found[0].startswith(b"first framesecond frame\x50\x2a\x4d\x18")
    assert data[start:] == support + b"".join(found)
    assert len(data) - start == int(header["PAYLOAD_SIZE"])
    assert hashlib.sha256(data[start:]).hexdigest() == header["PAYLOAD_SHA256"]
    with tarfile.open(fileobj=io.BytesIO(support)) as archive:
        files = ["LICENSE.txt", "relocate.py", "zstd"]
        assert archive.getnames() == [*files, "prefix", "prefix/lib", "prefix/lib/x"]
        assert archive.getmember("zstd").mode == 0o755


@pytest.mark.parametrize("size_bytes", [0, 1, 503, 504, 505, 511, 512, 100_000])
def test_padding_fills_whole_blocks_and_decompresses_to_nothing(size_bytes: int) -> None:
    padding = installer.skippable_frame(size_bytes)
    assert (size_bytes + len(padding)) % 512 == 0
    data = zstandard.compress(b"content") + padding
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
        assert stream.read() == b"content"


def test_the_sum_of_the_header_covers_every_line_but_its_own(
    payload: Payload, tmp_path: Path
) -> None:
    script = installer.write(payload, tmp_path / "demo.sh")
    start = int(variables(script)["HEADER_BLOCKS"]) * 512
    lines = script.read_bytes()[:start].split(b"\n")
    own = lines.pop(1)
    digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
    assert own == f"HEADER_SHA256='{digest}'".encode()


def test_the_same_payload_gives_the_same_bytes(payload: Payload, tmp_path: Path) -> None:
    first = installer.write(payload, tmp_path / "first.sh")
    second = installer.write(payload, tmp_path / "second.sh")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o755


def test_a_failing_write_keeps_only_the_older_file(payload: Payload, tmp_path: Path) -> None:
    script = installer.write(payload, tmp_path / "demo.sh")
    before = script.read_bytes()
    broken = dataclasses.replace(payload, parts=[[b"frame", tmp_path / "missing"]])
    with pytest.raises(FileNotFoundError):
        installer.write(broken, script)
    assert script.read_bytes() == before
    assert list(tmp_path.iterdir()) == [script]


def test_values_reach_the_shell_unchanged(payload: Payload, tmp_path: Path) -> None:
    text = 'it\'s "$HOME" `date`\nand a second line @NAME@'
    payload = dataclasses.replace(
        payload, conclusion=text, post_install="exit 0\n", script_env_variables={"TEXT": text}
    )
    header = installer.render_header(payload, bytes(512), parts_size_bytes=[512]).decode()
    conclusion = header[header.index("CONCLUSION=") : header.index("HEADER_BLOCKS=")]
    exports = header[header.index("export TEXT=") : header.index('exec "$STAGING/post_install.sh"')]
    for code, name in ((conclusion, "CONCLUSION"), (exports, "TEXT")):
        done = subprocess.run(
            ["sh", "-c", f'{code}\nprintf %s "${name}"'], capture_output=True, text=True, check=True
        )
        assert done.stdout == text


def test_the_longest_prefix_leaves_room_for_the_interpreter_in_a_shebang_line(
    payload: Payload, tmp_path: Path
) -> None:
    script = installer.write(payload, tmp_path / "demo.sh")
    limit = int(variables(script)["PREFIX_LIMIT"])
    assert len("#!" + "/" * limit + "/bin/python3.13") == 127


def test_scripts_without_an_interpreter_get_the_shell(payload: Payload) -> None:
    for given, first in (("exit 0\n", b"#!/bin/sh\n"), ("#!/bin/bash\n", b"#!/bin/bash\n")):
        archive = installer.support_archive(dataclasses.replace(payload, post_install=given))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = tar.extractfile("post_install.sh")
            assert member is not None
            assert member.readline() == first


@pytest.mark.parametrize(
    ("default_prefix", "variable", "rest"),
    [
        ("${LITTLEST_HUB_BASE:-/opt/hub}/releases/1.0", "LITTLEST_HUB_BASE", "releases/1.0"),
        ("${BASE:-/opt}//hub/", "BASE", "hub"),
        ("/opt/hub", "", ""),
        ("$HOME/hub", "", ""),
        ("${BASE:-/opt/hub}", "", ""),
        ("${BASE:-/opt/hub}/", "", ""),
        ("${BASE:-/opt/hub}-1.0", "", ""),
        ("${BASE:-$HOME}/hub", "", ""),
        ("${BASE:-/opt}/${NAME:-hub}", "", ""),
    ],
)
def test_the_required_end_of_a_prefix_comes_from_the_default_prefix(
    payload: Payload, tmp_path: Path, default_prefix: str, variable: str, rest: str
) -> None:
    payload = dataclasses.replace(payload, default_prefix=default_prefix)
    header = variables(installer.write(payload, tmp_path / "demo.sh"))
    assert (header["BASE_VARIABLE"], header["REST"]) == (variable, rest)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "two words"},
        {"version": "1.0+local"},
        {"platform": "win-64"},
        {"default_prefix": "/opt/$(reboot)"},
        {"default_prefix": "/opt/two words"},
        {"script_env_variables": {"not a name": "x"}},
        {"variables": {"not a name": "x"}},
    ],
)
def test_values_that_the_header_cannot_contain_are_refused(payload: Payload, values: Any) -> None:
    with pytest.raises(LittlestHubError):
        dataclasses.replace(payload, **values)


def test_a_name_that_the_header_refuses_is_refused(payload: Payload, tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"demo\.run"):
        installer.write(payload, tmp_path / "demo.run")


@pytest.mark.needs("shellcheck")
def test_a_rendered_header_has_no_findings_of_shellcheck(payload: Payload, tmp_path: Path) -> None:
    payload = dataclasses.replace(payload, script_env_variables={"A": "it's", "B": "two words"})
    header = tmp_path / "header.sh"
    header.write_bytes(installer.render_header(payload, bytes(512), parts_size_bytes=[512]))
    done = subprocess.run(["shellcheck", header], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
