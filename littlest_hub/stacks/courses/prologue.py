"""The program before a server that is a job on another machine: `… COMMAND ARGUMENT …`.

It makes a directory of links to the courses of its user, which nbgrader takes for its exchange, and
becomes the server. It has no other rights than its user: what keeps people out of other courses is
the exchange itself (`sharing`). Whatever fails, the server starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from littlest_hub.stacks.courses import place

MODULE = "littlest_hub.stacks.courses.prologue"
VARIABLE = "LITTLEST_HUB_COURSES"
"""The variable with what the hub says, in JSON: "exchange", a path; "courses", names;
"submission_mb"."""
_SETTINGS = "JUPYTER_CONFIG_PATH"


def main() -> NoReturn:
    """Show the courses, and become the server."""
    command, environment = sys.argv[1:], dict(os.environ)
    try:
        environment |= prepared(json.loads(environment.pop(VARIABLE)), environment)
    except Exception:
        traceback.print_exc()
        environment[_SETTINGS] = _settings("others", environment)
    os.execve(command[0], command, environment)


def prepared(shown: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Make the links, and return variables of the server.

    Args:
        shown: as in `VARIABLE`.
        environment: of the server so far.
    """
    exchange = Path(shown["exchange"])
    links = Path(environment["HOME"], ".cache", "littlest-hub", exchange.name)
    if shown["courses"] or links.is_dir():
        link(links, exchange, shown["courses"])
    if not shown["courses"]:
        return {_SETTINGS: _settings("others", environment)}
    for name in shown["courses"]:
        if not os.access(exchange / name, os.X_OK):
            _say(f"{exchange / name} is not there for you; does {os.uname().nodename} share it?")
    return {
        _SETTINGS: _settings("student", environment),
        place.EXCHANGE: str(links),
        place.SUBMISSION: str(shown["submission_mb"]),
        "PATH": f"{place.PROGRAMS}:{environment['PATH']}",
    }


def link(directory: Path, exchange: Path, courses: Sequence[str]) -> None:
    """Let a directory have links to these courses, and to no others.

    Several servers of one person may do it at the same time.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in directory.iterdir():
        if each.is_symlink() and (
            each.name not in courses or each.readlink() != exchange / each.name
        ):
            each.unlink(missing_ok=True)
    for name in courses:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(exchange / name)


def _settings(kind: str, environment: Mapping[str, str]) -> str:
    # The path of the release on this machine, not that on the hub's machine.
    own = place.STUDENT_SETTINGS.with_name(kind)
    return os.pathsep.join([str(own), *filter(None, (environment.get(_SETTINGS),))])


def _say(text: str) -> None:
    print(f"littlest-hub: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
