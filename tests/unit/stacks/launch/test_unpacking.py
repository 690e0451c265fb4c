"""Archive files in which bytes were changed: what a reader makes of them is one sentence."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.resolver import tree, unpacking
from littlest_hub.stacks.launch.resolver.limits import Limits
from tests.archives import tarred, zipped

LIMITS = Limits(files_bytes=1 << 20, files=200, objects=500)
_LINK = tarfile.TarInfo()
_LINK.type, _LINK.linkname = tarfile.SYMTYPE, "a"
_TAR = tarred(("t/a", "1" * 300), (f"t/{'l' * 120}", "x"), ("t/ü", "y"), ("t/l", _LINK), mode="w")
WHOLE = {
    "a.zip": zipped({"t/a": "1" * 300, "t/b/c": "x", "t/l": "a"}, l=stat.S_IFLNK | 0o777),
    "a.tar": _TAR,
    "a.tgz": gzip.compress(_TAR),
}


def unpack(name: str, content: bytes) -> tree.Tree:
    directory = Path(tempfile.mkdtemp())
    try:
        (directory / "file").write_bytes(content)
        found = unpacking.opened(directory / "file", name, LIMITS, lambda: None)
        return tree.write(found.entries(), found.contents, directory / "files", LIMITS)
    finally:
        shutil.rmtree(directory)


def test_what_is_whole_is_unpacked() -> None:
    for name, content in WHOLE.items():
        assert "a" in unpack(name, content).files


changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*WHOLE]), changes, st.integers(0, 100))
# The list of a zip archive that begins before the archive.
@example("a.zip", [(-6, 255), (-5, 1)], 0)
def test_an_archive_with_changed_bytes_is_refused_in_one_sentence(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(WHOLE[name])
    for place, value in changes:
        content[place % len(content)] = value
    if name == "a.tar":
        _correct(content)
    # Any other exception would be a failure of the resolver.
    with contextlib.suppress(LittlestHubError):
        unpack(name, bytes(content[: len(content) - cut]))


def _correct(content: bytearray) -> None:
    """Write the checksums of headers that were changed, without which nothing else is read."""
    for start in range(0, len(content) - 511, 512):
        header = content[start : start + 512]
        if header[257:262] == b"ustar":
            total = sum(header[:148]) + 8 * 32 + sum(header[156:])
            content[start + 148 : start + 156] = b"%06o\0 " % (total & 0o777777)
