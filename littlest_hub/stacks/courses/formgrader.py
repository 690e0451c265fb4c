"""The formgrader of a course: a Jupyter server of the grader's, which is a service of the hub.

systemd holds its port, and starts it when an instructor comes. Nobody but instructors of the course
gets past the hub's login.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter
from littlest_hub.stacks.courses.course import Course
from littlest_hub.stacks.courses.grading import generating
from littlest_hub.system.sd_daemon import Inherited, inherited_sockets
from littlest_hub.units.stack import HUB_ADDRESS

_IDLE_S = 3600
"""Time for which it runs without a request, a kernel or a terminal that is in use."""
_SCRIPT = """
<script>
if (window === window.top) {
  linkTo = (_type, path) => (_index, element) => $(element)
    .attr("href", base_url + "/lab/tree/" + encodeURI(path)).attr("target", "_blank")[0];
}
if (window.createModal) {
  const open = createModal;
  const advice = " The formgrader did not complete it. No submission and no grade is lost: do it"
    + " again. If that fails as well, load this page again.";
  createModal = (id, title, body, footer) => open(
    id, title, id === "error-modal" && typeof body === "string" ? body + advice : body, footer);
}
</script>
"""
"""Replaces nbgrader's links to directories, which leave out the prefix of the server. Adds to its
messages about requests that were not answered, which do not say how to go on."""


def main() -> None:
    """Serve until nobody needs it."""
    token = sys.stdin.readline().strip()
    # Kernels must not read it from the descriptor, either.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    course = Course(sys.argv[1], 0)
    (inherited,) = inherited_sockets()
    jupyter.use_packages()
    published = jupyter.use_course(course.name)
    os.environ.update(_variables(course, str(published.get("base_url", "/")), token, inherited))
    _listen_at(inherited)
    _change_pages()
    _distrust_submissions()
    _show_lateness()
    generating.replace_in_one_step()
    from jupyterhub.singleuser import main as serve

    home = os.environ["HOME"]
    sys.argv[1:] = [
        f"--ServerApp.root_dir={home}",
        f"--ServerApp.shutdown_no_activity_timeout={_IDLE_S}",
        f"--MappingKernelManager.cull_idle_timeout={_IDLE_S}",
    ]
    serve()


def _variables(course: Course, base: str, token: str, inherited: Inherited) -> dict[str, str]:
    """Return the variables that JupyterHub would give to a service of its own."""
    prefix = f"{base}services/{course.service}/"
    with inherited.duplicate() as socket:
        host, port = socket.getsockname()[:2]
    return {
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": f"http://{os.environ[HUB_ADDRESS]}{base}hub/api",
        "JUPYTERHUB_BASE_URL": base,
        "JUPYTERHUB_CLIENT_ID": f"service-{course.service}",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:services!service={course.service}"]),
        "JUPYTERHUB_SERVICE_NAME": course.service,
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://{host}:{port}",
        "JUPYTERHUB_DEFAULT_URL": "/formgrader",
        "USER": course.account,
        "LOGNAME": course.account,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
    }


def _listen_at(inherited: Inherited) -> None:
    """Let the server accept connections at systemd's socket instead of one of its own."""
    from jupyter_server.serverapp import ServerApp

    def bind(app: Any) -> bool:
        socket = inherited.duplicate()
        socket.setblocking(False)
        app.http_server.add_socket(socket)
        return True

    ServerApp._bind_http_server_tcp = bind
    ServerApp._find_http_port = lambda app: None


def _change_pages() -> None:
    """Let pages open JupyterLab of this server, and say how to go on after a failure."""
    from nbgrader.server_extensions.formgrader.base import BaseHandler

    render = BaseHandler.render

    def with_script(handler: Any, name: str, **values: Any) -> str:
        page: str = render(handler, name, **values)
        return page.replace("</head>", f"{_SCRIPT}</head>", 1)

    BaseHandler.render = with_script


def _distrust_submissions() -> None:
    """Let nothing that a student has handed in run in an instructor's browser, or here."""
    from nbgrader.server_extensions.formgrader import formgrader, handlers
    from tornado.web import HTTPError

    from littlest_hub.stacks.courses.grading.display import SubmissionExporter

    formgrader.HTMLExporter = SubmissionExporter
    # Jupyter's own handler of files does the same: a page among them gets no origin.
    handlers.SubmissionFilesHandler.set_extra_headers = lambda handler, _: handler.set_header(
        "Content-Security-Policy", "sandbox allow-scripts"
    )
    get = handlers.FormgraderHandler.get

    def get_own(handler: Any) -> Any:
        # nbgrader would run the nbgrader_config.py of that directory, whoever has made the link.
        if handler.get_arguments("path"):
            raise HTTPError(403, "This formgrader is for the directory of its course only.")
        return get(handler)

    handlers.FormgraderHandler.get = get_own


def _show_lateness() -> None:
    """Add extensions and present late penalties to the times in the list of submissions.

    nbgrader shows neither. Its page takes the text as text.
    """
    from nbgrader.apps.api import NbGraderAPI

    several, one = NbGraderAPI.get_submissions, NbGraderAPI.get_submission

    def get_submissions(api: Any, assignment: str) -> Any:
        found = several(api, assignment)
        _add_notes(found, assignment)
        return found

    def get_submission(
        api: Any, assignment: str, student: str, *of_several: Any, **more: Any
    ) -> Any:
        found = one(api, assignment, student, *of_several, **more)
        if found and not (of_several or more):
            _add_notes([found], assignment, student)
        return found

    NbGraderAPI.get_submissions, NbGraderAPI.get_submission = get_submissions, get_submission


def _add_notes(submissions: list[dict[str, Any]], assignment: str, student: str = "") -> None:
    from littlest_hub.stacks.courses.grading import lateness

    try:
        notes = lateness.notes(assignment, student)
    except LittlestHubError as error:
        print(error, file=sys.stderr)
        notes = {each["student"]: error.message for each in submissions}
    for each in submissions:
        if note := notes.get(each["student"]):
            each["display_timestamp"] = f"{each['display_timestamp'] or 'No time'}; {note}"


if __name__ == "__main__":
    main()
