"""py-rattler in a process of its own: `python -I -m …rattler_program OVERLAY < request`.

Its threads may abort an interpreter that exits, and a parser that a stranger's file brings down
ends nothing else. The request is JSON; so are the lines of the answer, of which the last one has
"done" or "failed". Nothing of a package is run: scripts for linking are left alone, which are off
by default in rattler, and here in words too.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import conda_package, import_path
from littlest_hub.system.conda_package import NEW, Contents
from littlest_hub.system.files import flush_file_system

_TOOLS = "tools"
_SUBDIR: Final = "linux-64"
_RETRIES = 3
_DOWNLOADS, _UNPACKERS = 8, 2
_SOLVING_S = 300
# Hard links alone: what is copied on write has inodes of its own, and shares no memory.
_LINKS = "allow-ref-links = false\nallow-hard-links = true\nallow-symbolic-links = true\n"
_SILENCE_S = 60
_OF_DEVICES = ("__cuda", "__archspec")
"""Virtual packages that a sandbox without devices does not see, and other machines may have."""


class _ConflictError(Exception):
    """Specs without a solution."""


class _SilenceError(Exception):
    """No answer of a channel."""


async def solve(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the packages that satisfy specs."""
    import rattler
    from rattler.exceptions import GatewayError, SolverError

    gateway = rattler.Gateway(cache_dir=Path(asked["repodata"]), client=_client())
    try:
        found = await rattler.solve(
            [rattler.Channel(each) for each in asked["channels"]],
            # People write them in this way: rattler itself would be strict about "=1.26.*".
            [rattler.MatchSpec(each) for each in asked["specs"]],
            gateway=gateway,
            platforms=[_SUBDIR, "noarch"],
            virtual_packages=_machine(),
            timeout=datetime.timedelta(seconds=_SOLVING_S),
            exclude_newer=_end_of(asked["as_of"]) if asked["as_of"] else None,
            # Otherwise a channel could add other ones (CEP 42).
            channel_relations="disabled",
        )
    except SolverError as error:
        raise _ConflictError(str(error)) from None
    except GatewayError as error:
        raise _SilenceError(str(error)) from None
    return {"packages": [_package(each.url, each.sha256, each.size) for each in found]}


def _end_of(day: str) -> datetime.datetime:
    """Return the end of a day, or the moment that a text names."""
    found = datetime.datetime.fromisoformat(day.removesuffix("Z"))
    return found if "T" in day else found + datetime.timedelta(days=1)


def _package(url: str, sha256: bytes | None, size_bytes: int | None) -> dict[str, Any]:
    return {"url": url, "sha256": sha256.hex() if sha256 else "", "size_bytes": size_bytes or 0}


def _machine() -> list[Any]:
    """Return the virtual packages of this machine: its glibc, kernel and processor."""
    import rattler

    return [each.into_generic() for each in rattler.VirtualPackage.detect()]


def read_lock(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the packages in the text of a conda-lock.yml or a pixi.lock."""
    import rattler

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, asked["name"])
        file.write_text(asked["text"])
        lock = rattler.LockFile.from_path(file)
    environment = lock.default_environment()
    if environment is None:
        raise LittlestHubError("it has no environment `default`")
    platform = next((each for each in environment.platforms() if each.name == _SUBDIR), None)
    if platform is None:
        raise LittlestHubError(f"it has no packages for {_SUBDIR}")
    packages, wheels = [], []
    for each in environment.packages(platform) or ():
        sha256 = None
        # rattler 0.28 fails if there is none.
        with contextlib.suppress(AttributeError):
            sha256 = each.hashes.sha256 if each.hashes else None
        if isinstance(each, rattler.PypiLockedPackage):
            digest = sha256.hex() if sha256 else ""
            found = {"name": each.name, "version": str(each.version), "url": each.location}
            wheels.append({**found, "sha256": digest})
        elif isinstance(each, rattler.CondaLockedBinaryPackage):
            record = each.package_record
            packages.append(_package(each.location, sha256, record.size if record else None))
        else:
            raise LittlestHubError(f"{each.name} is built from its source")
    return {"packages": packages, "wheels": wheels}


class _Digesting:
    """A file that is downloaded, within a limit."""

    def __init__(self, file: Path, limit_bytes: int) -> None:
        self._opened = file.open("wb")
        self._left, self._limit_bytes = limit_bytes, limit_bytes
        self.sha256 = hashlib.sha256()

    async def receive(self, url: str) -> None:
        """Download it; give up if nothing comes any more."""
        from rattler import package_streaming

        work = asyncio.ensure_future(package_streaming.download_to_writer(_client(), url, self))
        left = -1
        while not work.done():
            if left == self._left:
                work.cancel()
                raise _SilenceError(f"{url}: nothing came for {_SILENCE_S} s")
            left = self._left
            await asyncio.wait([work], timeout=_SILENCE_S)
        try:
            work.result()
        except RuntimeError as error:
            raise _SilenceError(str(error)) from None

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"it has more than {self._limit_bytes} bytes")
        self.sha256.update(data)
        return self._opened.write(data)

    def close(self) -> None:
        self._opened.close()


class _Store:
    """Unpacked packages, by the SHA-256 of the file that each came in."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._directory = Path(asked["store"])
        self._limits = asked["limits"]
        self._scratches = contextlib.ExitStack()
        self._unpacked: dict[str, Path] = {}
        self._downloads = asyncio.Semaphore(_DOWNLOADS)
        self._unpackers = asyncio.Semaphore(_UNPACKERS)

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *_: object) -> None:
        """Put what is unpacked into the store, once it is on disk: nothing looks at it again."""
        with self._scratches:
            if self._unpacked:
                flush_file_system(self._directory)
            for digest, tree in self._unpacked.items():
                # Another process may have been faster.
                with contextlib.suppress(OSError):
                    tree.rename(self._directory / digest)

    async def contents(self, package: Mapping[str, Any]) -> Contents:
        """Return what is in a package; download it if it is not there."""
        name = package["url"].rpartition("/")[2]
        directory = self._directory / package["sha256"]
        try:
            if not directory.is_dir():
                directory = await self._unpack(package, name)
            found = examine(directory)
        except (LittlestHubError, OSError) as error:
            raise LittlestHubError(f"{name}: {error}") from None
        said = f"{found.name}-{found.version}-{found.build}"
        if said != name.removesuffix(".conda").removesuffix(".tar.bz2"):
            raise LittlestHubError(f"{name}: it says that it is {said}")
        if directory.name != package["sha256"]:
            self._unpacked[package["sha256"]] = directory
        return found

    async def _unpack(self, package: Mapping[str, Any], name: str) -> Path:
        from rattler import package_streaming

        scratch = self._scratches.enter_context(_scratch(self._directory))
        archive, tree = Path(scratch, name), Path(scratch, "tree")
        limit_bytes = package["size_bytes"] or self._limits["package_bytes"]
        download = _Digesting(archive, limit_bytes)
        async with self._downloads:
            with contextlib.closing(download):
                await download.receive(package["url"])
        digest = download.sha256.hexdigest()
        if digest != package["sha256"]:
            raise LittlestHubError(
                f"the file has the SHA-256 {digest}, expected {package['sha256']}"
            )
        async with self._unpackers:
            _say(line=f"unpacking {name}")
            try:
                await asyncio.to_thread(package_streaming.extract, archive, tree)
            except Exception as error:  # rattler has no common class for its errors
                raise LittlestHubError(f"cannot be unpacked: {error}") from None
        archive.unlink()
        conda_package.tidy(tree, self._limits["unpacked_bytes"], self._limits["files"])
        return tree


def _scratch(directory: Path) -> tempfile.TemporaryDirectory[str]:
    # A thread that unpacks may still be busy when another package has failed.
    return tempfile.TemporaryDirectory(
        prefix=f"{NEW}{os.getpid()}-", dir=directory, ignore_cleanup_errors=True
    )


def examine(directory: Path) -> Contents:
    """Return what is in an unpacked package."""
    import rattler

    try:
        listed = rattler.PathsJson.from_package_directory_with_deprecated_fallback(directory)
        index = rattler.IndexJson.from_package_directory(directory)
        is_for_any_python = bool(index.noarch and index.noarch.python)
    except Exception as error:  # rattler has no common class for its errors
        raise LittlestHubError(f"its metadata: {error}") from None
    paths = []
    for each in listed.paths:
        found = each.prefix_placeholder
        placeholder = "" if found is None else (found.placeholder or "?")
        paths.append((str(each.relative_path), placeholder))
    return conda_package.examine(directory, paths, is_for_any_python=is_for_any_python)


async def fetch(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Download packages that are not there, unpack them, and return what they are."""
    found = await _contents(asked)
    _check_machine(found)
    return {
        "packages": [
            {"name": each.name, "version": each.version, "dists": dict(each.dists)}
            for each in found
        ]
    }


async def _contents(asked: Mapping[str, Any]) -> list[Contents]:
    with _Store(asked) as store:
        work = [asyncio.create_task(store.contents(each)) for each in asked["packages"]]
        try:
            found = await asyncio.gather(*work)
        finally:
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
    limit_bytes = asked["limits"]["unpacked_bytes"]
    if sum(each.size_bytes for each in found) > limit_bytes:
        raise LittlestHubError(f"its packages unpack to more than {limit_bytes >> 20} MB")
    return found


def _check_machine(packages: Collection[Contents]) -> None:
    """Refuse packages for another machine, which a lock file may list."""
    import rattler

    machine = {}
    for each in _machine():
        name = each.name.normalized
        build = rattler.BuildString(str(each.build_string))
        record = rattler.PackageRecord(name, str(each.version), build, 0, _SUBDIR)
        machine[name] = record
    for package in packages:
        for text in package.depends:
            name = text.split(" ", 1)[0]
            if not name.startswith("__") or name in _OF_DEVICES:
                continue
            if not (name in machine and rattler.MatchSpec(text).matches(machine[name])):
                has = f"{machine[name].version}" if name in machine else "none"
                raise LittlestHubError(
                    f"{package.name} {package.version} needs {text}; this machine has {has}"
                )


async def link(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Link packages that are there into a new prefix."""
    import rattler

    found = await _contents(asked)
    python = next((each for each in found if each.name == "python"), None)
    records = []
    with _scratch(Path(asked["store"])) as scratch:
        # rattler's own names for packages do not tell two with the same version apart.
        for package, contents in zip(asked["packages"], found, strict=True):
            directory = Path(asked["store"], package["sha256"])
            name = f"{contents.name}-{contents.version}-{contents.build}"
            Path(scratch, name).symlink_to(directory)
            record = rattler.PackageRecord.from_index_json(
                directory / "info" / "index.json", sha256=package["sha256"]
            )
            channel = package["url"].rsplit("/", 2)[0]
            file = package["url"].rpartition("/")[2]
            records.append(rattler.RepoDataRecord(record, file, package["url"], channel))
        modules = _modules(records)
        conda_package.check_together(found, modules if python else "lib/python")
        _say(line=f"linking {len(records)} packages")
        await rattler.install(
            records,
            Path(asked["prefix"]),
            package_cache=rattler.PackageCache.new_layered(
                [Path(scratch)], False, rattler.ValidationMode.skip()
            ),
            installed_packages=[],
            execute_link_scripts=False,
            show_progress=False,
            client=rattler.Client([]),
            config=rattler.Config.from_toml(_LINKS),
        )
    return {"modules": modules}


def _modules(records: Collection[Any]) -> str:
    """Return where the Python of an environment has modules; "": it has no Python."""
    for each in records:
        if each.name.normalized == "python":
            version = ".".join(str(each.version).split(".")[:2])
            own: str | None = each.python_site_packages_path
            return own or f"lib/python{version}/site-packages"
    return ""


def _client() -> Any:
    """Return a client without anybody's passwords, which rattler looks for by default."""
    import rattler
    from rattler.networking.middleware import RetryMiddleware

    return rattler.Client([RetryMiddleware(_RETRIES)])


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def _answered(asked: Mapping[str, Any]) -> dict[str, Any]:
    match asked["what"]:
        case "solve":
            return await solve(asked)
        case "lock":
            return await asyncio.to_thread(read_lock, asked)
        case "fetch":
            return await fetch(asked)
        case _:
            return await link(asked)


def main() -> None:
    """Answer the request on standard input."""
    import_path.append_packages(sys.argv[1] or None, _TOOLS)
    asked = json.load(sys.stdin)
    code = 1
    try:
        _say(done=asyncio.run(_answered(asked)))
        code = 0
    except _ConflictError as error:
        _say(failed=str(error), why="conflict")
    except _SilenceError as error:
        _say(failed=str(error), why="silence")
    except Exception as error:  # rattler has no common class for its errors
        _say(failed=str(error) or type(error).__name__, why="")
    # Threads of rattler may abort the interpreter while it exits.
    os._exit(code)


if __name__ == "__main__":
    main()
