"""Directories that strangers hand over: what is taken, and that nothing is written elsewhere."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.stacks.launch.code import handover
from littlest_hub.stacks.launch.code.handover import HandoverError, Limits


def stream(*entries: dict[str, Any] | bytes, is_whole: bool = True) -> io.BytesIO:
    parts = [
        each if isinstance(each, bytes) else f"{json.dumps(each)}\n".encode() for each in entries
    ]
    return io.BytesIO(b"".join(parts) + (b"{}\n" if is_whole else b""))


def file(path: str, data: bytes, **more: Any) -> tuple[dict[str, Any], bytes]:
    return {"file": path, "bytes": len(data), "program": False, **more}, data


def link(path: str, target: str) -> dict[str, Any]:
    return {"link": path, "to": target}


def found(directory: Path) -> dict[str, str]:
    return {
        str(each.relative_to(directory)): f"-> {each.readlink()}"
        if each.is_symlink()
        else each.read_text()
        for each in sorted(directory.rglob("*"))
        if each.is_symlink() or each.is_file()
    }


def test_a_directory_arrives_as_it_was_without_modes_and_special_files(tmp_path: Path) -> None:
    source, result = tmp_path / "source", tmp_path / "result"
    (source / "a/empty").mkdir(parents=True)
    (source / "a/file").write_text("x")
    (source / "a/program").write_text("y")
    (source / "a/program").chmod(0o6777)
    os.link(source / "a/file", source / "second")
    for name, target in {"link": "a/file", "out": "/etc/passwd", "python": "/the/python"}.items():
        (source / name).symlink_to(target)
    os.mkfifo(source / "fifo")
    (source / "large").write_bytes(b"z" * (3 << 20))
    data = io.BytesIO()
    handover.send(source, data)
    data.seek(0)
    handover.receive(data, result, Limits(), targets=["/the/python"])
    expected = {"a/file": "x", "a/program": "y", "link": "-> a/file", "large": "z" * (3 << 20)}
    assert found(result) == {**expected, "python": "-> /the/python", "second": "x"}
    assert (result / "a/empty").is_dir()
    assert (result / "a/program").stat().st_mode & 0o7777 == 0o755
    assert (result / "second").stat().st_nlink == 1


@pytest.mark.parametrize(
    "entries",
    [
        file("/etc/x", b""),
        file("../x", b""),
        file("a/../../x", b""),
        file("a//x", b""),
        file("", b""),
        file(".", b""),
        file("a\0b", b""),
        file("a" * 256, b""),
        file("/".join(["a" * 200] * 20), b""),
        file("a\ud800", b""),
        file("x", b"", bytes=-1),
        file("x", b"", bytes=True),
        file("x", b"", bytes="1"),
        (*file("x", b""), *file("x", b"")),
        (*file("x", b""), *file("x/y", b"")),
        (*file("x", b""), {"directory": "x"}),
        (link("x", "y"), *file("x", b"")),
        (link("a", "."), link("a/b", "c")),
        ({"directory": "../x"},),
        ({"device": "x"},),
        ({"file": "x", "link": "y"},),
        ({"link": "x"},),
        ([1],),
        (b"[" * 10_000 + b"\n",),
        (b"x" * 100_000,),
    ],
)
def test_what_is_damaged_or_leads_elsewhere_is_refused_and_nothing_is_written_there(
    tmp_path: Path, entries: Any
) -> None:
    result = tmp_path / "inner" / "result"
    result.parent.mkdir()
    with pytest.raises(HandoverError):
        handover.receive(stream(*entries), result, Limits())
    assert [each.name for each in tmp_path.rglob("*") if not each.is_relative_to(result)] == [
        "inner"
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "..",
        "../x",
        "a/../../..",
        "a/..",
        "a/b/c/../../..",
        "./../..",
        "/the/python/x",
    ],
)
def test_a_link_that_leads_out_or_could_is_left_out(tmp_path: Path, target: str) -> None:
    result = tmp_path / "result"
    entries = (*file("a/b/x", b""), link("l", target), link("kept", "a/b/x"))
    handover.receive(stream(*entries), result, Limits(), targets=["/the/python"])
    assert found(result) == {"a/b/x": "", "kept": "-> a/b/x"}


def test_links_that_together_could_lead_out_do_not(tmp_path: Path) -> None:
    result = tmp_path / "result"
    (tmp_path / "secret").write_text("secret")
    entries = (
        {"directory": "a/b"},
        link("a/b/c", "../.."),
        link("up", "a/b/c/../../secret"),
        link("a/back", "b/c/a/b/c"),
        link("sub", "a/back/secret"),
    )
    handover.receive(stream(*entries), result, Limits())
    for each in result.rglob("*"):
        assert each.resolve().is_relative_to(result.resolve())


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """The link comes first in the stream, and is made last."""
    result, elsewhere = tmp_path / "result", tmp_path / "elsewhere"
    elsewhere.mkdir()
    entries = (link("share", str(elsewhere)), *file("share/kernel.json", b"x"))
    handover.receive(stream(*entries), result, Limits(), targets=[])
    assert found(result) == {"share/kernel.json": "x"}
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(HandoverError):
        handover.receive(stream(*entries), tmp_path / "b", Limits(), targets=[str(elsewhere)])
    assert list(elsewhere.iterdir()) == []


def test_too_much_is_refused(tmp_path: Path) -> None:
    limits = Limits(files=3, size_bytes=10)
    cases: list[Any] = [
        [each for name in "abcd" for each in file(name, b"")],
        [{"directory": name} for name in "abcd"],
        [link(name, "x") for name in "abcd"],
        file("a", b"x" * 11),
        (*file("a", b"x" * 6), *file("b", b"x" * 6)),
        file("a", b"", bytes=1 << 62),
    ]
    for number, entries in enumerate(cases):
        with pytest.raises(HandoverError, match="more than 3 files"):
            handover.receive(stream(*entries), tmp_path / str(number), limits)


def test_a_stream_that_ends_early_is_refused(tmp_path: Path) -> None:
    cases: list[Any] = [(), file("a", b"xy")[:1], (*file("a", b"xy"), b"{")]
    for number, entries in enumerate(cases):
        with pytest.raises(HandoverError, match="ended before it was done"):
            handover.receive(stream(*entries, is_whole=False), tmp_path / str(number), Limits())


def test_a_file_that_shrinks_while_it_is_sent_has_the_size_that_was_announced(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"x" * (2 << 20))
    (source / "b").write_text("b")
    reading, writing = os.pipe()

    def send() -> None:
        with open(writing, "wb") as writer:
            handover.send(source, writer)

    sender = threading.Thread(target=send)
    sender.start()
    with open(reading, "rb") as reader:
        beginning = reader.readline()
        os.truncate(source / "a", 0)
        joined: Any = _Joined(beginning, reader)
        handover.receive(joined, tmp_path / "result", Limits())
    sender.join()
    assert (tmp_path / "result/a").stat().st_size == 2 << 20
    assert (tmp_path / "result/b").read_text() == "b"


class _Joined(io.RawIOBase):
    """A stream whose first line has been read already."""

    def __init__(self, line: bytes, rest: Any) -> None:
        self._line, self._rest = line, rest

    def readline(self, size: int | None = -1, /) -> bytes:
        line, self._line = self._line, b""
        return line or bytes(self._rest.readline(size))

    def read(self, size: int = -1, /) -> bytes:
        return bytes(self._rest.read(size))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"link": st.sampled_from(["a", "b/c", "b/d", "b/e/f"])},
            optional={},
        ).flatmap(
            lambda entry: (
                st.lists(
                    st.sampled_from(["..", ".", "a", "b", "c", "d", "e", "f"]),
                    min_size=1,
                    max_size=6,
                )
                .map("/".join)
                .map(lambda target: {**entry, "to": target})
            )
        ),
        max_size=6,
    )
)
def test_no_set_of_links_leads_out(tmp_path_factory: pytest.TempPathFactory, links: Any) -> None:
    directory = tmp_path_factory.mktemp("links") / "x/y/z"
    directory.parent.mkdir(parents=True)
    try:
        handover.receive(stream(*links), directory, Limits())
    except HandoverError:
        return
    for each in directory.rglob("*"):
        try:
            assert each.resolve().is_relative_to(directory.resolve())
        except (OSError, RuntimeError):  # a circle
            continue
