"""Hostile packages of conda: the real py-rattler, and what is refused before it links anything."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.digests import sha256
from littlest_hub.system.rattler import ChannelError, ConflictError, Limits, Package, Rattler
from tests.channel import Oddities, ServedChannel, add_python, linked, served

pytest.importorskip("rattler")


# How py-rattler treats a package that nobody has examined.
ALONE = """
import asyncio, os, rattler, sys
prefix, cache, *files = sys.argv[1:]
async def install():
    records = await rattler.solve([], [f"{name}[url=file://{file}]" for name, file in
        (each.split("=") for each in files)], platforms=["linux-64", "noarch"],
        virtual_packages=rattler.VirtualPackage.detect())
    await rattler.install(records, prefix, cache_dir=cache, show_progress=False)
asyncio.run(install())
sys.stdout.flush(); os._exit(0)
"""


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[ServedChannel]:
    with served(tmp_path / "channels") as found:
        yield found


@pytest.fixture
def rattler(tmp_path: Path) -> Rattler:
    (tmp_path / "home" / "store").mkdir(parents=True)
    return Rattler(tmp_path / "home" / "store")


def installed(rattler: Rattler, channel: ServedChannel, *files: Path) -> Path:
    """Return a prefix with packages; nothing is beside the prefix, whatever happens."""
    prefix = rattler.store.parent / "prefix"
    packages = [Package(channel.url(each), sha256(each)) for each in files]
    try:
        rattler.fetch(packages, lambda _: None)
        rattler.link(packages, prefix, lambda _: None)
    finally:
        assert {each.name for each in prefix.parent.iterdir()} <= {"store", "prefix"}
        assert not list(rattler.store.glob(".new-*"))
    return prefix


def special(path: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.linkname, member.devmajor, member.devminor = kind, target, 1, 3
    return member


def hard(path: str) -> dict[str, object]:
    return {"_path": path, "path_type": "hardlink"}


def test_a_package_is_linked_from_the_store(rattler: Rattler, channel: ServedChannel) -> None:
    odd = Oddities(members=[linked("share/inner/up", "../file"), linked("share/same", "file")])
    file = channel.add("plain", {"share/file": "x"}, oddities=odd)
    prefix = installed(rattler, channel, file)
    assert (prefix / "share/file").stat().st_nlink == 2
    assert (prefix / "share/inner/up").read_text() == "x"
    assert (rattler.store / sha256(file) / "share/file").samefile(prefix / "share/file")


def test_modes_of_a_package_do_not_reach_a_prefix(rattler: Rattler, channel: ServedChannel) -> None:
    """A file that others may write would change in all environments; one with setuid is worse."""
    modes = {"a": 0o4777, "b": 0o666, "c": 0o000, "d": 0o2755}
    file = channel.add("modes", dict.fromkeys(modes, "x"), oddities=Oddities(modes=modes))
    prefix = installed(rattler, channel, file)
    found = {name: stat.S_IMODE((prefix / name).stat().st_mode) for name in modes}
    assert found == {"a": 0o555, "b": 0o444, "c": 0o444, "d": 0o555}


@pytest.mark.parametrize(
    "path",
    ["../out", "share/../../out", "/out", "{home}/out", "info/x", "conda-meta/history", ".", ""],
)
def test_a_path_that_leads_out_is_refused(
    rattler: Rattler, channel: ServedChannel, path: str
) -> None:
    odd = Oddities(paths=[hard(path.format(home=rattler.store.parent))])
    file = channel.add("hostile", {"share/file": "x"}, oddities=odd)
    with pytest.raises(LittlestHubError, match=r"hostile-1\.0-0\.tar\.bz2: .*is no path in an"):
        installed(rattler, channel, file)


@pytest.mark.parametrize("path", ["../out", "share/../../out", "/tmp/out-of-a-package"])
def test_an_archive_cannot_unpack_elsewhere(
    rattler: Rattler, channel: ServedChannel, path: str
) -> None:
    odd = Oddities(paths=[], members=[special(path, tarfile.REGTYPE)])
    installed(rattler, channel, channel.add("hostile", {}, oddities=odd))
    assert not Path("/tmp/out-of-a-package").exists()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("etc/x", "/etc/passwd"),
        ("etc/x", "../../out"),
        ("etc/x", "../.."),
        ("x", ".."),
        ("etc/x", "../lib/../../out"),
        ("etc/x", "lib/.."),
    ],
)
def test_a_link_that_leads_out_is_refused(
    rattler: Rattler, channel: ServedChannel, path: str, target: str
) -> None:
    file = channel.add("hostile", {}, oddities=Oddities(members=[linked(path, target)]))
    with pytest.raises(LittlestHubError, match=r"is a link to .*, out of the environment"):
        installed(rattler, channel, file)


def test_a_file_is_not_written_through_another_packages_link(
    rattler: Rattler, channel: ServedChannel
) -> None:
    files = [
        channel.add("first", {"lib/x": ""}, oddities=Oddities(members=[linked("share", "lib")])),
        channel.add("second", {"share/doc/file": "x"}),
    ]
    with pytest.raises(
        LittlestHubError, match=r"second has share/doc/file, .*through a link of first"
    ):
        installed(rattler, channel, *files)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_device_or_pipe_becomes_an_empty_file(
    rattler: Rattler, channel: ServedChannel, kind: bytes
) -> None:
    odd = Oddities(paths=[hard("x")], members=[special("x", kind)])
    file = channel.add("hostile", {}, oddities=odd)
    status = (installed(rattler, channel, file) / "x").lstat()
    assert (stat.S_IFMT(status.st_mode), status.st_size) == (stat.S_IFREG, 0)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd"])
def test_a_hard_link_in_an_archive_reaches_nothing_outside(
    rattler: Rattler, channel: ServedChannel, target: str
) -> None:
    odd = Oddities(paths=[hard("x")], members=[special("x", tarfile.LNKTYPE, target)])
    with pytest.raises(LittlestHubError, match="cannot be unpacked"):
        installed(rattler, channel, channel.add("hostile", {}, oddities=odd))


def test_scripts_for_linking_are_not_run(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path
) -> None:
    names = ("pre-link", "post-link", "pre-unlink")
    scripts = {f"bin/.hooked-{name}.sh": f"#!/bin/sh\ntouch {tmp_path}/run\n" for name in names}
    odd = Oddities(modes=dict.fromkeys(scripts, 0o755))
    prefix = installed(rattler, channel, channel.add("hooked", scripts, oddities=odd))
    assert (prefix / "bin/.hooked-post-link.sh").exists()
    assert not (tmp_path / "run").exists()


def python_and(channel: ServedChannel, trap: Path, **oddities: object) -> list[Path]:
    """Return a Python that leaves a file if it is run, and a package for any Python."""
    program = (f"#!/bin/sh\ntouch {trap}\n".encode(), 0o755)
    add_python(channel.directory, "3.12.1", {"bin/python3": program})
    odd = Oddities(index={"noarch": "python"}, **oddities)  # type: ignore[arg-type]
    files = {"site-packages/tool.py": "", "python-scripts/old": "#!/bin/sh\n"}
    package = channel.add("tool", files, oddities=odd)
    return [*channel.directory.rglob("python-*.tar.bz2"), package]


def commands(*entries: str) -> dict[str, object]:
    noarch = {"type": "python", "entry_points": entries}
    return {"link": {"package_metadata_version": 1, "noarch": noarch}}


def test_commands_of_a_package_for_any_python_are_written_and_not_run(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path
) -> None:
    files = python_and(channel, tmp_path / "run", info=commands("tool = tool:main"))
    prefix = installed(rattler, channel, *files)
    assert f"{prefix}/bin/python" in (prefix / "bin/tool").read_text()
    assert (prefix / "lib/python3.12/site-packages/tool.py").exists()
    assert (prefix / "bin/old").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["python3", "python", "old"])
def test_a_command_is_not_written_into_a_file_of_the_store(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path, command: str
) -> None:
    """Test a command whose file would be shared with all other environments."""
    files = python_and(channel, tmp_path / "run", info=commands(f"{command} = tool:main"))
    with pytest.raises(LittlestHubError, match=rf"tool has a command {command}, a file of"):
        installed(rattler, channel, *files)
    [stored] = rattler.store.glob("*/bin/python3")
    assert stored.read_text().endswith("/run\n")


def test_py_rattler_alone_writes_into_its_cache_and_out_of_the_prefix(
    channel: ServedChannel, tmp_path: Path
) -> None:
    """If this fails, py-rattler has changed: see the docstring of system/conda_package.py."""
    python, tool = python_and(channel, tmp_path / "run", info=commands("old = tool:main"))
    prefix, cache = tmp_path / "prefix", tmp_path / "cache"
    command = [sys.executable, "-c", ALONE, str(prefix), str(cache)]
    subprocess.run([*command, f"python={python}", f"tool={tool}"], check=True)
    [stored] = cache.rglob("python-scripts/old")
    assert "from tool import main" in stored.read_text()
    odd = Oddities(paths=[hard("a"), hard("../out")], modes={"a": 0o666})
    hostile = channel.add("hostile", {"a": "x"}, oddities=odd)
    done = subprocess.run([*command, f"hostile={hostile}"], capture_output=True, text=True)
    assert f"to {prefix}/../out" in done.stderr


def test_two_files_for_one_place_are_refused(rattler: Rattler, channel: ServedChannel) -> None:
    """The second one would be written into the first one, which the store has too."""
    placeholder = {"prefix_placeholder": "/a/path/of/the/builder", "file_mode": "text"}
    odd = Oddities(paths=[hard("a"), {**hard("a"), **placeholder}])
    with pytest.raises(LittlestHubError, match="list of paths has one twice"):
        installed(rattler, channel, channel.add("twice", {"a": "x"}, oddities=odd))
    modules = "lib/python3.12/site-packages/a.py"
    odd = Oddities(
        paths=[hard("site-packages/a.py"), {**hard(modules), **placeholder}],
        index={"noarch": "python"},
    )
    files = [*python_and(channel, rattler.store / "run")]
    files.append(channel.add("both", {"site-packages/a.py": "x", modules: "y"}, oddities=odd))
    with pytest.raises(LittlestHubError, match="both has two files for one place"):
        installed(rattler, channel, *files)


def test_a_path_of_two_packages_leaves_both_in_the_store_as_they_are(
    rattler: Rattler, channel: ServedChannel
) -> None:
    placeholder = {"prefix_placeholder": "/a/path/of/the/builder", "file_mode": "text"}
    odd = Oddities(paths=[{**hard("a"), **placeholder}])
    files = [
        channel.add("first", {"a": "first"}),
        channel.add("second", {"a": "second /a/path/of/the/builder"}, oddities=odd),
    ]
    prefix = installed(rattler, channel, *files)
    stored = sorted(each.read_text() for each in rattler.store.glob("*/a"))
    assert stored == ["first", "second /a/path/of/the/builder"]
    assert (prefix / "a").read_text() in ("first", f"second {prefix}")


@pytest.mark.parametrize(
    "entry", ["../../out = tool:main", "/out = tool:main", "a/b = tool:main", " = tool:main"]
)
def test_a_command_is_no_path(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path, entry: str
) -> None:
    files = python_and(channel, tmp_path / "run", info=commands(entry))
    with pytest.raises(LittlestHubError, match=r"link\.json"):
        installed(rattler, channel, *files)


def test_modules_of_a_package_for_any_python_lead_nowhere_else(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path
) -> None:
    odd = Oddities(index={"python_site_packages_path": "../../out", "subdir": "linux-64"})
    python = channel.add("python", {"bin/python3": ""}, version="3.12.1", oddities=odd)
    with pytest.raises(LittlestHubError, match=r"modules in '\.\./\.\./out'"):
        installed(rattler, channel, python)


@pytest.mark.parametrize(
    "index",
    [
        {"name": "other"},
        {"version": "2.0"},
        {"name": "../../out"},
        {"version": "../../out"},
        {"build": "../../out"},
        {"name": ["x"]},
    ],
)
def test_a_package_is_what_it_is_called(
    rattler: Rattler, channel: ServedChannel, index: dict[str, object]
) -> None:
    usual = {"name": "hostile", "version": "1.0", "build": "0", "build_number": 0}
    odd = Oddities(info={"index": {**usual, "subdir": "noarch", **index}})
    file = channel.add("hostile", {"share/file": "x"}, oddities=odd)
    with pytest.raises(LittlestHubError, match=r"is no package|it says that it is|its metadata"):
        installed(rattler, channel, file)


@pytest.mark.parametrize("placeholder", ["", "x", "relative/placeholder/of/some/length"])
def test_what_is_replaced_in_files_is_a_path(
    rattler: Rattler, channel: ServedChannel, placeholder: str
) -> None:
    entry = {**hard("a"), "prefix_placeholder": placeholder, "file_mode": "text"}
    file = channel.add("hostile", {"a": "xxxx"}, oddities=Oddities(paths=[entry]))
    with pytest.raises(LittlestHubError, match="is no path to replace"):
        installed(rattler, channel, file)


def test_metadata_is_not_read_through_a_link(rattler: Rattler, channel: ServedChannel) -> None:
    odd = Oddities(members=[linked("info/link.json", "/etc/passwd")], paths=[])
    with pytest.raises(LittlestHubError, match=r"info/link\.json: expected a plain file"):
        installed(rattler, channel, channel.add("hostile", {}, oddities=odd))


def test_a_package_that_unpacks_to_more_than_it_may_is_refused(
    rattler: Rattler, channel: ServedChannel
) -> None:
    bounded = replace(rattler, limits=Limits(unpacked_bytes=4 << 20, files=50))
    large = channel.add("large", {"zeros": bytes(8 << 20)})
    assert large.stat().st_size < 100_000
    with pytest.raises(LittlestHubError, match="unpacks to more than 50 files or 4 MB"):
        installed(bounded, channel, large)
    many = channel.add("many", {f"share/{number}": "" for number in range(100)})
    with pytest.raises(LittlestHubError, match="unpacks to more than 50 files or 4 MB"):
        installed(bounded, channel, many)
    parts = [channel.add(f"part{number}", {"zeros": bytes(3 << 20)}) for number in range(2)]
    with pytest.raises(LittlestHubError, match="its packages unpack to more than 4 MB"):
        installed(bounded, channel, *parts)


def test_a_package_that_would_fill_the_disk_is_ended(
    rattler: Rattler, channel: ServedChannel
) -> None:
    free = os.statvfs(rattler.store)
    least = free.f_bavail * free.f_frsize
    # There is less free than has to be left: what is unpacked is ended as soon as that is seen.
    bounded = replace(rattler, limits=Limits(least_free_bytes=least * 2))
    file = channel.add("large", {"zeros": bytes(256 << 20)})
    with pytest.raises(LittlestHubError, match=r"its packages are too large: the disk of"):
        installed(bounded, channel, file)


def test_a_download_ends_at_its_size(rattler: Rattler, channel: ServedChannel) -> None:
    file = channel.add("large", {"share/file": os.urandom(100_000).hex()})
    package = Package(channel.url(file), sha256(file), size_bytes=1000)
    with pytest.raises(LittlestHubError, match="it has more than 1000 bytes"):
        rattler.fetch([package], lambda _: None)
    bounded = replace(rattler, limits=Limits(package_bytes=2000))
    with pytest.raises(LittlestHubError, match="it has more than 2000 bytes"):
        bounded.fetch([replace(package, size_bytes=0)], lambda _: None)
    assert list(rattler.store.iterdir()) == []


def test_a_file_that_is_no_package_is_refused(rattler: Rattler, channel: ServedChannel) -> None:
    file = channel.add("plain", {"share/file": "x"})
    for data in (b"", b"no archive", file.read_bytes()[:100]):
        file.write_bytes(data)
        with pytest.raises(LittlestHubError, match=r"plain-1\.0-0\.tar\.bz2: "):
            installed(rattler, channel, file)


def test_answers_of_a_channel_are_told_apart(rattler: Rattler, channel: ServedChannel) -> None:
    channel.add("alpha", {}, ["beta >=2"])
    channel.add("beta", {})
    with pytest.raises(ConflictError, match="beta >=2"):
        rattler.solve([channel.address], ["alpha"])
    with pytest.raises(ConflictError, match="No candidates were found for nothing"):
        rattler.solve([channel.address], ["nothing"])
    with pytest.raises(ChannelError, match=r"127\.0\.0\.1:1"):
        rattler.solve(["http://127.0.0.1:1/x"], ["alpha"])
    [found] = rattler.solve([channel.address], ["beta"])
    assert found.url == f"{channel.address}/noarch/beta-1.0-0.tar.bz2"
    with pytest.raises(ChannelError, match="404"):
        rattler.fetch([replace(found, url=f"{channel.address}/noarch/x-1-0.conda")], print)


def test_a_channel_cannot_add_other_channels(
    rattler: Rattler, channel: ServedChannel, tmp_path: Path
) -> None:
    with served(tmp_path / "others") as other:
        other.add("beta", {})
        channel.add("alpha", {}, ["beta"])
        for file in channel.directory.rglob("repodata.json"):
            relations = f'"channel_relations": {{"base": "{other.address}"}}, "subdir"'
            file.write_text(file.read_text().replace('"subdir"', relations, 1))
        with pytest.raises(ConflictError, match="beta"):
            rattler.solve([channel.address], ["alpha"])
        assert other.requested == []


def test_nobodys_settings_and_passwords_are_used(
    rattler: Rattler, channel: ServedChannel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "9.9")
    monkeypatch.setenv("HOME", str(tmp_path))
    channel.add("alpha", {}, ["__glibc >=9"])
    with pytest.raises(ConflictError):
        rattler.solve([channel.address], ["alpha"])
    assert not (tmp_path / ".cache").exists()


def test_a_lock_file_that_is_damaged_is_refused(rattler: Rattler) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    began = time.monotonic()
    for text in ("", "version: 1\n", "version: 6\n", "[" * 10_000, f"version: 6\n{bomb}"):
        for name in ("conda-lock.yml", "pixi.lock"):
            with pytest.raises(LittlestHubError):
                rattler.read_lock(name, text)
    assert time.monotonic() - began < 60
