"""Bundles: the same bytes from the same checkout, and what `packages add --from` finds in them."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from construct import bundle
from construct.cache import Cache
from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PackageSet
from littlest_hub.packages import source
from tests import wheels

pytestmark = pytest.mark.unit


class Site:
    """A checkout, a directory of lists, and an index that is a directory of wheels."""

    def __init__(self, place: Path) -> None:
        self.root, self.lists, self.index = place / "root", place / "course", place / "index"
        self.output, self.cache = place / "dist", Cache(place / "cache")
        (self.root / "construct").mkdir(parents=True)
        (self.root / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
        self.pin("timid==1.0", "setuptools==80.0")
        self.lists.mkdir()
        (self.lists / "hub.txt").write_text("shy  # ours\n")
        (self.lists / "server.txt").write_text("bold>=1\n")
        for name, needs in (("shy", ["timid", "quiet"]), ("quiet", []), ("bold", ["setuptools"])):
            wheels.make(self.index, name, requires=needs, licence=f"Licence of {name}\n")
        for name, version in (("timid", "1.0"), ("timid", "2.0"), ("setuptools", "80.0")):
            wheels.make(self.index, name, version)

    def pin(self, *versions: str) -> None:
        """Let the release have exactly these packages; setuptools only builds it."""
        digest = hashlib.sha256(b"").hexdigest()
        lines = [f"{each} --hash=sha256:{digest}\n" for each in versions]
        (self.root / "construct/wheels.lock").write_text("".join(lines))

    def build(self, *, is_new_lock: bool = False) -> Path:
        wanted = bundle.find(self.root, str(self.lists))
        return bundle.build(self.root, wanted, self.output, self.cache, is_new_lock=is_new_lock)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path)
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(found.index))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "empty").as_uri())
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return found


def test_a_bundle_has_what_the_release_lacks_with_lock_sums_and_licences(site: Site) -> None:
    made = site.build()
    assert made.name == f"littlest-hub-course-{__version__}.tar"
    with tarfile.open(made) as archive:
        archive.extractall(site.output, filter="data")
    top = site.output / made.stem
    names = {each.name.partition("-")[0] for each in (top / "wheels").iterdir()}
    assert names == {"shy", "quiet", "bold", "setuptools"}, "timid is the release's"
    for line in (top / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((top / name).read_bytes()).hexdigest() == digest
    stated = json.loads((top / "licenses.json").read_text())
    assert "Licence of shy\n" in [each["text"] for each in stated["shy-1.0"]["files"]]
    summed = made.with_suffix(".tar.sha256").read_text().split()
    assert summed == [hashlib.sha256(made.read_bytes()).hexdigest(), made.name]
    with source.opened(made) as opened:
        found = opened.contents(PackageSet.HUB)
        assert found == {PackageSet.HUB: ("shy",), PackageSet.SERVER: ("bold>=1",)}
        assert opened.lock
        assert opened.lock.release == __version__


@pytest.mark.long
def test_two_builds_have_the_same_bytes_whatever_has_been_published_meanwhile(site: Site) -> None:
    first = site.build().read_bytes()
    wheels.make(site.index, "shy", "1.1")
    site.cache = Cache(site.root / "another-cache")
    umask = os.umask(0o077)
    try:
        assert site.build().read_bytes() == first
    finally:
        os.umask(umask)
    assert site.build(is_new_lock=True).read_bytes() != first


def test_a_lock_that_does_not_fit_the_lists_or_the_release_is_refused(site: Site) -> None:
    (site.lists / "server.txt").unlink()
    wheels.make(site.index, "shy", "1.1", requires=["timid<2"])
    site.build()
    (site.lists / "hub.txt").write_text("quiet\n")
    with pytest.raises(LittlestHubError, match=r"(?s)other lists.*--update-locks"):
        site.build()
    (site.lists / "hub.txt").write_text("shy\n")
    site.pin("timid==2.0")
    with pytest.raises(LittlestHubError, match=r"shy 1\.1 needs timid<2, it has 2\.0"):
        site.build()


def test_what_is_neither_a_stack_nor_a_directory_is_refused(site: Site) -> None:
    with pytest.raises(LittlestHubError, match="neither a stack nor a directory"):
        bundle.find(site.root, "no-such-stack")
    (site.lists / "hub.txt").unlink()
    (site.lists / "server.txt").unlink()
    with pytest.raises(LittlestHubError, match="asks for no packages"):
        bundle.find(site.root, str(site.lists))
