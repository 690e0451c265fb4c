"""pip, which resolves, downloads and unpacks wheels; it runs no code of a package.

Indexes, proxies and certificates are those of pip's own configuration (pip.conf, PIP_ variables).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError

_COMMON = ("--no-input", "--disable-pip-version-check", "--no-color", "--retries=1")
_CAUSE = re.compile(r"^ {4}(?P<who>.+?) (?:depends on|requested) (?P<what>.+)$", re.MULTILINE)
_OPTION = re.compile(r"^(global|:env:)\.([\w-]+)='(.*)'$", re.MULTILINE)
_PIN = "(constraint)"
_NO_VERSION = re.compile(r"satisfies the requirement (\S+).*\(from versions: (.*)\)")
_NOT_REACHED = re.compile(r"Retrying \(|Could not fetch URL|NewConnectionError|ConnectTimeout")


@dataclass(frozen=True)
class Resolved:
    """One wheel that pip has chosen."""

    name: str
    version: str
    is_yanked: bool


class NoIndexError(LittlestHubError):
    """No package index answers."""


class ConflictError(LittlestHubError):
    """Packages that cannot be installed together."""


class MissingError(LittlestHubError):
    """A package, or a version of one, that has no wheel for this interpreter."""

    def __init__(self, requirement: str, newest: str | None) -> None:
        found = f"the newest with one is {newest}" if newest else "there is none of any version"
        super().__init__(f"no wheel of {requirement} is to be had; {found}")
        self.requirement = requirement
        self.newest = newest
        """The newest version that has a wheel; None: no version has."""


def resolve(
    requirements: Sequence[str], pins: Iterable[str], wheels: Sequence[Path] = ()
) -> list[Resolved]:
    """Choose the wheels that requirements need besides the packages of this interpreter.

    Args:
        requirements: as in PEP 508, without URLs.
        pins: versions that must not change, "NAME==VERSION".
        wheels: directories to choose from; without any, pip's indexes.

    Raises:
        ConflictError: they need other versions than the pins.
        MissingError: there is no wheel.
        NoIndexError: no index answers.
        LittlestHubError: pip fails for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="littlest-hub-pip-") as scratch:
        constraints, report = Path(scratch, "constraints.txt"), Path(scratch, "report.json")
        constraints.write_text("".join(f"{pin}\n" for pin in pins))
        options = ("--dry-run", "--only-binary=:all:", f"--report={report}")
        _pip(
            "install",
            *options,
            f"--constraint={constraints}",
            *_source(wheels),
            "--",
            *requirements,
        )
        found = json.loads(report.read_text())["install"]
    return sorted(
        (
            Resolved(
                name=each["metadata"]["name"],
                version=each["metadata"]["version"],
                is_yanked=bool(each.get("is_yanked")),
            )
            for each in found
        ),
        key=lambda each: each.name.lower(),
    )


def download(wheels: Iterable[Resolved], directory: Path, source: Sequence[Path] = ()) -> None:
    """Download wheels, or copy them from directories.

    Raises:
        LittlestHubError: one cannot be had.
    """
    names = [f"{each.name}=={each.version}" for each in wheels]
    options = ("--no-deps", "--only-binary=:all:", "--dest", str(directory))
    _pip("download", *options, *_source(source), "--", *names)


def unpack(files: Sequence[Path], directory: Path) -> None:
    """Unpack wheels into a directory, modules at its top; compile them.

    Raises:
        LittlestHubError: a wheel is damaged, or would write outside the directory.
    """
    options = ("--no-deps", "--no-index", "--no-warn-script-location", "--target", str(directory))
    _pip("install", *options, "--", *map(str, files))


def versions(name: str) -> list[str]:
    """Return the versions of a package that the indexes have, sources included, newest first."""
    command = [sys.executable, "-I", "-m", "pip", "index", "versions", name, "--json", *_COMMON]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return list(json.loads(done.stdout)["versions"])
    except (ValueError, KeyError):
        return []


def options() -> dict[str, str]:
    """Return pip's general options, such as "index-url" and "proxy", of its files and variables."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list", *_COMMON[:2]]
    printed = subprocess.run(command, capture_output=True, text=True).stdout
    found = {name: value for scope, name, value in _OPTION.findall(printed) if scope == "global"}
    return found | {
        name: value for scope, name, value in _OPTION.findall(printed) if scope[0] == ":"
    }


def default_index() -> str:
    """Return the address of the index that pip uses if its configuration names none."""
    # Private, but pip is pinned, and its help breaks the address into lines.
    program = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _source(wheels: Sequence[Path]) -> list[str]:
    return ["--no-index", *(f"--find-links={each}" for each in wheels)] if wheels else []


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-I", "-m", "pip", arguments[0], *_COMMON, *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise _error(done.stdout, done.stderr)


def _error(printed: str, errors: str) -> LittlestHubError:
    """Return what pip's messages say, as one sentence."""
    if "conflict" in errors:
        causes = [(found["who"], found["what"]) for found in _CAUSE.finditer(printed + errors)]
        return ConflictError(conflict_text(causes) or _first_error(errors))
    if _NOT_REACHED.search(printed + errors):
        return NoIndexError(
            "no package index answers", "Behind a proxy: pip config set global.proxy URL"
        )
    if found := _NO_VERSION.search(errors):
        known = found[2].split(", ")
        return MissingError(found[1], None if known == ["none"] else known[-1])
    return LittlestHubError(_first_error(errors))


def conflict_text(causes: Iterable[tuple[str, str]]) -> str:
    """Return pip's causes of a conflict as one sentence: "X 1.0 needs Y<2, the release has Y 3"."""
    needs, has = [], []
    for who, what in causes:
        if who != "The user":
            needs.append(f"{who} needs {what}")
        elif what.startswith(_PIN):
            has.append(what.removeprefix(_PIN).strip().replace("==", " "))
        else:
            needs.append(f"{what} was asked for")
    parts = [" and ".join(dict.fromkeys(needs)), *(f"the release has {each}" for each in has)]
    return ", ".join(part for part in parts if part)


def _first_error(errors: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in errors.splitlines() if "ERROR" in line]
    if lines and lines[0] != "Exception:":
        return lines[0]
    # The last line of a traceback: "OSError: [Errno 28] No space left on device".
    return next(reversed(errors.strip().splitlines()), "pip failed without a reason")
