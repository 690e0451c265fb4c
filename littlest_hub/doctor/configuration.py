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
from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.fragments.catalogue import DISABLED
from littlest_hub.fragments.edit import UNSAVED
from littlest_hub.installation import fragment_files, ignored_files
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.install import USERS_FRAGMENT
from littlest_hub.lifecycle.private_files import private_files, wrong_mode
from littlest_hub.system.ownership import loose_step


def fragments(snapshot: Snapshot) -> Iterator[Finding]:
    """Check the fragments, and whether the hub runs with them."""
    layout = snapshot.layout
    try:
        files, ignored = fragment_files(layout), ignored_files(layout)
    except PermissionError:
        yield Finding(UNSEEN, "fragments", f"{layout.fragments} cannot be read", snapshot.as_root)
        return
    for file in ignored:
        if file.is_file() and re.search(rb"^c\.\w+\.\w+", file.read_bytes(), re.MULTILINE):
            yield _ignored(file, layout.command)
    report = check_fragments(layout)
    problems = report.problems
    for change in report.pending:
        apply = re.search(r"systemctl (?:daemon-reload|restart \S+)", change)
        yield Finding(WARNING, layout.hub_service, change, apply[0] if apply else "")
    for problem in problems:
        severity = WARNING if problem.is_warning else PROBLEM
        # A problem that concerns no single fragment names their directory.
        fragment = Path(problem.file).name if Path(problem.file) in files else last_fragment(layout)
        if problem.message.startswith("no one may log in"):
            fragment = USERS_FRAGMENT
        # A message about an owner, a mode or an account ends in the command that changes it.
        command = re.search(r"; ((?:chown|chmod|chage|passwd) .*)$", problem.message)
        edit = command[1] if command else f"{layout.command} edit {fragment}"
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        yield Finding(severity, place, problem.message, edit)
    # A reload would be refused while there are errors, so they come first.
    if changed := _changed_since_start(snapshot, files):
        text = f"changed since the hub last started: {', '.join(changed)}"
        reload = "" if report.errors else f"systemctl reload {layout.hub_service}"
        yield Finding(WARNING, "fragments", text, reload)
    if not problems:
        yield Finding(OK, "fragments", f"{len(files)}, without problems")


def last_fragment(layout: Layout) -> str:
    """Return the fragment whose settings take precedence; if there is none, a name for one."""
    try:
        return next(reversed([file.name for file in fragment_files(layout)]), "20-mine.py")
    except OSError:
        return "20-mine.py"


def _ignored(file: Path, command: str) -> Finding:
    fragment = file.with_name(f"{file.name.partition('.py')[0]}.py")
    names = shlex.join([str(fragment), str(file)])
    if file.suffix == DISABLED:
        return Finding(OK, str(file), "is disabled", f"{command} enable {fragment.name}")
    text = "is ignored: its name does not end in .py"
    if file.suffix.startswith(UNSAVED):
        # It was not saved because of its mistakes: the hub would not start with it.
        text = "is a text that was not saved, and is ignored"
        look = f"less {shlex.quote(str(file))}; rm -i {shlex.quote(str(file))}"
        return Finding(WARNING, str(file), text, look)
    if fragment.exists():
        remove = f"diff -u {names}; rm -i {shlex.quote(str(file))}"
        return Finding(WARNING, str(file), text, remove)
    move = shlex.join(["mv", str(file), str(fragment)])
    return Finding(WARNING, str(file), text, move)


def _changed_since_start(snapshot: Snapshot, files: Sequence[Path]) -> list[str]:
    """Return names of fragments that differ from those that the hub was started with."""
    if snapshot.fragments_copy is None:
        return []
    copies = snapshot.fragments_copy.glob("[!.]*.py")
    started_with = {file.name: file.read_bytes() for file in copies}
    now = {file.name: file.read_bytes() for file in files}
    return sorted(name for name in {*started_with, *now} if started_with.get(name) != now.get(name))


def secrets(snapshot: Snapshot) -> Iterator[Finding]:
    """Check owner and permissions of everything that holds secrets, or runs as root."""
    layout = snapshot.layout
    owner = layout.base.stat().st_uid if snapshot.is_foreground else 0
    for path, mode, expected_owner in private_files(layout, owner):
        try:
            status = path.stat()
        except FileNotFoundError:
            if path in (layout.fragments, layout.state):
                install = f"{layout.hub}/bin/littlest-hub install"
                yield Finding(PROBLEM, str(path), "is missing", install)
        except PermissionError:
            yield Finding(UNSEEN, str(path), "cannot be examined", snapshot.as_root)
        else:
            if status.st_uid != expected_owner:
                chown = f"chown {_user_name(expected_owner)}: {path}"
                yield Finding(PROBLEM, str(path), f"belongs to {_user_name(status.st_uid)}", chown)
            actual = stat.S_IMODE(status.st_mode)
            if snapshot.is_foreground and path == layout.database:
                # Created with the user's umask, in a directory that no one else may enter.
                actual &= 0o700
            if reason := wrong_mode(actual, mode):
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


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
