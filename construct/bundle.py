"""Bundles: the packages of a stack in one file, for hubs without a network.

`littlest-hub packages add --from` takes a bundle. Its lock is a file of the checkout, made when the
bundle is built for the first time, so the same checkout gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from construct import wheels
from construct.cache import Cache
from construct.condapkg import EPOCH_S
from construct.progress import Progress
from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PackageSet
from littlest_hub.manifest import discovery
from littlest_hub.packages import lock as locks
from littlest_hub.packages import requirements
from littlest_hub.packages.lock import Lock

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Wanted:
    """The wanted contents of a bundle."""

    name: str
    requested: Mapping[PackageSet, tuple[str, ...]]
    lock: Path
    """The file that says which wheels these are."""


def find(root: Path, name: str) -> Wanted:
    """Return what a stack needs, or what the lists in a directory ask for.

    Args:
        root: the checkout.
        name: a stack, or a directory with hub.txt, server.txt or tools.txt; one in
            construct/bundles/ by its name.

    Raises:
        LittlestHubError: there is neither, or it asks for nothing.
    """
    ready = root / "construct" / "bundles" / name
    directory = ready if ready.is_dir() else Path(name).absolute()
    if directory.is_dir():
        files = {each: directory / f"{each}.txt" for each in PackageSet}
        lists = {each: requirements.read_list(file, file) for each, file in files.items()}
        requested = requirements.texts({each: tuple(asked) for each, asked in lists.items()})
        found = Wanted(directory.name, requested, directory / locks.FILE)
    else:
        stacks = {stack.name: stack.manifest.packages for stack in discovery.shipped().values()}
        if name not in stacks:
            known = ", ".join(sorted(each for each, packages in stacks.items() if packages))
            raise LittlestHubError(
                f"{name} is neither a stack nor a directory",
                f"Stacks with packages: {known or 'none'}. A directory has hub.txt, server.txt or"
                " tools.txt, with a requirement on each line",
            )
        requested = {each: tuple(stacks[name].get(each, ())) for each in PackageSet}
        found = Wanted(name, requested, root / "construct" / "bundles" / f"{name}.json")
    if not any(found.requested.values()):
        raise LittlestHubError(f"{name} asks for no packages")
    if not _NAME.fullmatch(found.name):
        raise LittlestHubError(
            f"{found.name!r} cannot be a part of a file's name",
            "Expected a directory whose name has lower-case letters, digits and -",
        )
    return found


def build(
    root: Path, wanted: Wanted, output: Path, cache: Cache, *, is_new_lock: bool = False
) -> Path:
    """Write a bundle and its .sha256 to a directory. Return the bundle's path.

    Args:
        root: the checkout, whose versions the bundle fits.
        wanted: the contents.
        output: the directory.
        cache: earlier downloads.
        is_new_lock: choose the versions again.

    Raises:
        LittlestHubError: the lock does not fit the lists or the release, or a wheel cannot be had.
    """
    again = f"python -m construct --bundle {wanted.name} --update-locks"
    present = pins(root)
    if is_new_lock or not wanted.lock.exists():
        lock = _choose(wanted, present, cache)
        wanted.lock.parent.mkdir(parents=True, exist_ok=True)
        wanted.lock.write_text(lock.to_json())
    lock = locks.read(wanted.lock.parent, wanted.lock.name)
    if lock.requested != wanted.requested or lock.release != __version__:
        raise LittlestHubError(f"{wanted.lock} was made for other lists or another release", again)
    found = {each: wheels.download(_text(lock, each), cache) for each in _sets(lock)}
    for package_set, files in found.items():
        for problem in _unfulfilled(lock.requested[package_set], files, present):
            raise LittlestHubError(f"{wanted.lock} does not fit this release: {problem}", again)
    output.mkdir(parents=True, exist_ok=True)
    bundle = output / f"littlest-hub-{wanted.name}-{__version__}.tar"
    _write(
        bundle, lock, {file.path.name: file for each in found.values() for file in each.values()}
    )
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    bundle.with_suffix(".tar.sha256").write_text(f"{digest}  {bundle.name}\n")
    return bundle


def pins(root: Path) -> dict[str, str]:
    """Return the versions of a release's Python packages by name, our own included."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    tools = map(Requirement, project["build-system"]["requires"])
    build_only = {canonicalize_name(each.name) for each in tools}
    lock = wheels.read_lock((root / "construct" / "wheels.lock").read_text())
    found = {each.name: each.version for each in lock if each.name not in build_only}
    return {**found, "littlest-hub": __version__}


def _choose(wanted: Wanted, present: Mapping[str, str], cache: Cache) -> Lock:
    chosen = {}
    fixed = [f"{name}=={version}" for name, version in present.items() if name != "littlest-hub"]
    for package_set, texts in wanted.requested.items():
        if texts:
            with Progress("lock", 1).step(", ".join(texts), announce=True):
                text = wheels.resolve(texts, cache, fixed)
                files = wheels.download(text, cache)
            digests = {each.name: each.sha256 for each in wheels.read_lock(text)}
            chosen[package_set] = tuple(
                locks.Wheel(file.name, file.version, file.path.name, digests[name])
                for name, file in sorted(files.items())
            )
    return Lock(__version__, wanted.requested, chosen)


def _sets(lock: Lock) -> list[PackageSet]:
    return [each for each, texts in lock.requested.items() if texts]


def _text(lock: Lock, package_set: PackageSet) -> str:
    entries = lock.wheels.get(package_set, ())
    return wheels.format_lock(
        wheels.Locked(each.name, each.version, each.sha256) for each in entries
    )


def _unfulfilled(
    texts: Sequence[str], files: Mapping[str, wheels.Wheel], present: Mapping[str, str]
) -> Iterator[str]:
    """Yield what the wheels of a set need that neither they nor the release have."""
    versions = {**{name: file.version for name, file in files.items()}, **present}
    todo = [("the list", Requirement(text)) for text in texts]
    done = set()
    while todo:
        who, needed = todo.pop()
        name = canonicalize_name(needed.name)
        version = versions.get(name)
        if version is None or not needed.specifier.contains(version, prereleases=True):
            yield f"{who} needs {needed}, it has {version or 'none'}"
        if name in files and (name, *sorted(needed.extras)) not in done:
            done.add((name, *sorted(needed.extras)))
            todo += [
                (f"{name} {version}", each) for each in files[name].requirements(needed.extras)
            ]


def _write(bundle: Path, lock: Lock, files: Mapping[str, wheels.Wheel]) -> None:
    """Write the archive, whole or not at all."""
    contents = {f"wheels/{name}": file.path.read_bytes() for name, file in files.items()}
    contents[locks.FILE] = lock.to_json().encode()
    stated = {
        f"{file.name}-{file.version}": {
            "type": wheels.license_name(file),
            "files": [{"path": path, "text": text} for path, text in wheels.licenses(file).items()],
        }
        for file in files.values()
    }
    contents["licenses.json"] = (json.dumps(stated, indent=2, sort_keys=True) + "\n").encode()
    sums = [
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())
    ]
    contents["SHA256SUMS"] = "".join(sums).encode()
    part = bundle.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(contents.items()):
            member = tarfile.TarInfo(f"{bundle.stem}/{name}")
            member.size, member.mtime, member.mode = len(data), EPOCH_S, 0o644
            archive.addfile(member, io.BytesIO(data))
    part.replace(bundle)
