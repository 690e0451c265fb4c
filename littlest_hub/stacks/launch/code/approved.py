"""Code of a repository that somebody has approved: what of it is run, and on what.

The builder has judged the order again; what is run here is covered by its reasons. It reaches the
hosts that were approved and that the files still name, and nothing at all if the order says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.address import Network
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.code import units
from littlest_hub.stacks.launch.code.client import CodeTier, of_sockets, without_password
from littlest_hub.stacks.launch.code.jobs import Job, Wheel
from littlest_hub.stacks.launch.code.proxy import place_of
from littlest_hub.stacks.launch.environment.environment_files import Environment
from littlest_hub.stacks.launch.environment.requirements import Built, Wanted
from littlest_hub.stacks.launch.order import Order
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.system import package_index
from littlest_hub.system.progress import Progress
from littlest_hub.system.uv import Uv

_USUAL_INDEX = "https://pypi.org/simple"


class Code:
    """Runs what an order has approved.

    Args:
        tier: the units that run it.
        python: the interpreter of environments.
        index: address of the main index.
        sources: the directory of repositories' files.
        certificates: a file with the certificate authorities of indexes; "": there is none.
    """

    def __init__(
        self, tier: CodeTier, python: Path, index: str, sources: Path, certificates: str = ""
    ) -> None:
        self._tier, self._python, self._index, self._sources = tier, python, index, sources
        self._certificates = certificates

    def wheels(self, environment: Environment, asked: Order, report: Progress) -> list[str]:
        """Build what is not to be had as a wheel.

        Returns:
            Requirements for what has been built, as `lock.resolve` takes them.

        Raises:
            LittlestHubError: it cannot be built.
        """
        wanted = environment.wanted
        approved = [Built(name=name) for name in asked.built]
        todo = [each for each in (*wanted.built, *approved) if _is_for_us(each)]
        job = self._job(environment, asked, [_wheel(each, wanted) for each in todo])
        needs_files = any(each.what.startswith("./") for each in todo)
        files = self._files(asked) if needs_files else None
        found = self._tier.build(job, files, report)
        lines = []
        for source, wheel in zip(todo, found, strict=True):
            marker = f" ; {source.marker}" if source.marker else ""
            where = f"built:{wheel.digest}/{wheel.file}"
            lines.append(f"{wheel.name}{source.extras} @ {where}{marker}")
        return lines

    def run_script(
        self,
        script: str,
        environment: Environment,
        asked: Order,
        directory: Path,
        report: Progress,
    ) -> None:
        """Run a script in a copy of an environment, which then replaces the environment.

        Args:
            script: its path in the repository.
            environment: what the repository asks for.
            asked: the order.
            directory: the environment.
            report: gets lines for people.

        Raises:
            LittlestHubError: it fails.
        """
        result = directory.with_name(f".new-{directory.name}")
        shutil.rmtree(result, ignore_errors=True)
        job = self._job(environment, asked, [], str(directory), script)
        try:
            self._tier.run(job, self._files(asked), result, report)
            shutil.rmtree(directory)
            result.rename(directory)
        finally:
            shutil.rmtree(result, ignore_errors=True)

    def _files(self, asked: Order) -> Path:
        files = self._sources / asked.source / "files"
        if not asked.source or not files.is_dir():
            raise LittlestHubError("the files of the repository are not there any more")
        return files

    def _job(
        self,
        environment: Environment,
        asked: Order,
        wheels: Sequence[Wheel],
        directory: str = "",
        script: str = "",
    ) -> Job:
        wanted = environment.wanted
        main, others = _indexes(wanted.indexes)
        # Hosts that are approved, but not named any more, are not reached either.
        hosts = [each for each in environment.hosts if each in asked.hosts]
        addresses = [main or self._index, *others] if asked.is_online else []
        links = _addresses(wanted.indexes, "--find-links") if asked.is_online else []
        return Job(
            python=str(self._python),
            wheels=tuple(wheels),
            constraints=tuple(wanted.constraints),
            indexes=tuple(map(without_password, addresses)),
            find_links=tuple(links),
            hosts=tuple(hosts) if asked.is_online else (),
            certificates=self._certificates,
            environment=directory,
            script=script,
        )


def code_of(layout: Layout, uv: Uv, python: Python, excepted: Collection[Network]) -> Code:
    """Return what runs code in the units of an installation.

    Args:
        layout: the installation.
        uv: the program, whose main index is this machine's.
        python: the release's Python.
        excepted: networks that are not public, and that the administrator permits.
    """
    place = Place.of(layout)
    index = uv.indexes.default or _USUAL_INDEX
    trusted = [found] if (found := place_of(index)) else []
    connects = of_sockets(units.seen_by_builder(layout))
    tier = CodeTier(place, connects, trusted, places_of_files, excepted)
    certificates = uv.indexes.authorities
    return Code(tier, python.program(place), index, sources_of(layout), certificates)


def places_of_files() -> set[tuple[str, int]]:
    """Return the places to which the index of this machine links for its files."""
    places = map(place_of, package_index.addresses_of_files())
    return {each for each in places if each}


def _is_for_us(source: Built) -> bool:
    return not source.marker or Marker(source.marker).evaluate()


def _wheel(source: Built, wanted: Wanted) -> Wheel:
    if source.what and not source.what.startswith("=="):
        return Wheel(source.what)
    name = canonicalize_name(source.name)
    hashes = wanted.hashes.get(name, ())
    return Wheel(f"{name}{source.what or _versions(name, wanted.packages)}", name, tuple(hashes))


def _versions(name: str, packages: Iterable[str]) -> str:
    """Return which versions of a package are asked for, such as "<2"."""
    for each in packages:
        try:
            found = Requirement(each)
        except InvalidRequirement:  # the address of a wheel
            continue
        if canonicalize_name(found.name) == name and not found.url:
            return str(found.specifier)
    return ""


def _indexes(lines: Iterable[str]) -> tuple[str, list[str]]:
    """Return the main index that a repository names, or "", and others."""
    main = _addresses(lines, "--index-url")
    return (main[0] if main else ""), _addresses(lines, "--extra-index-url")


def _addresses(lines: Iterable[str], option: str) -> list[str]:
    return [each.partition(" ")[2] for each in lines if each.startswith(f"{option} ")]
