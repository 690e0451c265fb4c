"""conda packages: reproducible bytes, frames that form one tar, and the needs of compiled files."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from construct import condapkg, prefix
from construct.condapkg import EPOCH_S, PLACEHOLDER, Metadata, Package
from construct.elf import Elf, glibc
from littlest_hub.errors import LittlestHubError

METADATA = Metadata(name="thing", version="1.0", license="MIT", summary="", licenses=("LICENSE",))
EXECUTABLE = Path(sys.executable).resolve()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "bin").mkdir(parents=True)
    script = folder / "bin" / "thing"
    script.write_text(f"#!{PLACEHOLDER}/bin/python\n")
    script.chmod(0o755)
    (folder / "bin" / "alias").symlink_to("thing")
    (folder / "data").write_bytes(b"\0" + PLACEHOLDER.encode() + b"/etc\0")
    (folder / "LICENSE").write_text("be nice\n")
    (folder / ("long" * 30)).write_text("a name longer than a tar header has room for\n")
    return folder


def test_the_placeholder_has_the_length_conda_expects() -> None:
    assert len(PLACEHOLDER) == 255


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first = condapkg.write(tree, METADATA, tmp_path / "first", 3)
    tree.joinpath("data").touch()
    tree.joinpath("LICENSE").chmod(0o600)
    second = condapkg.write(tree, METADATA, tmp_path / "second", 3)
    assert first.file.name == second.file.name
    assert first.file.read_bytes() == second.file.read_bytes()


def test_another_content_gives_another_build_string(tree: Path, tmp_path: Path) -> None:
    first = condapkg.write(tree, METADATA, tmp_path / "first", 3)
    (tree / "data").write_bytes(b"other")
    second = condapkg.write(tree, METADATA, tmp_path / "second", 3)
    assert first.file.name != second.file.name


def test_every_file_is_listed_and_the_placeholder_found(tree: Path, tmp_path: Path) -> None:
    package = condapkg.write(tree, METADATA, tmp_path / "package", 3)
    paths = {entry["_path"]: entry for entry in package.paths}
    assert sorted(paths) == ["LICENSE", "bin/alias", "bin/thing", "data", "long" * 30]
    assert paths["bin/thing"]["file_mode"] == "text"
    assert paths["data"]["file_mode"] == "binary"
    assert "prefix_placeholder" not in paths["LICENSE"]
    assert paths["bin/alias"]["path_type"] == "softlink"
    assert package.about["licenses"] == {"LICENSE": "be nice\n"}


def frame_members(*frames: bytes) -> list[tarfile.TarInfo]:
    reader = zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(b"".join(frames)), read_across_frames=True
    )
    with tarfile.open(fileobj=io.BytesIO(reader.read())) as tar:
        return tar.getmembers()


def test_frames_of_packages_and_a_last_one_are_one_tar(tree: Path, tmp_path: Path) -> None:
    package = condapkg.write(tree, METADATA, tmp_path / "package", 3)
    last = condapkg.text_frame({"conda-meta/history": b"x"}, 3, end=True)
    members = {member.name: member for member in frame_members(package.frame(), last)}
    assert set(members) == {*(entry["_path"] for entry in package.paths), "conda-meta/history"}
    assert members["bin/thing"].mode == 0o755
    assert members["LICENSE"].mode == 0o644
    assert members["bin/alias"].linkname == "thing"
    assert {member.mtime for member in members.values()} == {EPOCH_S}
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}


def test_the_package_and_the_channel_have_the_same_metadata(tree: Path, tmp_path: Path) -> None:
    package = condapkg.write(tree, METADATA, tmp_path / "package", 3)
    with zipfile.ZipFile(package.file) as archive:
        info = archive.read(f"info-{package.file.stem}.tar.zst")
    data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(info)).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        stream = tar.extractfile("info/index.json")
        assert stream is not None
        index = json.load(stream)
    record = Package(package.folder).record
    assert {key: record[key] for key in index} == index
    assert record["size"] == package.file.stat().st_size


def test_a_file_that_needs_too_new_a_glibc_is_refused_by_name_and_symbol() -> None:
    data = EXECUTABLE.read_bytes()
    with pytest.raises(
        LittlestHubError, match=r"bin/x needs .*\w+.* of GLIBC_2\.\d+.*floor is 2\.1"
    ):
        condapkg.check_compiled(data, "bin/x", floor=(2, 1))
    condapkg.check_compiled(data, "bin/x", floor=(9, 9))


def test_a_file_for_another_architecture_is_refused() -> None:
    data = bytearray(EXECUTABLE.read_bytes()[:4096])
    data[18:20] = (183).to_bytes(2, "little")
    with pytest.raises(LittlestHubError, match="machine 183, expected 62"):
        condapkg.check_compiled(bytes(data), "bin/x")
    data[4] = 1
    with pytest.raises(LittlestHubError, match="not a 64-bit"):
        condapkg.check_compiled(bytes(data), "bin/x")


def test_libraries_and_versions_are_read_from_an_executable() -> None:
    elf = Elf(EXECUTABLE.read_bytes())
    assert any(library.startswith("libc.so") for library in elf.libraries)
    versions = [version for item in elf.requirements if (version := glibc(item)) is not None]
    assert max(versions) >= (2, 2, 5)


def package_of(folder: Path, sizes_bytes: dict[str, int]) -> Package:
    """A package that consists only of its list of files."""
    folder.mkdir()
    paths = [{"_path": path, "size_in_bytes": size} for path, size in sizes_bytes.items()]
    (folder / "paths.json").write_text(json.dumps(paths))
    return Package(folder)


def test_parts_take_equally_long_to_unpack_and_contain_every_package_once(tmp_path: Path) -> None:
    large = package_of(tmp_path / "large", {"bin/large": 100 * prefix.FILE_COST_BYTES})
    many = package_of(tmp_path / "many", {f"share/many/{number}": 1 for number in range(90)})
    small = package_of(tmp_path / "small", {"share/small": 1})
    nothing = package_of(tmp_path / "nothing", {})
    first, second = prefix.in_parts([small, many, nothing, large])
    assert first == [large]
    assert second == [many, small, nothing]


def test_directories_of_several_parts_are_listed_with_their_parents(tmp_path: Path) -> None:
    one = package_of(tmp_path / "one", {"lib/site/one/a.py": 1, "bin/one": 1})
    two = package_of(tmp_path / "two", {"lib/site/two/b.py": 1, "meta/two": 1})
    shared = prefix.shared_directories([[one], [two]], ["meta/history"])
    assert shared == ["lib", "lib/site", "meta"]
