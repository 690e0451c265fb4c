"""The hub's part of the stack: services, groups, roles, and what servers see of the exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from jupyterhub import orm
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.accounts import LentAccount
from littlest_hub.hub.launch import Launch
from littlest_hub.hub.services import ON_DEMAND
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, prologue, records, sharing
from littlest_hub.stacks.courses.course import Course
from littlest_hub.system import json_file
from littlest_hub.system.files import write
from littlest_hub.units.server import Account, with_values

_MOST_MB = 256
"""Size that fits into the memory of a kernel's unit, with the files of the assignment."""
_MARK = "littlest_hub_course"
"""Property of the hub's groups that courses have made."""
_HANDLERS = "littlest_hub.stacks.courses.page.handlers"
PAGES = {
    "courses": f"{_HANDLERS}:CoursesPage",
    "services/courses/?": f"{_HANDLERS}:OtherAddress",
    r"courses/keys\.json": f"{_HANDLERS}:PublicKeys",
}
"""Handlers by path below that of the hub."""


def configure(
    c: Config, *, roster_may_log_in: bool, max_submission_mb: int = place.SUBMISSION_MB
) -> None:
    """Let the hub know the courses.

    Args:
        c: the configuration of the hub.
        roster_may_log_in: whether people in rosters are allowed to log in.
        max_submission_mb: the largest size of a submission.

    Raises:
        LittlestHubError: the list of courses is damaged, the hub does not run as root, or the size
            cannot be had.
    """
    if not (isinstance(max_submission_mb, int) and 1 <= max_submission_mb <= _MOST_MB):
        found = f"MAX_SUBMISSION_MB is {max_submission_mb!r}"
        raise LittlestHubError(f"{found}: expected a whole number from 1 to {_MOST_MB}")
    layout = installation.of_this_release()
    if layout.hub_user:
        raise LittlestHubError("courses need a hub that runs as root")
    courses = [each for each in records.read(layout).values() if each.is_open]
    for course in courses:
        _add(c, layout, course)
        if roster_may_log_in:
            c.Authenticator.allowed_users.update(course.people)
    spawner = with_courses(c.JupyterHub.spawner_class, max_submission_mb)
    c.JupyterHub.spawner_class = spawner
    has_jobs = issubclass(spawner, JobWithCourses)
    published = {"submission_mb": max_submission_mb, "has_jobs": has_jobs}
    c.LittlestHub.on_serving.append(partial(follow, published=published))
    c.JupyterHub.template_paths.append(str(place.RELEASE_FILES / "templates"))
    c.Pages.handlers.update(PAGES)
    c.Pages.links.append({"text": "Courses", "path": "hub/courses"})


def _add(c: Config, layout: Layout, course: Course) -> None:
    c.JupyterHub.services.append(
        {
            "name": course.service,
            "url": f"http://127.0.0.1:{course.port}",
            "api_token": place.token_of(layout, course.name).read_text().strip(),
            "oauth_no_confirm": True,
            "display": False,
            "info": {ON_DEMAND: True},
        }
    )
    c.JupyterHub.load_groups.update(
        {
            group: {"users": [], "properties": {_MARK: course.name}}
            for group in (course.student_group, course.instructor_group)
        }
    )
    c.JupyterHub.load_roles.append(
        {
            "name": course.instructor_group,
            "description": f"Grade the course {course.name}",
            "scopes": [f"access:services!service={course.service}"],
            "groups": [course.instructor_group],
        }
    )


def follow(app: Any, *, published: Mapping[str, Any]) -> None:
    """Publish values for graders and `doctor`, and make the hub's groups as rosters say."""
    layout: Layout = app.layout
    directory = place.published(layout)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    environment = app.config.Spawner.get("environment", {})
    # traitlets has a lazy value if fragments only add to the setting.
    if hasattr(environment, "get_value"):
        environment = environment.get_value({})
    kernels = environment.get("JUPYTER_PATH", "")
    record = {
        "base_url": app.base_url,
        "kernels": kernels,
        **published,
    }
    write(directory / place.ADDRESS, json.dumps(record), 0o644)
    courses = records.read(layout).values()
    for course in courses:
        students, instructors = (
            (course.students, course.instructors) if course.is_open else ((), ())
        )
        _set_members(app.db, course.student_group, {*students})
        _set_members(app.db, course.instructor_group, {*instructors})
    known = {course.name for course in courses}
    for group in app.db.query(orm.Group):
        if group.properties.get(_MARK, "") not in {"", *known}:
            app.db.delete(group)
    app.db.commit()


def _set_members(db: Any, name: str, logins: set[str]) -> None:
    group = orm.Group.find(db, name)
    if group is None:
        return
    present = {user.name: user for user in group.users}
    for login in logins - present.keys():
        # Those who may not log in so far have no user.
        if user := orm.User.find(db, login):
            group.users.append(user)
    for login in present.keys() - logins:
        group.users.remove(present[login])


class UnitWithCourses:
    """A spawner of units that see the exchange of their users' courses, and nothing else of it."""

    user: Any
    layout: Layout
    max_submission_mb: int

    def _prepare(self, account: Account | LentAccount) -> Launch:
        launch: Launch = super()._prepare(account)  # type: ignore[misc]
        courses = _courses_of(self.layout, self.user.name)
        exchange, directory = place.exchange(self.layout), place.courses_directory(self.layout)
        if not courses or not isinstance(account, Account):
            hidden = {"InaccessiblePaths": [f"-{directory}", f"-{exchange}"]}
            return replace(
                launch,
                environment={**launch.environment, **_settings(launch, "others")},
                properties=with_values(launch.properties, hidden),
            )
        _publish_account(self.layout, self.user.name, account.uid)
        view = {
            "TemporaryFileSystem": [f"{exchange}:rw,mode=0777,size=1M"],
            "InaccessiblePaths": [f"-{directory}"],
            # "-": a restore may have brought the roster alone, and servers have to start anyway.
            "BindPaths": [f"-{exchange / each.name}" for each in courses],
        }
        path = launch.environment["PATH"]
        return replace(
            launch,
            environment={
                **launch.environment,
                **_settings(launch, "student"),
                place.EXCHANGE: str(exchange),
                place.SUBMISSION: str(self.max_submission_mb),
                "PATH": f"{place.PROGRAMS}:{path}",
            },
            properties=with_values(launch.properties, view),
        )


class JobWithCourses:
    """A spawner of jobs on other machines, whose servers show the courses of their users there.

    A job has no view of its own: the exchange itself admits people to their courses (`sharing`).
    """

    user: Any
    layout: Layout
    max_submission_mb: int
    python: str
    _account: Any

    @classmethod
    def can_be(cls, spawner: type[Any]) -> bool:
        """Return whether a spawner is that of the Slurm stack, which no stack may import."""
        return hasattr(spawner, "_submission") and hasattr(spawner, "_program")

    def get_env(self) -> dict[str, str]:
        environment: dict[str, str] = super().get_env()  # type: ignore[misc]
        shown = _courses_of(self.layout, self.user.name) if sharing.is_shared(self.layout) else []
        environment[prologue.VARIABLE] = json.dumps(
            {
                "exchange": str(place.exchange(self.layout)),
                "courses": [each.name for each in shown],
                "submission_mb": self.max_submission_mb,
            }
        )
        return environment

    def _program(self) -> list[str]:
        program: list[str] = super()._program()  # type: ignore[misc]
        return [self.python, "-I", "-m", prologue.MODULE, *program]

    def _submission(self) -> Any:
        _publish_account(self.layout, self.user.name, self._account().pw_uid)
        return super()._submission()  # type: ignore[misc]


def with_courses(spawner: type[Any] | str, max_submission_mb: int) -> type[Any]:
    """Return a spawner whose servers see the exchange, for `c.JupyterHub.spawner_class`.

    Args:
        spawner: `UnitSpawner`, or one that submits jobs as `SlurmSpawner` does; or its name.
        max_submission_mb: the largest size of a submission.

    Raises:
        TypeError: it is another one.
    """
    if isinstance(spawner, str) and "." in spawner:
        spawner = import_item(spawner)
    if isinstance(spawner, type):
        name, own = f"Course{spawner.__name__}", {"max_submission_mb": max_submission_mb}
        if issubclass(spawner, UnitSpawner) and not issubclass(spawner, TemplateSpawner):
            return type(name, (UnitWithCourses, spawner), own)
        if JobWithCourses.can_be(spawner):
            return type(name, (JobWithCourses, spawner), own)
    name = spawner.__name__ if isinstance(spawner, type) else spawner
    raise TypeError(f"{name} cannot show courses: expected UnitSpawner or SlurmSpawner")


def _courses_of(layout: Layout, login: str) -> list[Course]:
    """Return the courses in which somebody takes part."""
    return [course for course in records.read(layout).values() if login in course.people]


def _settings(launch: Launch, kind: str) -> dict[str, str]:
    present = launch.environment.get("JUPYTER_CONFIG_PATH", "")
    paths = [str(place.STUDENT_SETTINGS.with_name(kind)), *filter(None, (present,))]
    return {"JUPYTER_CONFIG_PATH": ":".join(paths)}


def _publish_account(layout: Layout, login: str, uid: int) -> None:
    """Let graders know who owns the files that a student hands in."""
    file = place.accounts(layout)
    known = json_file.read_object(file)
    if known.get(login) != uid:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, json.dumps({**known, login: uid}), 0o644)
