"""The last switch from one release to another, recorded so that it can be undone."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlest_hub.layout import Layout
from littlest_hub.lifecycle import release
from littlest_hub.lifecycle.unit_files import GeneratedFiles, UnitFiles
from littlest_hub.system.files import write
from littlest_hub.system.sd_daemon import log_to_journal

ERROR, NOTICE = 3, 5
"""Priorities of syslog(3)."""


@dataclass(frozen=True)
class ServingRelease:
    """A release that serves, or served, or is going to."""

    path: str
    """Relative to the base directory, as the `hub` link has it: releases/VERSION."""
    version: str
    files: GeneratedFiles | None = None
    """None: it has generated none yet."""

    def prefix(self, layout: Layout) -> Path:
        return layout.base / self.path

    def is_present(self, layout: Layout) -> bool:
        return release.is_present(layout, self.prefix(layout))

    def to_json(self) -> dict[str, Any]:
        files = self.files and self.files.to_json()
        return {"release": self.path, "version": self.version, "files": files}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServingRelease:
        files = data["files"]
        return cls(data["release"], data["version"], files and GeneratedFiles.from_json(files))

    @classmethod
    def of(cls, layout: Layout, prefix: Path) -> ServingRelease:
        """Return the release in a prefix, which has generated no files yet."""
        return cls(str(prefix.relative_to(layout.base)), release.version_of(layout, prefix))

    @classmethod
    def with_files(cls, layout: Layout, prefix: Path) -> ServingRelease:
        """Return the release that serves now, with the files that it has generated."""
        now = cls.of(layout, prefix)
        return cls(now.path, now.version, UnitFiles(layout).generated())


@dataclass(frozen=True)
class Switch:
    """A switch between two releases; the content of state/switch.json."""

    verb: str
    """upgrade, rollback or return."""
    source: ServingRelease
    target: ServingRelease
    is_done: bool = False
    earlier: Switch | None = None
    """The last switch that is done, kept until this one is."""

    def to_json(self) -> dict[str, Any]:
        return {
            "verb": self.verb,
            "from": self.source.to_json(),
            "to": self.target.to_json(),
            "is_done": self.is_done,
            "earlier": self.earlier and self.earlier.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Switch:
        return cls(
            data["verb"],
            ServingRelease.from_json(data["from"]),
            ServingRelease.from_json(data["to"]),
            data["is_done"],
            data["earlier"] and cls.from_json(data["earlier"]),
        )


def read(layout: Layout) -> Switch | None:
    """Return the last switch, which may have been interrupted; None: no usable record."""
    try:
        return Switch.from_json(json.loads(layout.on_disk(layout.switch_record).read_text()))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def record(layout: Layout, switch: Switch | None) -> None:
    """Replace the record; None removes it."""
    file = layout.on_disk(layout.switch_record)
    if switch is None:
        file.unlink(missing_ok=True)
        return
    # The hub reads it, whichever user it runs as.
    mode = 0o644 if layout.hub_user else 0o600
    write(file, json.dumps(switch.to_json(), indent=1) + "\n", mode)


def log(layout: Layout, switch: Switch, outcome: str, priority: int = NOTICE) -> None:
    """Append an outcome's first line to state/upgrades.log; write all of it to the journal."""
    versions = f"{switch.source.version} -> {switch.target.version}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    first_line = outcome.partition("\n")[0]
    with contextlib.suppress(OSError), layout.on_disk(layout.upgrade_log).open("a") as file:
        file.write(f"{now} {switch.verb} {versions} {first_line}\n")
    if layout.is_live:
        message = f"{switch.verb} of {layout.base}, {versions}: {outcome}"
        log_to_journal(message, layout.hub_service, priority)
