"""The list of security advisories, advisories.yaml: read, and written as a release ships it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from construct import document
from construct.conda_names import PYTHON_NAMES
from construct.document import Value
from littlest_hub.errors import LittlestHubError
from littlest_hub.packages.advisory import Advisory

LIST = Path(__file__).with_name("advisories.yaml")
_REQUIRED = ("id", "package", "affected", "date", "source", "about")
_OPTIONAL = ("fixed", "answer")


@dataclass(frozen=True, kw_only=True)
class Entry(Advisory):
    """One entry of the list."""

    date: date
    """The day of publication, or the day we first saw it if the source has none."""
    answer: str = ""
    """The reason why an affected version may be released, and the test that proves it."""


def read(path: Path | None = None) -> list[Entry]:
    """Return the advisories in the list.

    Raises:
        LittlestHubError: an entry is invalid.
    """
    path = path or LIST
    return [_entry(entry) for entry in document.parse(document.read(path), path).items()]


def to_json(path: Path | None = None) -> str:
    """Return the list as the release ships it, with the names of packages on the package index."""
    found = read(path)
    record = {
        "newest": max(each.date for each in found).isoformat(),
        "advisories": [
            {
                "id": each.id,
                "package": PYTHON_NAMES.get(each.package, each.package),
                "affected": each.affected,
                "fixed": each.fixed,
                "source": each.source,
                "about": each.about,
            }
            for each in found
        ],
    }
    return json.dumps(record, indent=1) + "\n"


def _entry(entry: Value) -> Entry:
    keys = entry.keys(_REQUIRED, _OPTIONAL)
    texts = {key: keys[key].text() for key in keys.keys() - {"affected", "date"}}
    affected = keys["affected"].texts()
    try:
        for each in affected:
            SpecifierSet(each)
        Version(texts.get("fixed", "0"))
    except (InvalidSpecifier, InvalidVersion) as error:
        raise LittlestHubError(f"{entry.where}: {texts['id']}: {error}") from error
    return Entry(affected=affected, date=keys["date"].date(), **texts)


if __name__ == "__main__":
    sys.stdout.write(to_json())
