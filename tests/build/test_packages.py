"""The channel, the environment solved from it, and builds that give the same bytes."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import zstandard

from construct import channel, condapkg, prefix, sources, wheels
from construct.builder import DEVELOPMENT_LEVEL, ROOT, Builder
from construct.cache import Cache
from construct.condapkg import GLIBC_FLOOR, PLACEHOLDER, Package
from construct.elf import MAGIC, Elf, glibc
from construct.native import NativeBuilder
from construct.sources import Source
from littlest_hub.errors import LittlestHubError

EVERYWHERE = {
    *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    *("libresolv.so.2", "ld-linux-x86-64.so.2", "libgcc_s.so.1", "libstdc++.so.6"),
}
"""Libraries of glibc and the compiler, which every minimal machine has and manylinux allows."""


@pytest.fixture(scope="module")
def builder(pytestconfig: pytest.Config) -> Builder:
    return Builder(Cache(), level=DEVELOPMENT_LEVEL, jobs=os.cpu_count() or 1)


@pytest.fixture(scope="module")
def built(builder: Builder, pytestconfig: pytest.Config) -> channel.Channel:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return builder.channel()


@pytest.fixture(scope="module")
def solved(builder: Builder, built: channel.Channel) -> list[Package]:
    return channel.solve(built, builder.definition.specs)


def files_of(package: Package) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield each member of a package's frame with its content."""
    if not package.paths:
        return
    reader = zstandard.ZstdDecompressor().stream_reader(package.frame())
    with tarfile.open(fileobj=io.BytesIO(reader.read())) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            yield member, stream.read() if stream else b""


def in_new_process(code: str, *arguments: str) -> Any:
    """Return the JSON that a program with rattler prints. rattler may crash at shutdown."""
    program = textwrap.dedent(code) + "\nsys.stdout.flush(); os._exit(0)\n"
    command = [sys.executable, "-c", "import json, os, sys\n" + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_package_holds_exactly_the_files_it_lists(solved: list[Package]) -> None:
    for package in solved:
        listed = {entry["_path"]: entry for entry in package.paths}
        found = {}
        for member, data in files_of(package):
            assert member.isfile() or member.issym(), f"{package.file.name}: {member.name}"
            found[member.name] = member
            if member.isfile():
                entry = listed[member.name]
                assert entry["sha256"] == hashlib.sha256(data).hexdigest()
                assert ("prefix_placeholder" in entry) == (PLACEHOLDER.encode() in data)
        assert found.keys() == listed.keys(), package.file.name


def test_no_compiled_file_needs_a_newer_glibc_or_a_missing_library(
    solved: list[Package],
) -> None:
    have = {Path(entry["_path"]).name for package in solved for entry in package.paths}
    floor: tuple[int, ...] = (0,)
    for package in solved:
        for member, data in files_of(package):
            if data[:4] != MAGIC:
                continue
            elf = Elf(data)
            versions = [version for item in elf.requirements if (version := glibc(item))]
            floor = max([floor, *versions])
            missing = set(elf.libraries) - have - EVERYWHERE
            assert not missing, f"{package.file.name}: {member.name} needs {missing}"
    assert (2, 17) <= floor <= GLIBC_FLOOR


def test_no_file_contains_a_path_of_the_build_machine(
    solved: list[Package], builder: Builder
) -> None:
    traces = [os.fsencode(path) for path in (builder.cache.root, ROOT)]
    for package in solved:
        if package.record["name"] == "traefik":
            continue  # large, and not built here
        for member, data in files_of(package):
            for trace in traces:
                assert trace + b"/" not in data, f"{package.file.name}: {member.name}"


def test_extension_modules_are_not_compiled_with_the_profile_of_python(
    solved: list[Package],
) -> None:
    python = next(package for package in solved if package.record["name"] == "python")
    # sysconfig's own file, from which setuptools and meson take the flags of extension modules.
    name = "_sysconfigdata__linux_x86_64-linux-gnu.py"
    data = next(data for member, data in files_of(python) if member.name.endswith(name))
    flags = ast.literal_eval(data.decode().partition("build_time_vars = ")[2])
    assert "-O3" in flags["CFLAGS"]
    assert not [name for name, value in flags.items() if "profile-use" in str(value)]


def test_python_hashes_text_with_a_keyed_function(builder: Builder) -> None:
    """Without it a request could slow a hub down by names that collide (PEP 456)."""
    python = NativeBuilder(builder.recipes(), builder.cache, builder.jobs).build_all()["python"]
    program = "import sys; print(sys.hash_info.algorithm)"
    command = [str(python / "bin" / "python3.13"), "-IB", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "siphash13\n"


def test_all_modules_have_byte_code(solved: list[Package]) -> None:
    for package in solved:
        paths = {entry["_path"]: entry for entry in package.paths}
        compiled = {path for path in paths if path.endswith(".pyc")}
        for path in compiled:
            assert "prefix_placeholder" not in paths[path], f"{path} could not be relocated"
        modules = [
            Path(path)
            for path, entry in paths.items()
            if path.startswith("lib/python3.13/")
            and path.endswith(".py")
            and "prefix_placeholder" not in entry
            and entry["size_in_bytes"]
        ]
        without = [
            str(path)
            for path in modules
            if f"{path.parent}/__pycache__/{path.stem}.cpython-313.pyc" not in compiled
        ]
        assert len(without) <= 0.03 * len(modules), f"{package.file.name}: {without[:5]}"


def test_every_package_in_the_environment_has_its_license(solved: list[Package]) -> None:
    without = [package.record["name"] for package in solved if not package.about["licenses"]]
    assert without == ["python_abi"], "only the package without files needs none"


def test_the_environment_satisfies_environment_yml(solved: list[Package], builder: Builder) -> None:
    versions = {package.record["name"]: package.record["version"] for package in solved}
    for spec in builder.definition.specs:
        name, _, version = spec.partition(" ==")
        if version:
            assert versions[name] == version
    assert versions["python"].startswith("3.13.")
    assert "setuptools" not in versions, "what only builds our package stays out"


def test_dependencies_precede_their_dependents(solved: list[Package]) -> None:
    seen: set[str] = set()
    names = {package.record["name"] for package in solved}
    for package in solved:
        needs = {spec.split(" ")[0] for spec in package.record["depends"]} & names
        assert needs <= seen, package.file.name
        seen.add(package.record["name"])


def test_unsatisfiable_specs_are_an_error_with_the_reason(built: channel.Channel) -> None:
    with pytest.raises(LittlestHubError, match=r"jupyterhub ==0\.1[\s\S]*--update-locks"):
        channel.solve(built, ["jupyterhub ==0.1"])


def test_rattler_installs_the_packages_and_finds_every_file(
    built: channel.Channel, tmp_path: Path
) -> None:
    """conda's tools accept frames without tar's end blocks in a package."""
    found = in_new_process(
        """
        import asyncio, pathlib, rattler

        async def main(channel, target):
            records = await rattler.solve(
                [channel], ["jupyterhub"], platforms=["linux-64"],
                virtual_packages=rattler.VirtualPackage.detect(),
            )
            await rattler.install(records, target, show_progress=False)
            return len(records)

        count = asyncio.run(main(sys.argv[1], sys.argv[2]))
        records = [
            rattler.PrefixRecord.from_path(path)
            for path in pathlib.Path(sys.argv[2], "conda-meta").glob("*.json")
        ]
        missing = [
            str(file) for record in records for file in record.files
            if not pathlib.Path(sys.argv[2], file).exists()
        ]
        print(json.dumps([count, len(records), missing]))
        """,
        built.folder.as_uri(),
        str(tmp_path / "prefix"),
    )
    count, records, missing = found
    assert count == records
    assert missing == []
    command = [str(tmp_path / "prefix" / "bin" / "jupyterhub"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("6.1.")


def test_the_lock_file_makes_the_same_environment_from_a_copy_of_the_channel(
    solved: list[Package], built: channel.Channel, builder: Builder, tmp_path: Path
) -> None:
    copy = tmp_path / "channel"
    built.copy(copy)
    built.copy(copy)  # replaces the first one
    entries = prefix.lockfile(solved).partition("@EXPLICIT\n")[2].splitlines()
    meta = prefix.files(builder.definition, solved)
    records = [json.loads(meta[f"conda-meta/{package.file.stem}.json"]) for package in solved]
    assert entries == [f"{record['url']}#{record['md5']}" for record in records]
    specs = []
    for record in records:
        url = record["url"].replace(channel.ADDRESS, copy.as_uri())  # as the file's comments say
        specs.append(f"{record['name']}[url={url}, md5={record['md5']}]")
    found = in_new_process(
        """
        import asyncio, pathlib, rattler

        async def main(target, *specs):
            records = await rattler.solve(
                [], specs, platforms=["linux-64"], virtual_packages=rattler.VirtualPackage.detect()
            )
            await rattler.install(records, target, show_progress=False)

        asyncio.run(main(*sys.argv[1:]))
        meta = pathlib.Path(sys.argv[1], "conda-meta")
        records = [rattler.PrefixRecord.from_path(path) for path in meta.glob("*.json")]
        print(json.dumps([record.file_name for record in records]))
        """,
        str(tmp_path / "prefix"),
        *specs,
    )
    assert sorted(found) == sorted(package.file.name for package in solved)


def test_rattler_reads_the_records_of_the_prefix(
    solved: list[Package], builder: Builder, tmp_path: Path
) -> None:
    for path, data in prefix.files(builder.definition, solved).items():
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    found = in_new_process(
        """
        import pathlib, rattler
        records = [
            rattler.PrefixRecord.from_path(path)
            for path in pathlib.Path(sys.argv[1]).glob("*-*-*.json")
        ]
        print(json.dumps({
            record.name.normalized: [str(record.requested_spec or ""), len(record.files)]
            for record in records
        }))
        """,
        str(tmp_path / "conda-meta"),
    )
    assert len(found) == len(solved)
    assert found["jupyterhub"][0] == "jupyterhub ==6.1.1"
    manifest = json.loads((tmp_path / "conda-meta" / "relocate.json").read_text())
    assert manifest["files"]["bin/python3.13"]["mode"] == "binary"
    assert manifest["files"]["bin/jupyterhub"]["mode"] == "text"
    for entry in manifest["files"].values():
        assert (tmp_path / entry["record"]).exists()


@pytest.mark.row(17)
def test_a_package_made_again_has_the_same_bytes(
    builder: Builder, built: channel.Channel, tmp_path: Path
) -> None:
    """Packages are laid out, compiled, packed and compressed from the same trees and wheels."""
    for shared in ("native", "wheels", "sources"):
        (tmp_path / shared).symlink_to(builder.cache.root / shared)
    again = Builder(Cache(tmp_path), level=DEVELOPMENT_LEVEL, jobs=1)
    names = ("littlest-hub", "openssl", "python", "ipython", "pip", "cffi", "jupyter_server")
    made = again.make([item for item in again.pending() if item.name in names])
    assert len(made) == len(names)
    for package in made:
        name = package.file.name
        assert package.record["sha256"] == built.packages[name].record["sha256"], name


@pytest.mark.row(17)
def test_a_library_compiled_again_elsewhere_has_the_same_bytes(
    builder: Builder, built: channel.Channel, tmp_path: Path
) -> None:
    recipes = {name: recipe for name, recipe in builder.recipes().items() if name == "libzlib"}
    fresh = Cache(tmp_path / "a-longer-path-than-the-first")
    (fresh.root / "sources").parent.mkdir(parents=True)
    (fresh.root / "sources").symlink_to(builder.cache.root / "sources")
    tree = NativeBuilder(recipes, fresh, 1).build_all()["libzlib"]
    package = condapkg.write(
        tree, recipes["libzlib"].metadata, tmp_path / "package", DEVELOPMENT_LEVEL
    )
    assert package.record["sha256"] == built.packages[package.file.name].record["sha256"]


class Archive(BaseHTTPRequestHandler):
    """A Debian mirror with one file, which has the wrong content."""

    def do_GET(self) -> None:
        known = self.path.endswith("/altered.tar.gz")
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", "4" if known else "0")
        self.end_headers()
        if known:
            self.wfile.write(b"evil")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    Thread(target=server.serve_forever).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/debian"
    monkeypatch.setenv("LITTLEST_HUB_DEBIAN_ARCHIVE", address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.row(17)
@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("name", ["altered.tar.gz", "vanished.tar.gz"])
def test_a_source_that_vanished_or_was_altered_is_named(name: str, tmp_path: Path) -> None:
    source = Source(f"debian:///main/t/thing/{name}", "0" * 64)
    recipe = tmp_path / "recipe" / "thing" / "recipe.yaml"
    with pytest.raises(LittlestHubError) as raised:
        sources.fetch(source, recipe, Cache(tmp_path))
    assert f"cannot get the source {name}" in raised.value.message
    assert str(recipe) in str(raised.value.hint)
    assert not (tmp_path / "sources").exists()


def test_a_wheel_that_is_unavailable_is_named(tmp_path: Path) -> None:
    lock = wheels.format_lock([wheels.Locked("traitlets", "5.16.1", "0" * 64)])
    with pytest.raises(LittlestHubError, match=r"traitlets[\s\S]*--update-locks"):
        wheels.download(lock, Cache(tmp_path))


def test_our_own_recipe_builds_against_the_channel(built: channel.Channel, tmp_path: Path) -> None:
    """The build for conda-forge, as far as possible without conda-forge."""
    found = in_new_process(
        """
        from rattler_build import Stage0Recipe
        results = Stage0Recipe.from_file(sys.argv[1]).run_build(
            output_dir=sys.argv[3], channels=[sys.argv[2]], no_build_id=True
        )
        print(json.dumps([str(path) for result in results for path in result.packages]))
        """,
        str(ROOT / "recipe" / "littlest-hub" / "recipe.yaml"),
        built.folder.as_uri(),
        str(tmp_path / "output"),
    )
    with zipfile.ZipFile(found[0]) as package:
        (name,) = [name for name in package.namelist() if name.startswith("pkg-")]
        data = zstandard.ZstdDecompressor().stream_reader(package.read(name)).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = {name.removeprefix("site-packages/") for name in tar.getnames()}
    (ours,) = [item for item in built.packages.values() if item.record["name"] == "littlest-hub"]
    site = condapkg.SITE_PACKAGES + "/"
    for entry in ours.paths:
        path = entry["_path"].removeprefix(site)
        if path.startswith(("littlest_hub/", "share/", "etc/")) and not path.endswith(".pyc"):
            assert path in theirs
    for file in (
        "littlest_hub/py.typed",
        "share/jupyter/labextensions/littlest-hub/package.json",
        "share/littlest-hub/advisories.json",
    ):
        assert file in theirs
        assert any(entry["_path"].endswith(file) for entry in ours.paths)


@pytest.mark.row(17)
def test_no_program_combines_checksums_with_zlib(solved: list[Package]) -> None:
    """This proves the answer to CVE-2026-27171 in construct/advisories.yaml."""
    callers = [
        member.name
        for package in solved
        if package.record["name"] != "libzlib"
        for member, content in files_of(package)
        if content.startswith(MAGIC) and b"crc32_combine" in content
    ]
    assert callers == []


def test_the_installer_is_no_larger_than_its_packages(
    solved: list[Package], builder: Builder, tmp_path: Path
) -> None:
    packages_bytes = sum(package.record["size"] for package in solved)
    assert builder.build(tmp_path).stat().st_size <= packages_bytes
