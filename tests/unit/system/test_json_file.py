"""Files with one JSON object."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.system.json_file import read_object

pytestmark = pytest.mark.unit


def test_the_object_in_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"alice": 1001}')
    assert read_object(tmp_path / "known.json") == {"alice": 1001}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff"])
def test_a_file_without_an_object_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "known.json").write_bytes(content)
    assert read_object(tmp_path / "known.json") == {}


def test_a_missing_file_counts_as_empty(tmp_path: Path) -> None:
    assert read_object(tmp_path / "known.json") == {}
