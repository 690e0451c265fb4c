"""The lock of an environment: exact packages with their hashes, resolved by uv; and its key.

uv reads nothing that the repository wrote except a uv.lock, and what it answers is taken apart and
written again: a line that is neither a version nor the address of a wheel ends the build.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import posixpath
import re
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.contents import MOST_REMARKS
from littlest_hub.stacks.launch.environment.environment_files import Environment, Kind
from littlest_hub.stacks.launch.environment.requirements import Built, Wanted
from littlest_hub.system.rattler import Package
from littlest_hub.system.uv import NoSolutionError, Uv

FORMAT = 1
"""A number to be raised when the same lock is built in another way, so that it is built again."""
FORMAT_OF_CONDA = 1
"""The same for packages of conda."""
KERNEL = "ipykernel"
_PACKAGE = re.compile(
    r"conda (https?://[!-~]+/(?:linux-64|noarch)/[A-Za-z0-9_.!+-]+\.(?:conda|tar\.bz2))"
    r" --hash=sha256:([0-9a-f]{64})"
)
_BUILT = " @ built:"
_INDEX = re.compile(r"--(?:index-url|extra-index-url|find-links) https://[!-~]+")
_ENTRY = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9._,-]+\])?"
    r"(?P<what>==[A-Za-z0-9.!+_-]+| @ https://[!-~]+\.whl(?:#[!-~]*)?"
    r"| @ built:(?P<built>[0-9a-f]{64})/[A-Za-z0-9.!+_-]+\.whl)"
    r"(?: ; (?P<marker>[^\\]+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})*)"
)


class Tier(StrEnum):
    """The degree of what a build may do."""

    WHEEL = "wheel"
    """It unpacks, and runs nothing of a repository or of a package. Files come from the cache."""
    CODE = "code"
    """It runs code that somebody has approved: as another user, with a copy of what it needs."""


@dataclass(frozen=True, order=True)
class Pin:
    """One package of a lock."""

    name: str
    what: str
    """"==VERSION", " @ ADDRESS" of a wheel, or " @ built:SHA256/FILE" if it was built here."""
    hashes: tuple[str, ...] = ()
    """SHA-256 of each file of this version that may be installed."""
    marker: str = ""

    @property
    def built(self) -> str:
        """Path of a wheel that was built here, among all of them; "": it is another."""
        return self.what.partition(_BUILT)[2]

    @property
    def text(self) -> str:
        """Its line in pip's format."""
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" --hash=sha256:{each}" for each in self.hashes)
        return f"{self.name}{self.what}{marker}{hashes}\n"


@dataclass(frozen=True)
class Lock:
    """All packages of an environment, and the indexes besides that of the machine."""

    pins: tuple[Pin, ...]
    indexes: tuple[str, ...] = ()
    conda: tuple[Package, ...] = ()
    """Packages of conda, the environment's Python among them; none: it has that of the release."""

    @property
    def text(self) -> str:
        """Its text, of which there is one spelling: packages of conda, then pip's format."""
        conda = (f"conda {each.url} --hash=sha256:{each.sha256}\n" for each in sorted(self.conda))
        return "".join(conda) + self._text_of_wheels

    @property
    def _text_of_wheels(self) -> str:
        indexes = "".join(f"{each}\n" for each in self.indexes)
        return indexes + "".join(each.text for each in sorted(self.pins))

    @property
    def python(self) -> str:
        """The version of conda's Python; "": it has none."""
        files = [each.url.rpartition("/")[2] for each in self.conda]
        return next((each.split("-")[1] for each in files if each.startswith("python-")), "")

    @property
    def count(self) -> int:
        """Number of packages."""
        return len(self.conda) + len(self.pins)

    @property
    def names(self) -> frozenset[str]:
        """The packages."""
        return frozenset(each.name for each in self.pins)

    @property
    def built(self) -> frozenset[str]:
        """Paths of the wheels that were built here, among all of them."""
        return frozenset(each.built for each in self.pins if each.built)

    def installable(self, wheels: Path) -> str:
        """Return the part in pip's format, as an installer takes it.

        Args:
            wheels: the directory of wheels that were built here.
        """
        return self._text_of_wheels.replace(_BUILT, f" @ {wheels.as_uri()}/")

    def installer(self, uv: Uv) -> Uv:
        """Return uv with the indexes of this lock."""
        return _with_indexes(uv, self.indexes)


def of_text(text: str) -> Lock:
    """Return the lock with this text.

    Raises:
        LittlestHubError: a line is something else than the address of an index or an exact wheel.
    """
    lines = [each for each in text.replace(" \\\n", " ").splitlines() if each.strip()]
    indexes = [each for each in lines if _INDEX.fullmatch(each)]
    conda = [found for each in lines if (found := _PACKAGE.fullmatch(each))]
    rest = [each for each in lines if not (_INDEX.fullmatch(each) or _PACKAGE.fullmatch(each))]
    packages = tuple(sorted(Package(each[1], each[2]) for each in conda))
    return Lock(tuple(sorted(map(_pin, rest))), tuple(indexes), packages)


def _pin(line: str) -> Pin:
    found = _ENTRY.fullmatch(" ".join(line.split()))
    if not found:
        raise LittlestHubError(f"{line.strip()[:80]!r} is no wheel with an exact version")
    hashes = tuple(sorted(re.findall(r"sha256:([0-9a-f]+)", found["hashes"])))
    if found["built"] and hashes != (found["built"],):
        raise LittlestHubError(f"{found['name']} has another hash than the wheel that was built")
    return Pin(canonicalize_name(found["name"]), found["what"], hashes, found["marker"] or "")


@dataclass(frozen=True)
class Local:
    """Wheels that were built for an environment."""

    requirements: tuple[str, ...] = ()
    """Requirements such as "NAME @ built:SHA256/FILE"."""
    wheels: Path = Path("/nonexistent")
    """The directory of all wheels that were built here."""


def resolve(
    uv: Uv,
    program: Path,
    environment: Environment,
    files: Mapping[str, str],
    as_of: str = "",
    local: Local = Local(),
) -> Lock:
    """Return the lock of an environment: what its files ask for, and a kernel.

    Args:
        uv: the program, with the shared cache.
        program: the interpreter of the environment.
        environment: what a repository asks for, which can be built from wheels.
        files: the texts of its files.
        as_of: a date; what was uploaded later is left out.
        local: what was built for it.

    Raises:
        NoSolutionError: the files' requirements cannot be satisfied together, from wheels.
        NotReachedError: an index does not answer.
        LittlestHubError: it is of another kind, or uv fails otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="littlest-hub-lock-") as scratch:
        wanted = environment.wanted
        if environment.kind is Kind.UV:
            wanted = _of_uv_lock(uv, program, environment, files, Path(scratch, "project"))
        # If the repository pins it, this adds nothing.
        wanted = replace(wanted, packages=[*wanted.packages, KERNEL])
        return resolve_wheels(
            uv, Target(program, own_version=environment.python), wanted, as_of, local
        )


@dataclass(frozen=True)
class Target:
    """The Python that wheels are for."""

    program: Path
    """An interpreter, which is run."""
    version: str = ""
    """The version of the Python, if it is another one; "": that of the interpreter."""
    known: Path | None = None
    """A directory with wheels of what it has already; None: it has nothing."""
    own_version: str = ""
    """The version of the interpreter."""

    @property
    def python(self) -> str:
        """The version that wheels are for."""
        return self.version or self.own_version


def resolve_wheels(
    uv: Uv, target: Target, wanted: Wanted, as_of: str = "", local: Local = Local()
) -> Lock:
    """Return the lock of requirements.

    Args:
        uv: the program, with the shared cache.
        target: what they are for.
        wanted: the requirements.
        as_of: a date; what was uploaded later is left out.
        local: what was built for it.

    Raises:
        NoSolutionError, NotReachedError, LittlestHubError: as `resolve`.
    """
    with tempfile.TemporaryDirectory(prefix="littlest-hub-lock-") as scratch:
        asked, limits = Path(scratch, "asked.txt"), Path(scratch, "limits.txt")
        stored = f" @ {local.wheels.as_uri()}/"
        built = (each.replace(_BUILT, stored) for each in local.requirements)
        known = [f"--find-links {target.known}"] if target.known else []
        lines = (*wanted.indexes, *known, *wanted.packages, *built)
        asked.write_text("".join(f"{each}\n" for each in lines))
        limits.write_text("".join(f"{each}\n" for each in wanted.constraints))
        try:
            text = _with_indexes(uv, wanted.indexes).resolve(
                asked,
                limits,
                target.program,
                as_of=as_of,
                prereleases=wanted.prereleases,
                version=target.version,
            )
        except NoSolutionError as error:
            raise _explained(error, target.python, as_of) from None
    found = of_text(text.replace(stored, _BUILT))
    hashes = _applicable(wanted, target.python)
    pins = tuple(_restricted(each, hashes) for each in found.pins)
    return Lock(pins, tuple(wanted.indexes))


def _with_indexes(uv: Uv, indexes: Iterable[str]) -> Uv:
    has_main = any(each.startswith("--index-url") for each in indexes)
    return uv.without_default() if has_main else uv


def _of_uv_lock(
    uv: Uv, program: Path, environment: Environment, files: Mapping[str, str], project: Path
) -> Wanted:
    """Return what a uv.lock contains, as uv itself reads it."""
    project.mkdir()
    prefix = f"{environment.directory}/" if environment.directory else ""
    for name in ("pyproject.toml", "uv.lock"):
        (project / name).write_text(files.get(prefix + name, ""))
    lines = uv.exported(project, program).replace(" \\\n", " ").splitlines()
    built = environment.wanted.built
    lock = of_text("\n".join(each for each in lines if not _is_of_source(each, built)))
    sources = re.findall(
        r'^source = \{ registry = "(https://[!-~]+)" \}', files[prefix + "uv.lock"], re.M
    )
    others = [each for each in dict.fromkeys(sources) if each != "https://pypi.org/simple"]
    return Wanted(
        packages=[Pin(each.name, each.what, (), each.marker).text.strip() for each in lock.pins],
        indexes=[f"--extra-index-url {each}" for each in others],
        hashes=_hashes(lock),
    )


def _is_of_source(line: str, built: Iterable[Built]) -> bool:
    """Return whether a line of uv's is one of those packages that are built from their source."""
    what = line.partition(" ;")[0].partition(" --hash")[0].removeprefix("-e ").strip()
    name, at, _ = what.partition(" @ ")
    path = f"./{posixpath.normpath(what)}"
    return any(
        (at and canonicalize_name(each.name) == canonicalize_name(name.partition("[")[0]))
        or each.what == path
        for each in built
    )


def _hashes(lock: Lock) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pin in lock.pins:
        found.setdefault(pin.name, []).extend(f"sha256:{each}" for each in pin.hashes)
    return found


def _applicable(wanted: Wanted, python: str) -> dict[str, list[str]]:
    """Return the hashes of packages that are required for a Python.

    A lock file names versions for other Pythons and systems too. Something else may require another
    version of such a package here.
    """
    variables = {
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
    }
    names = set()
    for line in (*wanted.packages, *wanted.constraints):
        with contextlib.suppress(InvalidRequirement):  # the address of a wheel
            found = Requirement(line)
            if not found.marker or found.marker.evaluate(variables):
                names.add(canonicalize_name(found.name))
    return {name: hashes for name, hashes in wanted.hashes.items() if name in names}


def _restricted(pin: Pin, hashes: Mapping[str, list[str]]) -> Pin:
    """Return a package with those of its files alone that the repository's own lock allows."""
    allowed = hashes.get(pin.name)
    if not allowed or pin.built:
        return pin
    kept = tuple(each for each in pin.hashes if f"sha256:{each}" in allowed)
    if not kept:
        raise LittlestHubError(
            f"{pin.name}{pin.what}: no file in the index has a hash that the repository's files"
            " name; it was replaced, or it comes from another index"
        )
    return Pin(pin.name, pin.what, kept)


def _explained(error: NoSolutionError, python: str, as_of: str) -> NoSolutionError:
    cause = error.message.replace("you require", "the repository requires")
    when = f" with packages as of {as_of}" if as_of else ""
    text = f"there is no solution for Python {python}{when}: {cause}"
    if error.sources:
        text += f". It {_needs_code(error.sources)}, which nobody has approved"
    return NoSolutionError(text, error.sources)


def _needs_code(what: Iterable[str]) -> str:
    return f"needs to run code of {', '.join(what)} while it is built"


def check_tier(environment: Environment, approved: Collection[str]) -> Tier:
    """Return the tier that an environment is built in.

    Args:
        environment: as its files ask for it.
        approved: the reasons to run code that somebody has approved.

    Raises:
        LittlestHubError: it runs code for another reason; the message names the lines.
    """
    if missing := [each for each in map(str, environment.code) if each not in approved]:
        raise LittlestHubError(f"it {_needs_code(missing)}, which nobody has approved")
    if len(environment.code) >= MOST_REMARKS:
        # There may be more, which nobody was told.
        raise LittlestHubError(f"it has more than {MOST_REMARKS - 1} reasons to run code")
    return Tier.CODE if environment.code else Tier.WHEEL


def key(
    lock: Lock,
    python: Python,
    uv_version: str,
    tier: Tier = Tier.WHEEL,
    post_build: str = "",
) -> str:
    """Return the name of the environment that a lock becomes.

    Nothing of the commit is in it, and nothing of the machine that a wheel does not depend on. Of
    uv's version it has the part that changes with the way in which it installs (its documentation,
    "Versioning"). A script, though, makes of the same lock whatever it likes: such an environment
    belongs to one order.

    Args:
        lock: its packages.
        python: its Python.
        uv_version: of the program that installs.
        tier: how much its script may do; a wheel that was built is a wheel like others.
        post_build: what the script is and where it runs, or whose code has made a part of it; "":
            neither.
    """
    parts: dict[str, object] = {
        "format": FORMAT,
        "platform": f"{sys.platform}-{platform.machine()}",
        "python": python.digest,
        "uv": ".".join(uv_version.split(".")[:2]),
        "tier": tier,
        "lock": lock.text,
        "post_build": post_build,
    }
    if lock.conda:
        # It has its own Python.
        parts |= {"python": "", "conda": FORMAT_OF_CONDA}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
