"""Courses as root makes, changes, archives and deletes them: whole, or not at all.

Each stage is recorded before it is entered. So whoever changes courses next knows what a killed
command has left, and removes it: a course that was being made was used by nobody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay, release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import alone
from littlest_hub.lifecycle.locks import changing as changing_installation
from littlest_hub.lifecycle.services import Services, apply_configuration
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.stacks.courses import place, records, sharing, views
from littlest_hub.stacks.courses.course import (
    ARCHIVED,
    DELETING,
    MAKING,
    READY,
    Course,
    Student,
    checked_login,
    checked_name,
)
from littlest_hub.stacks.courses.units import of_course, reconciliation
from littlest_hub.system import service_accounts
from littlest_hub.system.files import write
from littlest_hub.system.progress import Progress
from littlest_hub.system.systemctl import (
    daemon_reload,
    is_active,
    is_booted,
    systemctl,
    triggering_first,
)
from littlest_hub.units.ports import free_internal_port

_TOKEN_BYTES = 32
# Subdirectories of the exchange and their modes, as nbgrader makes them: students may put
# submissions into "inbound", and list none.
_EXCHANGE = {"outbound": 0o755, "inbound": 0o2733, "feedback": 0o711}


@contextlib.contextmanager
def changing(layout: Layout, progress: Progress) -> Iterator[None]:
    """Hold the locks of changes; first remove what killed commands have left.

    Raises:
        LittlestHubError: another process changes the installation.
    """
    with changing_installation(layout), records.changing(layout):
        for course in records.read(layout).values():
            if course.stage in (MAKING, DELETING):
                progress(f"Removing what an interrupted command has left of {course.name} ...")
                _remove(layout, course)
        yield


def create(
    layout: Layout,
    wanted: Course,
    progress: Progress,
    fill: Callable[[Course], None] = lambda course: None,
) -> Course:
    """Make a course that nobody notices before it is complete.

    Args:
        layout: the installation.
        wanted: its name, title and people.
        progress: tells people how far it is.
        fill: puts sources into the directory of the course.

    Raises:
        LittlestHubError: why not; then everything is as it was.
    """
    name = checked_name(wanted.name)
    teaching = tuple(dict.fromkeys(map(checked_login, wanted.instructors)))
    if not teaching:
        raise LittlestHubError(
            "a course needs an instructor, who grades", "Name them: --instructors alice,bob"
        )
    with changing(layout, progress):
        refuse_taken(layout, name)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        port = free_internal_port(layout)
        course = replace(wanted, port=port, stage=MAKING, created=today, instructors=teaching)
        records.put(layout, course)
        try:
            progress(f"Making the account {course.account} and its directories ...")
            _make_account(layout, course)
            _make_directories(layout, course)
            fill(course)
            _make_token(layout, course)
            _start(layout, course)
            records.at_stage(layout, name, READY)
            ready = replace(course, stage=READY)
            if sharing.is_shared(layout):
                sharing.admit(layout, ready)
            _reload(layout, progress)
        except BaseException:
            _remove(layout, course)
            raise
        return ready


def set_roster(
    layout: Layout, name: str, students: Sequence[Student], progress: Progress
) -> Course:
    """Let exactly these students take part.

    Raises:
        LittlestHubError: the hub refuses it; then the roster is as it was.
    """
    return _changed(layout, name, lambda course: course.with_roster(students), progress)


def add_students(
    layout: Layout, name: str, students: Sequence[Student], progress: Progress
) -> None:
    """Let students take part who were added in the formgrader.

    Raises:
        LittlestHubError: the hub refuses it; then the roster is as it was.
    """
    # The caller's unit may not remove what killed commands have left.
    with alone(layout), records.changing(layout):
        _change(layout, name, lambda course: course.with_more(students), progress)


def set_instructors(layout: Layout, name: str, logins: Iterable[str], progress: Progress) -> Course:
    """Let exactly these people grade.

    Raises:
        LittlestHubError: the hub refuses it; then all is as it was.
    """
    teaching = tuple(dict.fromkeys(map(checked_login, logins)))
    if not teaching:
        raise LittlestHubError("a course needs an instructor, who grades")
    return _changed(layout, name, lambda course: replace(course, instructors=teaching), progress)


def _changed(
    layout: Layout, name: str, change: Callable[[Course], Course], progress: Progress
) -> Course:
    with changing(layout, progress):
        course = _change(layout, name, change, progress)
        # Also if nothing has changed: the command that has changed it may have been killed.
        views.close(layout, course, progress)
        return course


def _change(
    layout: Layout, name: str, change: Callable[[Course], Course], progress: Progress
) -> Course:
    before = records.of_name(layout, name)
    after = change(before)
    if after == before:
        return after
    records.put(layout, after)
    _reload_or_undo(layout, progress, lambda: records.put(layout, before))
    return after


def archive(layout: Layout, name: str, progress: Progress) -> None:
    """Close a course: nobody sees it any more, and its files stay.

    Raises:
        LittlestHubError: the hub refuses it.
    """
    with changing(layout, progress):
        course = records.of_name(layout, name)
        if course.stage == ARCHIVED:
            raise LittlestHubError(f"{name} is archived already")
        records.at_stage(layout, name, ARCHIVED)
        _reload_or_undo(layout, progress, lambda: records.put(layout, course))
        _stop(layout, course)
        views.close(layout, records.of_name(layout, name), progress)


def reopen(layout: Layout, name: str, progress: Progress) -> None:
    """Open an archived course again.

    Raises:
        LittlestHubError: the hub refuses it; then it stays archived.
    """
    with changing(layout, progress):
        course = records.of_name(layout, name)
        if course.stage != ARCHIVED:
            raise LittlestHubError(f"{name} is not archived")
        opened = replace(course, stage=READY, port=free_internal_port(layout))

        def close() -> None:
            records.at_stage(layout, name, ARCHIVED)
            _stop(layout, opened)

        _start(layout, opened)
        records.put(layout, opened)
        _reload_or_undo(layout, progress, close)
        if sharing.is_shared(layout):
            sharing.admit(layout, opened)


def delete(layout: Layout, name: str, progress: Progress) -> None:
    """Delete a course with all submissions and grades.

    Raises:
        LittlestHubError: something cannot be removed; the next command tries again.
    """
    with changing(layout, progress):
        course = records.of_name(layout, name)
        records.at_stage(layout, name, DELETING)
        _reload(layout, progress)
        views.close(layout, records.of_name(layout, name), progress)
        _remove(layout, course)


def repair(layout: Layout, name: str, progress: Progress) -> list[str]:
    """Make again what is missing of an open course, as after a restore; return what it was.

    Raises:
        LittlestHubError: the course is closed, something is another's, or the hub refuses it.
    """
    with changing(layout, progress):
        course = records.of_name(layout, name)
        if not course.is_open:
            again = f"Open it first: {layout.command} course reopen {name}"
            raise LittlestHubError(f"{name} is {course.stage}", again)
        made = []
        account = _account(course)
        if account is None:
            _make_account(layout, course)
            account = pwd.getpwnam(course.account)
            made.append(f"the account {course.account}")
        home = place.home_of(layout, name)
        if home.exists() and home.stat().st_uid != account.pw_uid:
            raise LittlestHubError(
                f"{home} belongs to user {home.stat().st_uid}, not to {course.account}",
                f"If its files are those of the course: chown -hR {course.account}: {home}",
            )
        made += _make_directories(layout, course)
        if not layout.on_disk(place.token_of(layout, name)).exists():
            _make_token(layout, course)
            made.append("the formgrader's token")
        if sharing.is_shared(layout):
            sharing.admit(layout, course)
        _start(layout, course)
        _reload(layout, progress)
        return made


def share(layout: Layout, progress: Progress, *, with_nodes: bool) -> None:
    """Let nodes of a cluster share the exchange, in which each course admits its people; or not.

    Raises:
        LittlestHubError: the file system cannot have lists of people, or the hub refuses it.
    """
    with changing(layout, progress):
        if with_nodes:
            sharing.begin(layout)
        else:
            sharing.forget(layout)
        UnitFiles(layout).write({unit.name: unit.text() for unit in reconciliation(layout)})
        daemon_reload()
        _reload(layout, progress)
        if not with_nodes:
            sharing.admit_everybody(layout)


def tidy(layout: Layout, name: str, progress: Progress) -> None:
    """Remove what killed commands have left, and complete what they have recorded.

    Args:
        layout: the installation.
        name: a course of which running servers may still see too much; "": of none.
        progress: tells people how far it is.

    Raises:
        LittlestHubError: it cannot be done now.
    """
    with changing(layout, progress):
        _reload(layout, progress)
        courses = records.read(layout)
        for course in courses.values():
            if course.stage == ARCHIVED:
                _stop(layout, course)
        if name in courses:
            views.close(layout, courses[name], progress)


def after_disable(layout: Layout) -> Iterator[str]:
    """End what graders still run; yield what stays of the courses."""
    if layout.is_live and is_booted():
        systemctl("stop", place.grader_unit(layout, "*", "*"), is_checked=False)
        for name in records.read(layout):
            _remove_tree(Path("/run") / place.runtime_of(layout, name))
        _remove_tree(place.page_directory(layout))
    for course in records.read(layout).values():
        home = place.home_of(layout, course.name)
        yield f"{home} stays, and its owner, the account {course.account}"


# --- steps


def refuse_taken(layout: Layout, name: str) -> None:
    """Refuse the name of a course that is there, or that something else stands in the way of.

    Raises:
        LittlestHubError: what it is.
    """
    known = records.read(layout)
    if name in known:
        raise LittlestHubError(
            f"there is a course {name} already",
            f"Change it: {layout.command} course roster {name} FILE. See it:"
            f" {layout.command} course show {name}",
        )
    if account := _account(Course(name, 0)):
        raise LittlestHubError(
            f"there is an account {account.pw_name} ({account.pw_uid}) already",
            "Choose another name",
        )
    for directory in (place.home_of(layout, name), place.exchange(layout) / name):
        if os.path.lexists(directory):
            raise LittlestHubError(
                f"{directory} is there already, perhaps of a course before",
                "Move it away, or choose another name",
            )


def _account(course: Course) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(course.account)
    except KeyError:
        return None


def _make_account(layout: Layout, course: Course) -> None:
    home = str(place.home_of(layout, course.name))
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
    command += ["--shell", "/usr/sbin/nologin", "--comment", _about(layout, course)]
    service_accounts.change(*command, course.account)


def _about(layout: Layout, course: Course) -> str:
    return f"Littlest Hub at {layout.base}, course {course.name}"


def _make_directories(layout: Layout, course: Course) -> list[str]:
    """Make the directories that are missing; return their paths."""
    made = []
    account = pwd.getpwnam(course.account)
    is_shared = sharing.is_shared(layout)
    sharing.make_directory(place.courses_directory(layout))
    sharing.make_directory(place.exchange(layout), 0o711 if is_shared else 0o755)
    home = place.home_of(layout, course.name)
    exchange = place.exchange(layout) / course.name
    for path, mode in (
        (home, 0o700),
        (home / "source", 0o700),
        (exchange, 0o700 if is_shared else 0o755),
        *((exchange / name, mode) for name, mode in _EXCHANGE.items()),
    ):
        if os.path.lexists(path):
            continue
        path.mkdir(mode=0o700)
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(mode)
        made.append(str(path))
    return made


def _make_token(layout: Layout, course: Course) -> None:
    file = layout.on_disk(place.token_of(layout, course.name))
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(file, f"{secrets.token_hex(_TOKEN_BYTES)}\n", 0o600)


def _start(layout: Layout, course: Course) -> None:
    texts = {unit.name: unit.text() for unit in of_course(layout, course)}
    changed = UnitFiles(layout).write(texts)
    daemon_reload()
    Services(layout).start_stacks(changed)


def _stop(layout: Layout, course: Course) -> None:
    names = [unit.name for unit in of_course(layout, course)]
    stopped = [each for each in names if "@" not in each]
    systemctl("stop", *triggering_first(stopped), is_checked=False)
    instances = place.kernels_unit(layout, course.name, "@*.service")
    work = place.grader_unit(layout, course.name, "*")
    systemctl("stop", instances, work, is_checked=False)
    UnitFiles(layout).delete(names)
    daemon_reload()


def _remove(layout: Layout, course: Course) -> None:
    """Remove everything of a course; each step may have been taken before.

    Raises:
        LittlestHubError: something cannot be removed.
    """
    records.at_stage(layout, course.name, DELETING)
    _stop(layout, course)
    layout.on_disk(place.token_of(layout, course.name)).unlink(missing_ok=True)
    platform = layout.on_disk(place.platform_record(layout, course.name))
    for file in (platform, platform.with_suffix(".lock")):
        file.unlink(missing_ok=True)
    for directory in (
        place.home_of(layout, course.name),
        place.exchange(layout) / course.name,
        Path("/run") / place.runtime_of(layout, course.name),
    ):
        _remove_tree(directory)
    if reason := service_accounts.remove(course.account, _about(layout, course)):
        raise LittlestHubError(reason)
    records.remove(layout, course.name)


def _remove_tree(directory: Path) -> None:
    if not directory.is_dir():
        return
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        raise LittlestHubError(f"{directory} cannot be removed", f"See why: rm -r {directory}")


def _reload_or_undo(layout: Layout, progress: Progress, undo: Callable[[], None]) -> None:
    """Reload the hub; undo the change that it should read if it refuses."""
    try:
        _reload(layout, progress)
    except BaseException:
        undo()
        raise


def _reload(layout: Layout, progress: Progress) -> None:
    """Let the running hub read the courses; user servers go on.

    Raises:
        LittlestHubError: it refuses.
    """
    progress("Reloading the hub ...")
    if is_active(layout.hub_service):
        apply_configuration(layout)


def require_nbgrader(layout: Layout) -> None:
    """Refuse courses without nbgrader in the packages that servers use now.

    Raises:
        LittlestHubError: it is missing.
    """
    overlay = active_overlay(layout, release_of_this_interpreter())
    if not (overlay and (overlay / "server" / "nbgrader").is_dir()):
        raise LittlestHubError(
            "nbgrader is not among the packages of user servers",
            f"Add it: {layout.command} packages add --server nbgrader==0.9.6",
        )
