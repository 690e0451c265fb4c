"""Fragments, and who may read what."""

from __future__ import annotations

import pwd
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from littlest_hub.doctor.observed import AS_ROOT, OK, PROBLEM, UNSEEN, WARNING, Finding, Observed
from littlest_hub.hub.supervisor import kept_fragments
from littlest_hub.installation import fragment_files, ignored_files
from littlest_hub.layout import Layout


def fragments(machine: Observed) -> Iterator[Finding]:
    """What `check` says, and what is not applied yet."""
    layout = machine.layout
    try:
        files, ignored = fragment_files(layout), ignored_files(layout)
    except PermissionError:
        yield Finding(UNSEEN, "fragments", f"{layout.fragments} cannot be read", AS_ROOT)
        return
    for file in ignored:
        if file.is_file() and re.search(rb"^c\.\w+\.\w+", file.read_bytes(), re.MULTILINE):
            rename = f"mv {shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('.py')))}"
            yield Finding(WARNING, str(file), "is ignored: its name does not end in .py", rename)
    changed = _changed_since_start(layout, files)
    if changed:
        text = f"changed since the hub last started: {', '.join(changed)}"
        yield Finding(WARNING, "fragments", text, f"systemctl reload {layout.hub_service}")
    from littlest_hub.check import check_fragments

    problems = check_fragments(layout).problems
    for problem in problems:
        severity = WARNING if problem.is_warning else PROBLEM
        edit = f"{machine.command} edit {Path(problem.file).name}"
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        yield Finding(severity, place, problem.message, edit)
    if not problems:
        yield Finding(OK, "fragments", f"{len(files)}, without problems")


def _changed_since_start(layout: Layout, files: Sequence[Path]) -> list[str]:
    """Names of the fragments that are not what the running hub was started with."""
    kept = [
        directory
        for directory in layout.run_directory.glob(kept_fragments(layout, "*").name)
        if Path("/proc", directory.name.rpartition("-")[2]).exists()
    ]
    if len(kept) != 1:
        return []  # no hub, or one that is being replaced at this moment
    started_with = {file.name: file.read_bytes() for file in kept[0].glob("[!.]*.py")}
    now = {file.name: file.read_bytes() for file in files}
    return sorted(name for name in {*started_with, *now} if started_with.get(name) != now.get(name))


def secrets(machine: Observed) -> Iterator[Finding]:
    """Who may read what is nobody's business."""
    layout = machine.layout
    owner = 0 if not machine.is_foreground else layout.base.stat().st_uid
    own = layout.own_state.stat().st_uid if layout.hub_user else owner
    for path, mode, owner_of_it in (
        (layout.fragments, 0o750 if layout.hub_user else 0o700, owner),
        (layout.state, 0o710 if layout.hub_user else 0o700, owner),
        (layout.database, 0o600, own),
        (layout.cookie_secret, 0o600, own),
    ):
        try:
            status = path.stat()
        except FileNotFoundError:
            if path in (layout.fragments, layout.state):
                yield Finding(
                    PROBLEM, str(path), "is missing", f"{layout.hub}/bin/littlest-hub install"
                )
            continue
        except PermissionError:
            yield Finding(UNSEEN, str(path), "cannot be looked at", AS_ROOT)
            continue
        actual = stat.S_IMODE(status.st_mode)
        if machine.is_foreground and path == layout.database:
            # Made by whoever runs the hub, with their umask, where nobody else gets to.
            actual &= 0o700
        if status.st_uid != owner_of_it:
            name = _user_name(status.st_uid)
            chown = f"chown {_user_name(owner_of_it)}: {path}"
            yield Finding(PROBLEM, str(path), f"belongs to {name}", chown)
        if actual & ~mode:
            text = f"may be read by others (mode {actual:04o}, expected {mode:04o})"
            yield Finding(PROBLEM, str(path), text, f"chmod {mode:04o} {path}")
        elif actual & mode & 0o600 != 0o600:
            text = f"cannot be used by its owner (mode {actual:04o}, expected {mode:04o})"
            yield Finding(PROBLEM, str(path), text, f"chmod {mode:04o} {path}")
    for path in (layout.base, layout.hub.resolve()):
        status = path.stat()
        if status.st_uid != owner or status.st_mode & 0o022:
            text = "may be changed by others than root, and so may what the hub runs as root"
            repair = f"chown root: {path} && chmod go-w {path}"
            yield Finding(PROBLEM, str(path), text, repair)


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
