"""Recipes are read strictly; their sources are verified, and unpacked like rattler-build does."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path

import pytest

from construct import sources
from construct.cache import Cache
from construct.native import JobServer
from construct.progress import Progress
from construct.recipe import Recipe, read_recipe
from construct.sources import Source
from littlest_hub.errors import LittlestHubError

RECIPES = Path(sources.__file__).parent.parent / "recipe"
RECIPE = """\
context:
  version: "1.2"
package:
  name: thing
  version: ${{ version }}
source:
  - url: debian:///main/t/thing/thing_${{ version }}.orig.tar.gz
    sha256: abc
build:
  string: h${{ hash }}_${{ build_number }}_x
  script: build.sh
about:
  homepage: https://example.org
  license: MIT
  summary: A thing
"""


def read(folder: Path, text: str) -> Recipe:
    (folder / "recipe.yaml").write_text(text)
    return read_recipe(folder)


def test_a_recipe_is_read_with_its_context(tmp_path: Path) -> None:
    recipe = read(tmp_path, RECIPE)
    assert recipe.version == "1.2"
    assert recipe.sources[0].name == "thing_1.2.orig.tar.gz"
    assert recipe.build_string == "h${{ hash }}_${{ build_number }}_x"


def test_an_unknown_key_of_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LittlestHubError, match=r"recipe\.yaml:11: build\.skip: found the key 'skip'"
    ):
        read(tmp_path, RECIPE.replace("  script:", "  skip: win\n  script:"))


def test_an_undefined_name_in_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LittlestHubError, match=r"recipe\.yaml:5: package\.version: found .*vrsion is not"
    ):
        read(tmp_path, RECIPE.replace("version: ${{ version }}", "version: ${{ vrsion }}"))


@pytest.mark.row(17)
def test_every_native_recipe_has_a_license_and_hashes_of_its_sources() -> None:
    folders = [path.parent for path in RECIPES.glob("*/recipe.yaml")]
    recipes = [read_recipe(path) for path in folders if path.name != "littlest-hub"]
    assert {"python", "openssl", "zstd"} <= {recipe.name for recipe in recipes}
    for recipe in recipes:
        assert recipe.folder.name == recipe.name
        assert bool(recipe.sources) == bool(recipe.license_file)
        for source in recipe.sources:
            assert source.url.startswith(sources.SCHEME)
            assert len(bytes.fromhex(source.sha256)) == 32


def make_tar(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return path


def test_unpacking_strips_a_single_top_folder(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", ["thing-1.2/configure", "thing-1.2/thing-1.2/x"])
    sources.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "configure").is_file()
    assert (tmp_path / "out" / "thing-1.2" / "x").is_file()


def test_unpacking_keeps_several_top_folders(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", ["a/x", "b/x"])
    sources.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "x").is_file()


@pytest.mark.row(17)
def test_a_source_altered_in_the_cache_is_refused(tmp_path: Path) -> None:
    source = Source("debian:///main/t/thing/thing.tar.gz", "0" * 64)
    kept = tmp_path / "sources" / f"thing.tar.gz-{'0' * 64}"
    kept.parent.mkdir()
    kept.write_text("evil")
    with pytest.raises(LittlestHubError, match=r"thing\.tar\.gz.*was altered"):
        sources.fetch(source, tmp_path / "recipe.yaml", Cache(tmp_path))


def test_a_source_from_elsewhere_is_refused(tmp_path: Path) -> None:
    source = Source("https://example.org/thing.tar.gz", "0" * 64)
    with pytest.raises(LittlestHubError, match="does not start with debian:///"):
        sources.fetch(source, tmp_path / "recipe.yaml", Cache(tmp_path))


def test_no_more_recipes_run_than_there_are_tokens() -> None:
    server = JobServer(2)
    running, most = 0, 0
    lock = threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def work() -> None:
        nonlocal running, most
        with server.token():
            with lock:
                running += 1
                most = max(most, running)
            both.wait()
            with lock:
                running -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()
    assert most == 2


def test_progress_shows_the_step_its_details_and_its_time() -> None:
    stream = io.StringIO()
    progress = Progress("fetch", 2, stream)
    with progress.step("a.tar") as said:
        said.append("1.5 MB")
    with progress.step("b", announce=True):
        pass
    first, announced, second = stream.getvalue().splitlines()
    assert first.startswith("[fetch 1/2] a.tar: 1.5 MB, ")
    assert announced == "[fetch] b …"
    assert second.startswith("[fetch 2/2] b: ")
