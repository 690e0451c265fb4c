"""A change of files and units that is undone as a whole, even if it is killed.

What was there is recorded before anything changes. If the process that changes is gone, the next
command that changes the installation puts it back, and so does the next start of the hub: a drop-in
makes it wait for that. Once the change is decided, the record says what is left to remove instead.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.installation import installed_unit
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.services import Services
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.system import progress
from littlest_hub.system.files import link, remove_half, write
from littlest_hub.system.signals import uninterrupted
from littlest_hub.system.systemctl import (
    daemon_reload,
    is_active,
    show,
    systemctl,
    triggering_first,
)

_RELOAD_S = 600


@dataclass(frozen=True)
class Unfinished:
    """The state before a change; the content of state/unfinished-change.json."""

    verb: str
    """The change, for people: "enable announce"."""
    files: Mapping[str, tuple[str, int] | None] = field(default_factory=dict)
    """Content and mode of each file that changes; None: there was none."""
    links: Mapping[str, str | None] = field(default_factory=dict)
    """The same for symbolic links."""
    units: Mapping[str, str | None] = field(default_factory=dict)
    """The same for unit files, by name."""
    directories: Sequence[str] = ()
    """Directories that were not there: removed if the change is undone."""
    leftovers: Sequence[str] = ()
    """Directories that the change removes once it is decided."""
    is_decided: bool = False
    is_loaded: bool = False
    """Whether the hub may use what is being undone, so that it has to reload."""

    def to_json(self) -> dict[str, Any]:
        return {
            "verb": self.verb,
            "files": {path: each and list(each) for path, each in self.files.items()},
            "links": dict(self.links),
            "units": dict(self.units),
            "directories": list(self.directories),
            "leftovers": list(self.leftovers),
            "is_decided": self.is_decided,
            "is_loaded": self.is_loaded,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Unfinished:
        files = {
            path: each and (str(each[0]), int(each[1])) for path, each in data["files"].items()
        }
        return cls(**{**data, "files": files})

    @classmethod
    def of(
        cls,
        layout: Layout,
        verb: str,
        files: Sequence[Path],
        links: Sequence[Path],
        units: Sequence[str],
        directories: Sequence[Path],
    ) -> Unfinished:
        """Return what is there now, of paths as the machine sees them."""
        on_disk = {each: installed_unit(layout, each) for each in units}
        return cls(
            verb,
            {str(each): _content(layout.on_disk(each)) for each in files},
            {str(each): _target(layout.on_disk(each)) for each in links},
            {name: f.read_text() if f.is_file() else None for name, f in on_disk.items()},
            [str(each) for each in directories if not layout.on_disk(each).exists()],
        )


@contextlib.contextmanager
def undone_whole(
    layout: Layout, before: Unfinished, leftovers: Sequence[Path] = ()
) -> Iterator[None]:
    """Undo everything that the block changes if it fails, is interrupted, or is killed.

    Args:
        layout: the installation; the caller holds its lock.
        before: what is there now.
        leftovers: directories to remove after the block.
    """
    _record(layout, before)
    _guard(layout)
    try:
        yield
    except BaseException:
        with uninterrupted():
            _undo(layout, before)
        raise
    decided = replace(before, is_decided=True, leftovers=list(map(str, leftovers)))
    _record(layout, decided)
    _finish(layout, decided)


def recover(layout: Layout, *, is_start: bool = False) -> None:
    """Undo a change that was killed, or finish it if it was decided; the caller holds the lock.

    Args:
        layout: the installation.
        is_start: the hub is starting, and waits for this.

    Raises:
        LittlestHubError: the record is damaged.
    """
    file = layout.on_disk(layout.unfinished_change)
    try:
        found = Unfinished.from_json(json.loads(file.read_text()))
    except FileNotFoundError:
        remove_half(file)
        return
    except (ValueError, KeyError, TypeError) as error:
        raise LittlestHubError(
            f"{file} is damaged ({error!r}): a change of stacks was killed",
            f"Look at `{layout.command} list` and the fragments, then: rm {file}",
        ) from error
    if found.is_decided:
        _finish(layout, found)
    else:
        progress.to_stderr(f"`{found.verb}` was killed: undoing it ...")
        _undo(layout, found, is_start=is_start)


def _undo(layout: Layout, before: Unfinished, *, is_start: bool = False) -> None:
    """Put back what was there; repeatable after an interruption at any point."""
    services = Services(layout)
    is_running = services.can_start and not is_start and _wait_for_reload(layout)
    if _may_be_loaded(layout, before):
        # For whoever undoes it if this is killed: then nothing on disk shows it.
        before = replace(before, is_loaded=True)
        _record(layout, before)
    # The fragments first, so that a hub that starts now does not see half.
    for path, content in reversed([*before.files.items()]):
        _put_back(layout.on_disk(Path(path)), content)
    for path, target in before.links.items():
        name = layout.on_disk(Path(path))
        remove_half(name)
        if target is not None:
            link(name, Path(target))
        else:
            name.unlink(missing_ok=True)
    if services.has_systemd and before.units:
        _put_back_units(layout, before.units, is_start=is_start)
    if services.can_start:
        daemon_reload()
    if is_running and before.is_loaded:
        _apply_to_hub(layout, before)
    for directory in before.directories:
        shutil.rmtree(layout.on_disk(Path(directory)), ignore_errors=True)
    _forget(layout)


def _put_back_units(layout: Layout, units: Mapping[str, str | None], *, is_start: bool) -> None:
    texts = {name: text for name, text in units.items() if text is not None}
    gone = [name for name in units if name not in texts]
    unit_files, services = UnitFiles(layout), Services(layout)
    changed = unit_files.write(texts)
    unit_files.delete(gone)
    if not services.can_start:
        return
    daemon_reload()
    if not is_start:
        services.start_stacks(changed)
        return
    # Waiting for them could be waiting for ourselves.
    for verb, names in (("stop", triggering_first(gone)), ("start", texts)):
        for unit in names:
            systemctl(verb, "--no-block", unit, is_checked=False)


def _wait_for_reload(layout: Layout) -> bool:
    """Wait until the hub does not reload at the moment; return whether it runs."""
    deadline = time.monotonic() + _RELOAD_S
    while show(layout.hub_service, "ActiveState") in ("reloading", "activating"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return is_active(layout.hub_service)


def _may_be_loaded(layout: Layout, before: Unfinished) -> bool:
    """Return whether the running hub may use something of the change: a fragment or a package."""
    return any(
        path.is_relative_to(layout.fragments) and _content(layout.on_disk(path)) != content
        for path, content in ((Path(each), content) for each, content in before.files.items())
    ) or any(_target(layout.on_disk(Path(p))) != target for p, target in before.links.items())


def _apply_to_hub(layout: Layout, before: Unfinished) -> None:
    has_drop_ins = any(Path(path).parent == layout.hub_drop_ins for path in before.files)
    try:
        # Only a restart applies drop-ins.
        systemctl("restart" if has_drop_ins else "reload", layout.hub_service)
    except LittlestHubError as error:
        see = as_typed(f"journalctl -u {layout.hub_service} -n 20")
        progress.to_stderr(f"{error.message}\nSee: {see}")


def _finish(layout: Layout, decided: Unfinished) -> None:
    for path in (*decided.files, *decided.links):
        remove_half(layout.on_disk(Path(path)))
    for path in decided.leftovers:
        shutil.rmtree(layout.on_disk(Path(path)), ignore_errors=True)
    _forget(layout)


def _record(layout: Layout, unfinished: Unfinished) -> None:
    # 0600: fragments may contain secrets.
    text = json.dumps(unfinished.to_json(), indent=1)
    write(layout.on_disk(layout.unfinished_change), text, 0o600)


def _guard(layout: Layout) -> None:
    """Make each start of the hub wait until a killed change is undone."""
    if not Services(layout).can_start or not UnitFiles(layout).are_installed:
        return
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub enable --at-start"
    write(
        layout.change_guard,
        "# Stacks are being changed; this file is removed at the end. If that is killed, the hub's"
        f"\n# next start undoes it.\n[Service]\nExecStartPre=-+{command}\n",
    )
    daemon_reload()


def _forget(layout: Layout) -> None:
    guard = layout.on_disk(layout.change_guard)
    if guard.exists():
        guard.unlink()
        with contextlib.suppress(OSError):
            guard.parent.rmdir()  # not empty
        daemon_reload()
    # Last: without it, nothing is known of the rest.
    record = layout.on_disk(layout.unfinished_change)
    remove_half(record)
    record.unlink(missing_ok=True)


def _put_back(file: Path, content: tuple[str, int] | None) -> None:
    remove_half(file)
    if content is None:
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if file.parent.suffix == ".d" and file.suffix == ".conf":
                file.parent.rmdir()  # of drop-ins, not empty
    else:
        write(file, *content)


def _content(file: Path) -> tuple[str, int] | None:
    try:
        return file.read_text(), file.stat().st_mode & 0o7777
    except FileNotFoundError:
        return None


def _target(name: Path) -> str | None:
    try:
        return str(name.readlink())
    except OSError:
        return None
