"""Environments of conda: their lock, and how they are made from it.

Packages of conda bring the environment's Python, so it is any version that a channel has. Wheels
for pip come on top, and never replace what conda has installed: that version is a constraint of
theirs. Neither part runs the environment's Python, which would run what packages hook into it;
uv runs the release's, and is told the version.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.stacks.launch.builder.lock import KERNEL, Local, Lock, Target, resolve_wheels
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.contents import shown
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind
from littlest_hub.stacks.launch.environment.requirements import USUAL_HOSTS, Wanted, is_name
from littlest_hub.system.conda_package import NEW
from littlest_hub.system.progress import Progress
from littlest_hub.system.rattler import (
    PACKAGE,
    ConflictError,
    Fetched,
    Package,
    Rattler,
    Wheel,
)
from littlest_hub.system.uv import Indexes, NoSolutionError, Uv

_LOCKS = (Kind.CONDA_LOCK, Kind.PIXI)
MOST_PACKAGES = 2000
# Without "$": uv replaces variables, such as that with the password of an index.
_WHEEL = re.compile(r"https://[!#%-~]+\.whl(?:#[!#%-~]*)?")
# Linux cuts longer ones, in older kernels (execve(2)).
_LONGEST_SHEBANG = 127


def is_of_conda(environment: Environment) -> bool:
    """Return whether an environment consists of packages of conda."""
    return environment.kind in (*_LOCKS, Kind.CONDA) or bool(environment.of_conda.specs)


def rattler_of(layout: Layout, release: Path, place: Place) -> Rattler | None:
    """Return py-rattler of an installation; None: it has none."""
    overlay = installation.active_overlay(layout, release)
    if overlay is None or not (overlay / PackageSet.TOOLS / "rattler").is_dir():
        return None
    found = Indexes.of_pip().variables
    names = ("SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY")
    return Rattler(place.packages, overlay, {each: found[each] for each in names if each in found})


@dataclass(frozen=True)
class Conda:
    """The tools that environments of conda are made with."""

    uv: Uv
    interpreter: Path
    """A Python of the release, which uv runs."""
    rattler: Rattler | None = None
    """None: it is missing, so there are no environments of conda."""
    channels: Channels = field(default_factory=Channels)
    """The permitted ones."""

    def holding(self, descriptors: tuple[int, ...]) -> Conda:
        """Return the same, whose programs hold locks until they end."""
        rattler = self.rattler and replace(self.rattler, descriptors=descriptors)
        return replace(self, uv=replace(self.uv, descriptors=descriptors), rattler=rattler)

    def resolve(
        self,
        asked: Environment,
        files: Mapping[str, str],
        as_of: str,
        local: Local,
        report: Progress,
    ) -> Lock:
        """Return the lock of an environment, and fetch its packages.

        Args:
            asked: what a repository asks for.
            files: the texts of its files.
            as_of: a date; what was made later is left out.
            local: wheels that were built for it.
            report: gets lines for people.

        Raises:
            NoSolutionError: what it asks for cannot be had together.
            LittlestHubError: a channel does not answer, or a package is not harmless.
        """
        wanted = asked.wanted
        if asked.kind in _LOCKS:
            file = f"{asked.directory}/{asked.kind}" if asked.directory else str(asked.kind)
            packages, wheels = self._rattler.read_lock(asked.kind, files[file])
            wanted = _of_wheels(wheels)
        else:
            packages = self._solved(asked, as_of)
        conda = self.checked(packages)
        fetched = self._rattler.fetch(conda, report)
        python = next((each.version for each in fetched if each.name == "python"), "")
        if not python:
            raise LittlestHubError(f"{asked.kind}: it has no python, which a kernel needs")
        has_kernel = any(KERNEL in each.dists for each in fetched)
        if not has_kernel:
            wanted = replace(wanted, packages=[*wanted.packages, KERNEL])
        if not (wanted.packages or local.requirements):
            return Lock((), (), conda)
        with _known(fetched) as (directory, limits):
            wanted = replace(wanted, constraints=[*wanted.constraints, *limits])
            target = Target(self.interpreter, python, directory)
            found = resolve_wheels(self.uv, target, wanted, as_of, local)
        names = {each.partition("==")[0] for each in limits}
        pins = tuple(each for each in found.pins if each.name not in names)
        return Lock(pins, found.indexes, conda)

    @property
    def _rattler(self) -> Rattler:
        if self.rattler is None:
            raise LittlestHubError(
                f"environments of conda, and other Pythons than that of this hub, need {PACKAGE}",
                f"Ask the administrator: littlest-hub packages add --tool {PACKAGE}",
            )
        return self.rattler

    def checked(self, packages: Sequence[Package]) -> tuple[Package, ...]:
        """Return packages with addresses in permitted channels.

        Raises:
            LittlestHubError: one is in no such channel, or has no SHA-256.
        """
        if len(packages) > MOST_PACKAGES:
            raise LittlestHubError(f"it has more than {MOST_PACKAGES} packages of conda")
        found = []
        for each in packages:
            if not (address := self.channels.file(each.url)):
                channel = each.url.rsplit("/", 2)[0]
                raise LittlestHubError(self.channels.why_not(channel))
            if not each.sha256:
                raise LittlestHubError(
                    f"{each.url}: expected a SHA-256; make the lock file again with the present"
                    " release of its program"
                )
            found.append(replace(each, url=address))
        return tuple(sorted(found))

    def _solved(self, asked: Environment, as_of: str) -> list[Package]:
        specs = list(asked.of_conda.specs)
        names = {each.rpartition("::")[2].split("=")[0].split(" ")[0] for each in specs}
        # Requirements of pip's bring theirs with them.
        if asked.kind is Kind.CONDA and KERNEL not in names:
            specs.append(KERNEL)
        try:
            return self._rattler.solve(asked.of_conda.channels, specs, as_of)
        except ConflictError as error:
            when = f" with packages as of {as_of}" if as_of else ""
            raise NoSolutionError(f"there is no solution{when}: {error.message}") from None

    def make(self, place: Place, lock: Lock, directory: Path, report: Progress) -> None:
        """Make an environment.

        Args:
            place: where wheels are that were built here.
            lock: its packages.
            directory: its final path.
            report: gets lines for people.

        Raises:
            LittlestHubError: it cannot be made.
        """
        packages = self.checked(lock.conda)
        modules = self._rattler.link(packages, directory, report)
        directory.chmod(0o755)
        if lock.pins:
            self._add_wheels(place, lock, directory / modules, directory, report)

    def _add_wheels(
        self, place: Place, lock: Lock, modules: Path, directory: Path, report: Progress
    ) -> None:
        uv = lock.installer(self.uv)
        # A package may have put anything into the environment.
        with (
            tempfile.TemporaryDirectory(prefix=NEW, dir=self._rattler.store) as scratch,
            tempfile.NamedTemporaryFile("w", suffix=".txt") as listed,
        ):
            listed.write(lock.installable(place.wheels))
            listed.flush()
            unpacked = Path(scratch, "wheels")
            uv.unpack(Path(listed.name), unpacked, self.interpreter, lock.python, report)
            _merge(unpacked, directory, modules, self.interpreter)


@contextlib.contextmanager
def _known(fetched: Iterable[Fetched]) -> Iterator[tuple[Path, list[str]]]:
    """Yield a directory with wheels of what conda brings, and constraints that keep its versions.

    An index may have no wheel of it. These are empty, and need nothing: conda has seen to that.
    """
    found = {
        canonicalize_name(name): version
        for each in fetched
        for name, version in each.dists.items()
        # Some packages have versions that are none of Python's.
        if _is_version(version)
    }
    with tempfile.TemporaryDirectory(prefix="littlest-hub-known-") as directory:
        for name, version in found.items():
            _make_stub(Path(directory), name, version)
        yield Path(directory), [f"{name}=={version}" for name, version in found.items()]


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _of_wheels(wheels: Iterable[Wheel]) -> Wanted:
    """Return the wheels of a lock file as requirements.

    Raises:
        LittlestHubError: one is something else, which uv might build.
    """
    wanted = Wanted()
    for each in wheels:
        if not (is_name(each.name) and _is_version(each.version) and _WHEEL.fullmatch(each.url)):
            raise LittlestHubError(
                f"{shown(each.name)} {shown(each.version)}: {shown(each.url)} is no wheel at https"
            )
        is_usual = urlsplit(each.url).hostname in USUAL_HOSTS
        what = f"=={each.version}" if is_usual else f" @ {each.url}"
        wanted.packages.append(f"{each.name}{what}")
        if each.sha256:
            wanted.hashes[canonicalize_name(each.name)] = [f"sha256:{each.sha256}"]
    return wanted


def _make_stub(directory: Path, name: str, version: str) -> None:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(directory / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)


def _merge(scratch: Path, directory: Path, modules: Path, interpreter: Path) -> None:
    """Move unpacked wheels into an environment, with its Python in place of the one that uv ran.

    A file takes the place of another one by its name: what is there may be shared.
    """
    python = directory / "bin" / "python"
    for place, _, names in os.walk(scratch):
        for name in names:
            source = Path(place, name)
            parts = source.relative_to(scratch).parts
            if parts[:1] == ("lib",) and parts[2:3] == ("site-packages",):
                target = modules.joinpath(*parts[3:])
            elif parts == (".lock",):
                continue
            else:
                target = directory.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            if parts[0] == "bin":
                _name_python(source, interpreter, python)
            source.replace(target)


def _name_python(script: Path, old: Path, new: Path) -> None:
    """Let a script name another interpreter, if it names one."""
    data = script.read_bytes()
    first, _, rest = data.partition(b"\n")
    if first == b"#!/bin/sh" and rest.startswith(b"'''exec' "):
        # uv's way to write a long path, in two lines.
        named, _, rest = rest.partition(b"\n")
        _, _, rest = rest.partition(b"\n")
    else:
        named = first
    if not first.startswith(b"#!") or bytes(old) not in named:
        return
    short = b"#!%s\n" % bytes(new)
    if len(short) > _LONGEST_SHEBANG:
        short = b"#!/bin/sh\n'''exec' '%s' \"$0\" \"$@\"\n' '''\n" % bytes(new)
    mode = script.stat().st_mode
    script.unlink()  # it may be one with the cache
    script.write_bytes(short + rest)
    script.chmod(mode)
