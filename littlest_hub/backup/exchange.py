"""The exchange of old files for restored ones: all of them or none, whatever interrupts it.

Restored files are laid out beside those they replace. Then a record is written in one step. Once it
exists, the restore takes effect, and only renames remain, which any later process can complete. The
next start of the hub completes them: while a restore goes on, a drop-in makes the hub's start wait
for `restore --finish`.

Files are exchanged one by one, and not whole directories: traefik watches proxy/dynamic, which is
bind-mounted into its unit; drop-ins are on another file system; logs, locks and backups in state/
stay. No single rename could replace all of them, so a record is needed. The
directory of a stack's service is exchanged whole: it belongs to the service, which could mislead
root in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import drop_in_directories
from littlest_hub.layout import Layout
from littlest_hub.system.files import write
from littlest_hub.system.locks import hold, holder
from littlest_hub.system.systemctl import daemon_reload

FORWARD = "forward"
BACK = "back"
TIDY = "tidy"


@dataclass(frozen=True)
class Replacement:
    """One file that is replaced, created, removed (`has_new` false) or absent (neither)."""

    target: Path
    has_new: bool
    had_old: bool

    @property
    def new(self) -> Path:
        return self.target.with_name(f".{self.target.name}.restored")

    @property
    def old(self) -> Path:
        return self.target.with_name(f".{self.target.name}.replaced")

    def rename_forward(self) -> None:
        if self.had_old and os.path.lexists(self.target) and not os.path.lexists(self.old):
            self.target.rename(self.old)
        if self.has_new and self.new.exists():
            self.new.rename(self.target)

    def rename_back(self) -> None:
        if os.path.lexists(self.old):
            _remove(self.target)
            self.old.rename(self.target)
        elif not self.had_old:
            _remove(self.target)


@dataclass(frozen=True)
class Exchange:
    """The decision of a restore, as its record holds it."""

    direction: str
    """FORWARD, BACK, or TIDY: nothing is left to rename, or nothing is decided yet."""
    replacements: tuple[Replacement, ...]

    def to_json(self) -> dict[str, Any]:
        files = [[str(each.target), each.has_new, each.had_old] for each in self.replacements]
        return {"direction": self.direction, "replacements": files}

    @classmethod
    def from_json(cls, found: Any) -> Exchange:
        """Convert a parsed record.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        replacements = (
            Replacement(Path(file), new, old) for file, new, old in found["replacements"]
        )
        return cls(found["direction"], tuple(replacements))

    def forward(self) -> Exchange:
        """Return the decision to replace what is there now, when no hub runs."""
        now = (replace(e, had_old=os.path.lexists(e.target)) for e in self.replacements)
        return Exchange(FORWARD, tuple(now))

    def back(self) -> Exchange:
        """Return the decision to undo."""
        return replace(self, direction=BACK)

    def record(self, layout: Layout) -> None:
        write(layout.restore_record, json.dumps(self.to_json()), 0o600)

    def carry_out(self, layout: Layout) -> None:
        """Record the decision and rename; repeatable after an interruption at any point."""
        self.record(layout)
        if self.direction == FORWARD:
            for each in self.replacements:
                each.rename_forward()
        elif self.direction == BACK:
            # In reverse: journals of the new database go before the old database returns.
            for each in reversed(self.replacements):
                each.rename_back()
        # From here on the database's journals are those of the hub that starts.
        replace(self, direction=TIDY).record(layout)

    def tidy(self, layout: Layout) -> None:
        """Remove everything that the restore needed."""
        for each in self.replacements:
            _remove(each.old)
            _remove(each.new)
        layout.restore_record.unlink(missing_ok=True)
        if layout.restore_guard.exists():
            layout.restore_guard.unlink()
            with contextlib.suppress(OSError):
                layout.restore_guard.parent.rmdir()
            daemon_reload()


def guard(layout: Layout) -> None:
    """Make each start of the hub wait for this restore, and complete it if it was killed."""
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub restore --finish"
    write(
        layout.restore_guard,
        "# A restore is in progress and removes this file at its end. If it is killed, the hub's"
        f"\n# next start completes or discards it.\n[Service]\nExecStartPre=+{command}\n",
    )
    daemon_reload()


def finish(layout: Layout) -> None:
    """Complete a restore that was killed; wait for one that is still renaming files.

    The guard drop-in runs this before each start of the hub.
    """
    if not layout.state.is_dir():
        return
    with renaming(layout):
        # A live restore holds this lock from its decision to its last rename.
        exchange = _complete(layout)
        # The other lock is held by a live restore, which tidies after the hub's start; or a backup.
        if held := hold(layout.backup_lock):
            with held:
                exchange.tidy(layout)


def complete(layout: Layout) -> None:
    """Complete a restore that was killed; the caller holds `exclusive`."""
    with renaming(layout):
        _complete(layout).tidy(layout)


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[TextIO]:
    """Prevent other backups and restores.

    Raises:
        LittlestHubError: one is in progress; its process id.
    """
    if not layout.state.is_dir():
        raise LittlestHubError(f"{layout.state}: there is nothing to back up or to restore into")
    held = hold(layout.backup_lock)
    if held is None:
        pid = holder(layout.backup_lock)
        raise LittlestHubError(f"process {pid} makes or restores a backup at the moment")
    with held:
        # Left by processes that were killed.
        for pattern in (".backup-*", ".restore-*"):
            for scratch in layout.hub_state.glob(pattern):
                shutil.rmtree(scratch)
        yield held


@contextlib.contextmanager
def renaming(layout: Layout) -> Iterator[None]:
    """Make a hub that starts wait while files are renamed."""
    held = hold(layout.restore_lock, is_patient=True)
    assert held is not None
    with held:
        yield


def _complete(layout: Layout) -> Exchange:
    """Carry out what a process that is gone has decided.

    Raises:
        LittlestHubError: its record is damaged, and some files have been replaced.
    """
    if not layout.restore_record.exists():
        return Exchange(TIDY, ())
    try:
        exchange = Exchange.from_json(json.loads(layout.restore_record.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        return _without_record(layout, error)
    exchange.carry_out(layout)
    return exchange


def _without_record(layout: Layout, error: Exception) -> Exchange:
    """Return what to tidy if the record is damaged: what is laid out, if nothing was replaced."""
    directories = (layout.fragments, layout.state, *drop_in_directories(layout))
    hidden = [path for directory in directories for path in sorted(directory.rglob(".*"))]
    replaced = [path for path in hidden if path.name.endswith(".replaced")]
    if replaced:
        raise LittlestHubError(
            f"{layout.restore_record} is damaged ({error}), and a restore was killed:"
            " each .NAME.replaced was NAME before it:\n"
            + "\n".join(f"  {path}" for path in replaced),
            "Move all of these back to NAME, or remove all of them if every NAME is the restored"
            f" one; then: rm {layout.restore_record}",
        )
    new = (path for path in hidden if path.name.endswith(".restored"))
    targets = (path.with_name(path.name[1:].removesuffix(".restored")) for path in new)
    return Exchange(TIDY, tuple(Replacement(target, True, True) for target in targets))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
