"""The description of a record that a DOI names, in an archive such as Zenodo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_LONGEST = 300


@dataclass(frozen=True)
class Published:
    """A record at one version; its texts are those of strangers."""

    title: str = ""
    version: str = ""
    doi: str = ""
    """The DOI of exactly this version, if the archive says it."""
    kind: str = ""
    """Its kind, in the words of its authors, such as "Software" or "Dataset"."""
    page: str = ""
    """The address of its page, as the archive has registered it."""
    unpacked: str = ""
    """The archive file that was unpacked; "": its files are those of the record."""

    def __post_init__(self) -> None:
        for each in fields(self):
            # Other programs print it; pages escape it.
            object.__setattr__(self, each.name, _shown(getattr(self, each.name)))
        # "javascript:" in a link would run in the page.
        if not self.page.startswith("https://"):
            object.__setattr__(self, "page", "")

    @classmethod
    def of_values(cls, values: Mapping[str, Any] | None) -> Published | None:
        """Return the record with these values; None: there is none.

        Raises:
            TypeError: they are no texts, or those of another release.
        """
        if values is None:
            return None
        if not all(isinstance(each, str) for each in values.values()):
            raise TypeError("expected texts")
        return cls(**values)


def _shown(text: str) -> str:
    """Return a text on one line, short, and without what could change the text around it."""
    line = " ".join(text[: 4 * _LONGEST].split())
    plain = "".join(each if each.isprintable() else " " for each in line)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
