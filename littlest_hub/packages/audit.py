"""Known vulnerabilities of packages: what the release and the package index know of them."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.packages import overlay
from littlest_hub.packages.advisory import Advisory
from littlest_hub.packages.lock import Lock, Wheel
from littlest_hub.system import package_index
from littlest_hub.system.files import write


@dataclass(frozen=True)
class Vulnerability:
    """A package of an overlay that an advisory affects."""

    package_set: PackageSet
    wheel: Wheel
    advisory: Advisory

    def command(self, layout: Layout) -> str:
        """Return the command that helps; "": nobody has fixed it."""
        if not self.advisory.fixed:
            return ""
        wanted = f"'{self.wheel.name}>={self.advisory.fixed}'"
        return " ".join(
            filter(None, [layout.command, "packages", "add", self.package_set.option, wanted])
        )

    def to_json(self) -> dict[str, Any]:
        """Return the vulnerability as a JSON object."""
        return {
            "set": self.package_set,
            "name": self.wheel.name,
            "version": self.wheel.version,
            "id": self.advisory.id,
            "about": self.advisory.about,
            "fixed": self.advisory.fixed or None,
            "source": self.advisory.source,
        }

    def __str__(self) -> str:
        about = self.advisory
        name = f"{self.wheel.name} {self.wheel.version} ({self.package_set})"
        return f"{name} has {about.id}: {about.about}; {about.remedy}; {about.source}"


@dataclass(frozen=True)
class Audit:
    """The vulnerabilities of all sets, and who was asked."""

    vulnerabilities: Sequence[Vulnerability]
    count: int
    """Number of packages."""
    release_date: str
    """Date of the newest advisory of the release."""
    index_date: str
    """The day on which the index was last asked; "": never."""
    index_error: str
    """The reason why it could not be asked now; "": it was asked."""

    def to_json(self) -> dict[str, Any]:
        """Return the audit as a JSON object."""
        return {
            "vulnerabilities": [each.to_json() for each in self.vulnerabilities],
            "packages": self.count,
            "release_date": self.release_date,
            "index_date": self.index_date or None,
            "index_error": self.index_error,
        }

    def text(self, layout: Layout) -> str:
        """Return the audit for people."""
        lines = []
        for each in self.vulnerabilities:
            command = each.command(layout)
            lines += [str(each), *([f"    {command}"] if command else [])]
        if not lines:
            lines += [f"No known vulnerability in {self.count} packages."]
        lines += [f"Known to this release: advisories up to {self.release_date}."]
        if self.index_error:
            last = f"last asked on {self.index_date}" if self.index_date else "never asked"
            lines += [f"The package index does not answer ({self.index_error}); {last}."]
        elif self.index_date:
            lines += [f"Known to the package index: as of today, {self.index_date}."]
        return "\n".join(lines)


def audit(layout: Layout, prefix: Path, *, is_offline: bool = False) -> Audit:
    """Compare the packages of a release with the advisories of the release and of the index.

    What the index says is kept for later, when it cannot be asked.

    Raises:
        LittlestHubError: the lock, the release's advisories or what was kept cannot be read.
    """
    lock = overlay.present_lock(layout, prefix)
    shipped, release_date = _shipped(layout)
    date, kept = _kept(layout)
    reason = ""
    packages = sorted({(each.name, each.version) for each in lock.all_wheels()})
    if packages and not is_offline:
        try:
            kept = dict(_from_index(package_index.vulnerabilities(packages)))
            date = datetime.datetime.now(datetime.UTC).date().isoformat()
            _keep(layout, date, kept)
        except package_index.NoAnswerError as error:
            reason = str(error)
    found = [*_affected(lock, [*shipped, *(each for group in kept.values() for each in group)])]
    return Audit(found, len(packages), release_date, date, reason)


def _affected(lock: Lock, advisories: Sequence[Advisory]) -> Iterator[Vulnerability]:
    """Yield each vulnerability of a package once; the release's advisories come first."""
    for package_set, wheels in lock.wheels.items():
        for wheel in wheels:
            found: dict[str, Advisory] = {}
            for advisory in advisories:
                is_same = canonicalize_name(advisory.package) == wheel.name
                if is_same and advisory.affects(wheel.version):
                    found.setdefault(advisory.id, advisory)
            yield from (Vulnerability(package_set, wheel, each) for each in found.values())


def _shipped(layout: Layout) -> tuple[list[Advisory], str]:
    """Return the advisories that the release brings, and the date of the newest."""
    file = layout.on_disk(layout.advisories)
    try:
        record = json.loads(file.read_text())
        return [_advisory(each) for each in record["advisories"]], str(record["newest"])
    except FileNotFoundError:
        raise LittlestHubError(
            f"{file} is not there: this release was not built as ours are, and knows no advisories",
            "Look up the versions of `littlest-hub packages list` elsewhere",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LittlestHubError(f"{file} cannot be read: {error}") from error


def _kept(layout: Layout) -> tuple[str, dict[str, list[Advisory]]]:
    """Return when the index was last asked, and what it said, by package and version."""
    file = layout.on_disk(layout.audit)
    try:
        record = json.loads(file.read_text())
        found = {
            name: [_advisory(each) for each in group] for name, group in record["found"].items()
        }
        return str(record["asked"]), found
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LittlestHubError(f"{file} is damaged: {error}", f"Remove it: rm {file}") from error


def _keep(layout: Layout, date: str, found: Mapping[str, Sequence[Advisory]]) -> None:
    record = {
        "asked": date,
        "found": {name: [asdict(each) for each in group] for name, group in found.items()},
    }
    with contextlib.suppress(PermissionError):
        write(layout.on_disk(layout.audit), json.dumps(record, indent=1) + "\n")


def _from_index(
    answers: Mapping[tuple[str, str], Iterable[Mapping[str, Any]]],
) -> Iterator[tuple[str, list[Advisory]]]:
    for (name, version), records in answers.items():
        found = [_of_record(name, version, each) for each in records if not each.get("withdrawn")]
        yield f"{name}=={version}", found


def _of_record(name: str, version: str, record: Mapping[str, Any]) -> Advisory:
    """Return the advisory that a record of the index is."""
    names = [*map(str, record.get("aliases") or ()), str(record.get("id", "?"))]
    about = str(record.get("summary") or record.get("details") or "see its source")
    return Advisory(
        id=next((each for each in names if each.startswith("CVE-")), names[-1]),
        package=name,
        affected=(f"=={version}",),
        fixed=_first_later(version, map(str, record.get("fixed_in") or ())),
        source=str(record.get("link") or ""),
        about=" ".join(about.split())[:120],
    )


def _first_later(version: str, others: Iterable[str]) -> str:
    """Return the lowest of some versions that is later than this one; "": none is."""
    later = []
    for each in others:
        with contextlib.suppress(InvalidVersion):
            if Version(each) > Version(version):
                later.append(Version(each))
    return str(min(later)) if later else ""


def _advisory(record: Mapping[str, Any]) -> Advisory:
    return Advisory(**{**record, "affected": tuple(record["affected"])})
