"""A user server as it is launched: command, environment and properties of its unit."""

from __future__ import annotations

import html
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tornado.web import HTTPError

from littlest_hub.hub.systemd_units import UnitState
from littlest_hub.installation import active_overlay, release_of_this_interpreter
from littlest_hub.layout import SERVER_PACKAGES, Layout
from littlest_hub.units import server
from littlest_hub.units.server import Account

EXIT_REASONS = {
    200: "its working directory, usually the home directory, cannot be entered",
    203: "its command cannot be executed",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "a directory that one of its properties names does not exist",
}
"""Exit codes of systemd itself, before it executes a command: systemd.exec(5), "Process Exit
Codes"."""
CONTROL_CHARACTER = re.compile(r"[\0-\x08\x0b-\x1f\x7f]")
"""A character at which systemd leaves a variable out without a word: `env_value_is_valid` in its
src/basic/env-util.c."""
_IDENTITY = (
    "JUPYTERHUB_USER",
    "JUPYTERHUB_SERVER_NAME",
    "JUPYTERHUB_SERVICE_PREFIX",
    "JUPYTERHUB_CLIENT_ID",
    "JUPYTERHUB_API_URL",
)
"""Variables that are the same in a running server and in the one that the hub would start."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotStartedError(HTTPError):  # type: ignore[misc]
    """A server that does not start, with the reason; JupyterHub logs and shows it.

    Args:
        reason: of the failure.
        is_for_people: the page shows it at once; others are below "Details".
    """

    def __init__(self, reason: str, *, is_for_people: bool = False) -> None:
        super().__init__(500, reason)
        self.jupyterhub_message = reason
        if is_for_people:
            self.jupyterhub_html_message = html.escape(reason)


# doctor/failed_spawns.py recognizes these sentences in the journal, which tests/unit/doctor proves.


def no_account(name: str) -> NotStartedError:
    """Return the error of a server whose user has no system account."""
    return NotStartedError(f"No user named {name} found in the system")


def shared_number(name: str, other: str, uid: int) -> NotStartedError:
    """Return the error of a server that systemd would start as another account."""
    return NotStartedError(
        f"The accounts {name} and {other} share the number {uid}, and systemd accepts no account"
        f" named {name}"
    )


def refused(unit: str, reason: str) -> NotStartedError:
    """Return the error of a server that systemd refuses to start."""
    return NotStartedError(f"systemd does not start {unit}: {reason}")


def ended(unit: str, state: UnitState) -> NotStartedError:
    """Return the error of a server that has ended before it listened."""
    return NotStartedError(
        f"{unit} ended before it listened ({state.result}, {state.status});"
        f" its last words: journalctl --namespace='*' -u '{unit}'"
    )


@dataclass(frozen=True)
class Launch:
    """A user server as it is to be launched."""

    unit: str
    """The unit's name, with its suffix."""
    account: Account | None
    """The account of this machine that it runs as; None: one that systemd lends."""
    command: Sequence[str]
    """Absolute path of its program, and arguments."""
    environment: Mapping[str, str] = field(repr=False)
    """Contains secrets."""
    properties: server.Properties
    """Everything else about the unit, user and working directory included."""

    def systemd_run(self, environment_file: Path) -> list[str]:
        """Return the systemd-run(1) command for it."""
        # Without --quiet, which would suppress systemd's reasons too.
        argv = ["systemd-run", f"--unit={self.unit}"]
        for name, value in self.properties.items():
            # An empty value resets what was set before, perhaps by a drop-in.
            values = (value or [""]) if isinstance(value, list) else [value]
            argv += [f"--property={name}={each}" for each in values]
        # systemd expands variables in arguments: systemd.service(5), "Command lines".
        arguments = [word.replace("$", "$$") for word in self.command[1:]]
        program = self.command[0]
        return [
            *argv,
            f"--property=EnvironmentFile={environment_file}",
            "--",
            program,
            *arguments,
        ]


def assignment(text: str) -> str:
    """Return the value of Environment= for a text in systemd's syntax, or for one with braces.

    systemd removes the quotes of JSON, and splits it: MARK={"a": 1} becomes MARK={a: and 1}.
    """
    if "{" not in text or text.startswith(('"', "'")):
        return text
    # Backslashes begin an escape even within quotes.
    return shlex.quote(text.replace("\\", "\\\\"))


def environment_file(environment: Mapping[str, str]) -> str:
    """Return the text of an EnvironmentFile=, systemd.exec(5).

    Raises:
        NotStartedError: the name of a variable is invalid.
    """
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name):
            raise NotStartedError(f"{name!r} in c.Spawner.environment cannot be a variable")
        if found := CONTROL_CHARACTER.search(value):
            raise NotStartedError(
                f"{name} in c.Spawner.environment contains {found[0]!r}, and systemd passes on no"
                " control characters but tabs and ends of lines"
            )
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()))


def parse_environment_file(text: str) -> dict[str, str]:
    """Parse what `environment_file` returned.

    Raises:
        ValueError: it is something else.
    """
    return dict(line.split("=", 1) for line in shlex.split(text))


def port_and_token(environment: Path, own: Mapping[str, str]) -> tuple[int, str] | None:
    """Return port and token of a running server; None: it is another server.

    Args:
        environment: file with the environment of the server that runs.
        own: the environment that the hub would start it with.
    """
    try:
        found = parse_environment_file(environment.read_text())
    except (OSError, ValueError):
        return None
    port = urlsplit(found.get("JUPYTERHUB_SERVICE_URL", "")).port
    token = found.get("JUPYTERHUB_API_TOKEN")
    is_own = all(found.get(name) == own.get(name) for name in _IDENTITY)
    return (port, token) if port and token and is_own else None


def find_program(name: str, path: str) -> str:
    """Return the absolute path of a program: systemd does not search the unit's own PATH.

    Raises:
        NotStartedError: it is not found.
    """
    if Path(name).is_absolute():
        return name
    found = shutil.which(name, path=path)
    if not found:
        raise NotStartedError(f"{name} not found on {path}")
    return found


def server_command() -> list[str]:
    """Return the command of a user server.

    From the release itself, not through the `hub` link: a running server keeps its release when
    the link changes. -I: nothing in the home directory or in ~/.local can keep it from starting.
    """
    python = release_of_this_interpreter() / "bin" / "python3"
    return [str(python), "-I", "-m", "littlest_hub.singleuser"]


def package_environment(layout: Layout) -> dict[str, str]:
    """Return the variable that tells a user server which packages it has besides its release's."""
    overlay = active_overlay(layout, release_of_this_interpreter())
    return {SERVER_PACKAGES: str(overlay)} if overlay else {}


def server_environment(
    name: str, home: Path | None, shell: str, programs: Path | None = None
) -> dict[str, str]:
    """Return the environment of a user server, to which JupyterHub adds its own variables.

    Args:
        name: the account's.
        home: its home directory.
        shell: for its terminals.
        programs: directory of the release's, where the server runs; None: that of this release.
    """
    programs = programs or release_of_this_interpreter() / "bin"
    # The release first, so that `pip` and `jupyter` are the notebook's; then what pip installs for
    # the user.
    own = [programs, *([home / ".local" / "bin"] if home else [])]
    return {
        "PATH": ":".join([*map(str, own), SYSTEM_PATH]),
        "LANG": "C.UTF-8",
        "USER": name,
        "LOGNAME": name,
        **({"HOME": str(home)} if home else {}),
        "SHELL": shell,
    }
