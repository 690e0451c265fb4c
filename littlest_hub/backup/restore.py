"""Restoring a backup: verified, planned, then exchanged for what is here while requests wait."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from littlest_hub.backup.archive import new_name, write_backup
from littlest_hub.backup.contents import Extras
from littlest_hub.backup.exchange import (
    FORWARD,
    Exchange,
    Replacement,
    complete,
    exclusive,
    guard,
    renaming,
)
from littlest_hub.backup.plan import (
    Change,
    Plan,
    check_packages,
    check_plan,
    check_stacks,
    data_directory,
    make_plan,
)
from littlest_hub.backup.unpacking import unpack
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.installation import installed_unit
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import changing, no_foreground_hub
from littlest_hub.lifecycle.services import Services
from littlest_hub.system.files import naming
from littlest_hub.system.progress import Progress
from littlest_hub.system.systemctl import (
    daemon_reload,
    is_booted,
    journal_lines,
    list_units,
    show,
    systemctl,
)
from littlest_hub.units.stack import installed_units

START_TIMEOUT_S = 240


def restore(layout: Layout, file: Path, *, progress: Progress, confirm: Callable[[], bool]) -> str:
    """Replace what is here with what is in a backup.

    Args:
        layout: where; the backup may be of any base directory.
        file: the backup.
        progress: shows a line about what is being done.
        confirm: called when all is verified and before anything changes.

    Returns:
        What an administrator should know now.

    Raises:
        LittlestHubError: why it is impossible; everything is as it was.
    """
    with exclusive(layout), changing(layout), no_foreground_hub(layout):
        complete(layout)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=layout.hub_state) as directory:
            scratch = Path(directory)
            progress(f"Verifying {file}")
            plan = make_plan(layout, scratch, unpack(file, scratch))
            check_packages(layout, scratch, file)
            check_stacks(layout, scratch)
            check_plan(layout, scratch, plan)
            progress(str(plan))
            if all(each.sign == "=" for each in plan.changes):
                return "Everything is as in this backup already."
            if not confirm():
                raise LittlestHubError("Nothing was changed.")
            kept = _switch(layout, plan, progress)
    return "\n".join([f"Restored. The previous files: {kept}", *_unknown_servers(layout)])


def _switch(layout: Layout, plan: Plan, progress: Progress) -> Path:
    """Exchange the files and start the hub with them; return the backup of the old ones.

    Raises:
        LittlestHubError: the hub does not start with them; everything is as it was.
    """
    exchange = plan.exchange(layout)
    is_served = serves(layout)
    try:
        exchange.record(layout)
        for change in plan.laid_out(layout):
            assert change.source
            _lay_out(layout, change, change.source)
        if is_served:
            guard(layout)
        with renaming(layout):
            if is_served:
                progress("Stopping the hub; requests wait, user servers keep running")
                _systemctl("stop", layout.hub_service)
            kept = _keep(layout, progress)
            exchange = exchange.forward()
            exchange.carry_out(layout)
        if is_served:
            _end_services(layout, exchange)
            progress("Starting the hub")
            _start(layout, exchange)
    except BaseException:
        progress("Undoing everything")
        _undo(layout, exchange, is_served)
        progress("Everything is as it was.")
        raise
    exchange.tidy(layout)
    return kept


def _undo(layout: Layout, exchange: Exchange, is_served: bool) -> None:
    with renaming(layout):
        if is_served:
            systemctl("stop", layout.hub_service, is_checked=False, timeout_s=START_TIMEOUT_S)
        if exchange.direction == FORWARD:
            exchange.back().carry_out(layout)
    if is_served:
        _end_services(layout, exchange)
        _start(layout, exchange)
    exchange.tidy(layout)


def _end_services(layout: Layout, exchange: Exchange) -> None:
    """End services that still see the directory that was replaced.

    Their sockets start them. Those that run always are started again.
    """
    for each in exchange.replacements:
        stack = each.target.parent.name
        if each.target != layout.stack_data(stack):
            continue
        systemctl("stop", layout.stack_unit(stack, ".service"), is_checked=False)
        own = layout.stack_unit(stack, "-")
        for unit in installed_units(layout):
            is_service = unit.startswith(own) and unit.endswith(".service")
            if is_service and "[Install]" in installed_unit(layout, unit).read_text():
                systemctl("try-restart", unit, is_checked=False)


def _lay_out(layout: Layout, change: Change, source: Path) -> None:
    """Copy a restored file beside the one that it replaces, with its owner and mode."""
    target, mode = change.target, change.mode & 0o777
    new = _new_place(layout, target)
    _make_directory(new.parent)
    is_proxys = target == layout.acme_storage
    if is_proxys:
        # traefik writes it, and refuses one that others may read.
        mode = 0o600
    elif target.is_relative_to(layout.proxy_state):
        # The proxy is another user; apart from it only root enters state/.
        mode |= (mode & 0o400) >> 3 | (mode & 0o400) >> 6
    new.unlink(missing_ok=True)
    # Create the file anew, and change it only through its descriptor: in the directory of
    # `acme_storage`, the proxy could replace it by a link to a file of root's.
    opened = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with naming(target, new), open(opened, "wb") as out, source.open("rb") as content:
        shutil.copyfileobj(content, out)
        out.flush()
        if os.geteuid() == 0:
            directory = new.parent.stat()
            os.fchown(opened, directory.st_uid if is_proxys else 0, directory.st_gid)
        os.fchmod(opened, mode)
        os.fsync(opened)


def _new_place(layout: Layout, target: Path) -> Path:
    """Return where a restored file is laid out: beside its target, or in a new directory."""
    directory = data_directory(layout, target)
    if directory is None:
        return Replacement(target, True, True).new
    return Replacement(directory, True, True).new / target.relative_to(directory)


def _make_directory(directory: Path) -> None:
    """Make a directory and those above it, with the permissions of the one that exists."""
    if not directory.is_dir():
        _make_directory(directory.parent)
        directory.mkdir()
        directory.chmod(directory.parent.stat().st_mode & 0o7777)


def _keep(layout: Layout, progress: Progress) -> Path:
    file = new_name(layout, "before-restore")
    progress(f"Keeping the previous files as {file}")
    write_backup(layout, file, Extras(secrets=True), progress=lambda _: None, accept_damage=True)
    return file


# --- the hub's unit


def serves(layout: Layout) -> bool:
    """Return whether systemd runs the hub of this base directory."""
    if os.geteuid() != 0 or not layout.is_live or not is_booted():
        return False
    return f"{layout.hub}/" in show(layout.hub_service, "ExecStart")


def _start(layout: Layout, exchange: Exchange) -> None:
    """Restart units whose drop-ins have changed, then start the hub; return when it answers."""
    changed = {
        each.target.parent.name.removesuffix(".d")
        for each in exchange.replacements
        if each.target.is_relative_to(layout.system_units)
    }
    if changed:
        daemon_reload()
        sockets = [
            unit
            for unit in layout.started_unit_names
            if unit in changed and unit.endswith(".socket")
        ]
        if layout.proxy_service in changed or {*sockets} - {layout.hub_socket}:
            _systemctl("stop", layout.proxy_service)
        for socket in sockets:
            _systemctl("restart", socket)
        _systemctl("start", layout.proxy_service)
        Services(layout).start_stacks(changed)
    systemctl("reset-failed", layout.hub_service, is_checked=False)
    _systemctl("start", layout.hub_service)


def _systemctl(verb: str, unit: str) -> None:
    try:
        systemctl(verb, unit, timeout_s=START_TIMEOUT_S)
    except LittlestHubError as error:
        lines = journal_lines([unit], lines=15)
        raise LittlestHubError(f"{error.message}\n{lines}".rstrip()) from error


def _unknown_servers(layout: Layout) -> Iterator[str]:
    """Yield lines about user servers that the restored database does not know."""
    if not serves(layout):
        return
    running = list_units(layout.user_unit_pattern, states=("active", "activating"))
    unknown = sorted({*running} - _known_servers(layout.database))
    if unknown:
        yield "These user servers are not in the restored database. They keep running, and the hub"
        yield "takes each over when its user next starts a server:"
        yield from (f"  {unit}" for unit in unknown)
        names = " ".join(unknown)
        yield f"To end them: {as_typed(f'systemctl stop {names}')}"


def _known_servers(file: Path) -> set[str]:
    """Return the units of the user servers that run according to a database."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as read:
        rows = read.execute("SELECT state FROM spawners WHERE server_id IS NOT NULL").fetchall()
    states = (json.loads(row[0]) for row in rows if row[0])
    return {f"{s['unit_name']}.service" for s in states if s and s.get("unit_name")}
