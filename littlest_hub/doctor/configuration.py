"""Fragments, and permissions of files with secrets."""

from __future__ import annotations

import contextlib
import pwd
import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from littlest_hub.check import check_fragments
from littlest_hub.doctor.findings import AS_ROOT, OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.installation import fragment_files, ignored_files
from littlest_hub.layout import Layout
from littlest_hub.system.ownership import loose_step


def fragments(snapshot: Snapshot) -> Iterator[Finding]:
    """Check the fragments, and whether the hub runs with them."""
    layout = snapshot.layout
    try:
        files, ignored = fragment_files(layout), ignored_files(layout)
    except PermissionError:
        yield Finding(UNSEEN, "fragments", f"{layout.fragments} cannot be read", AS_ROOT)
        return
    for file in ignored:
        if file.is_file() and re.search(rb"^c\.\w+\.\w+", file.read_bytes(), re.MULTILINE):
            rename = f"mv {shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('.py')))}"
            yield Finding(WARNING, str(file), "is ignored: its name does not end in .py", rename)
    if changed := _changed_since_start(layout, files):
        text = f"changed since the hub last started: {', '.join(changed)}"
        yield Finding(WARNING, "fragments", text, f"systemctl reload {layout.hub_service}")
    report = check_fragments(layout)
    problems = report.problems
    for change in report.pending:
        yield Finding(WARNING, layout.hub_service, change)
    for problem in problems:
        severity = WARNING if problem.is_warning else PROBLEM
        edit = f"{snapshot.command} edit {Path(problem.file).name}"
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        yield Finding(severity, place, problem.message, edit)
    if not problems:
        yield Finding(OK, "fragments", f"{len(files)}, without problems")


def _changed_since_start(layout: Layout, files: Sequence[Path]) -> list[str]:
    """Return names of fragments that differ from those that the hub was started with."""
    kept = [
        directory
        for directory in layout.run_directory.glob(layout.fragments_copy("*").name)
        if Path("/proc", directory.name.rpartition("-")[2]).exists()
    ]
    if len(kept) != 1:
        return []  # no hub runs, or it is being replaced at this moment
    started_with = {file.name: file.read_bytes() for file in kept[0].glob("[!.]*.py")}
    now = {file.name: file.read_bytes() for file in files}
    return sorted(name for name in {*started_with, *now} if started_with.get(name) != now.get(name))


def secrets(snapshot: Snapshot) -> Iterator[Finding]:
    """Check owner and permissions of everything that holds secrets, or runs as root."""
    layout = snapshot.layout
    owner = layout.base.stat().st_uid if snapshot.is_foreground else 0
    hub_owner = layout.hub_user_state.stat().st_uid if layout.hub_user else owner
    for path, mode, expected_owner in (
        (layout.fragments, 0o750 if layout.hub_user else 0o700, owner),
        (layout.state, 0o710 if layout.hub_user else 0o700, owner),
        (layout.database, 0o600, hub_owner),
        (layout.cookie_secret, 0o600, hub_owner),
    ):
        try:
            status = path.stat()
        except FileNotFoundError:
            if path in (layout.fragments, layout.state):
                install = f"{layout.hub}/bin/littlest-hub install"
                yield Finding(PROBLEM, str(path), "is missing", install)
        except PermissionError:
            yield Finding(UNSEEN, str(path), "cannot be examined", AS_ROOT)
        else:
            if status.st_uid != expected_owner:
                chown = f"chown {_user_name(expected_owner)}: {path}"
                yield Finding(PROBLEM, str(path), f"belongs to {_user_name(status.st_uid)}", chown)
            actual = stat.S_IMODE(status.st_mode)
            if snapshot.is_foreground and path == layout.database:
                # Created with the user's umask, in a directory that no one else may enter.
                actual &= 0o700
            if reason := _wrong_mode(actual, mode):
                text = f"{reason} (mode {actual:04o}, expected {mode:04o})"
                yield Finding(PROBLEM, str(path), text, f"chmod {mode:04o} {path}")
    if snapshot.is_foreground:
        return
    # Several paths may share the step that others can change.
    loose = {loose_step(path) for path in (layout.hub, layout.fragments, layout.unit_directory)}
    with contextlib.suppress(PermissionError):
        loose |= {loose_step(file) for file in fragment_files(layout)}
    for step in filter(None, loose):
        text = f"{step.reason}: other users can change what the hub runs"
        yield Finding(PROBLEM, str(step.path), text, step.repair)


def _wrong_mode(actual: int, expected: int) -> str:
    if actual & ~expected:
        return "may be read by others"
    return "cannot be used by its owner" if actual & expected & 0o600 != 0o600 else ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
