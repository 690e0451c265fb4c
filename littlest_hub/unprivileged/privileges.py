"""Dropping root's privileges before touching files that the hub's user can write to."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

T = TypeVar("T")

# Variables that are passed on; the hub's user can read its processes' environment.
_PASSED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TERM", "NO_COLOR", "TZ")


def hub_account(layout: Layout) -> pwd.struct_passwd:
    """Return the account of a hub that is not root.

    Raises:
        LittlestHubError: it was removed.
    """
    try:
        return pwd.getpwnam(str(layout.hub_user))
    except KeyError:
        raise LittlestHubError(
            f"{layout.hub_user_state} belongs to user {layout.hub_user}, who is gone: the hub ran"
            " as that user",
            f"useradd --system --uid {layout.hub_user} --user-group NAME, or remove the directory",
        ) from None


def rerun_as_hub_user(layout: Layout, *arguments: str | Path | None) -> None:
    """Run a `littlest-hub` command as the hub's user and exit with its code.

    Return at once if the hub runs as root, or if we are not root.

    Args:
        layout: the installation.
        arguments: the command line; None and False are left out. Relative paths are made absolute,
            since the command runs in /: the hub's user may not be able to enter our directory.
    """
    if layout.hub_user is None or os.geteuid() != 0:
        return
    account = hub_account(layout)
    user = account.pw_name
    given = [each for each in arguments if each]
    done = subprocess.run(
        [sys.executable, "-I", "-m", "littlest_hub", *(_absolute(each) for each in given)],
        cwd="/",
        env={
            **{name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ},
            **{"HOME": account.pw_dir, "USER": user, "LOGNAME": user},
        },
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid),
        # Without our terminal, into which it could push input (TIOCSTI, ioctl_tty(2)).
        start_new_session=True,
    )
    sys.exit(done.returncode)


def _absolute(argument: str | Path) -> str:
    # "-" is standard output.
    is_file = isinstance(argument, Path) and argument != Path("-")
    return str(Path.cwd() / argument if is_file else argument)


def run_as_hub_user(layout: Layout, function: Callable[[], T]) -> T:
    """Call a function as the hub's user, who could place links in its state to mislead root.

    Args:
        layout: the installation; if its hub runs as root, or if we are not root, this is a call.
        function: runs in a child otherwise; its result is passed on as JSON.

    Raises:
        LittlestHubError: the function failed.
    """
    if layout.hub_user is None or os.geteuid() != 0:
        return function()
    account = hub_account(layout)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            with open(writing, "w") as out:
                json.dump(_outcome(function), out)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as child:
        text = child.read()
    os.waitpid(pid, 0)
    outcome = json.loads(text or '{"error": "a child process ended early"}')
    if "error" in outcome:
        raise LittlestHubError(str(outcome["error"]), outcome.get("hint"))
    return outcome["result"]  # type: ignore[no-any-return]


def _outcome(function: Callable[[], object]) -> dict[str, object]:
    try:
        return {"result": function()}
    except LittlestHubError as error:
        return {"error": error.message, "hint": error.hint}
    except OSError as error:
        return {"error": f"{error.filename}: {error.strerror}" if error.filename else str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
