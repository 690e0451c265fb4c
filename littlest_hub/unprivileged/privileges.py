"""Putting root's rights down before touching what a hub that is not root can write to."""

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

# What of root's environment is passed on, which the hub's user could read.
_HARMLESS = ("PATH", "LANG", "LC_ALL", "TERM", "NO_COLOR", "TZ")


def hub_account(layout: Layout) -> pwd.struct_passwd:
    """Return the account of a hub that is not root.

    Raises:
        LittlestHubError: it was removed.
    """
    try:
        return pwd.getpwnam(str(layout.hub_user))
    except KeyError:
        raise LittlestHubError(
            f"{layout.own_state} belongs to user {layout.hub_user}, who is gone: the hub ran as"
            " that user",
            f"useradd --system --uid {layout.hub_user} --user-group NAME, or remove the directory",
        ) from None


def again_as_hub(layout: Layout, *arguments: str | Path | None) -> None:
    """Have a command run with the rights of the hub's user, and end with it.

    Returns at once if the hub runs as root, or if we are not root.

    Args:
        layout: whose hub.
        arguments: what we were told; None and False are left out. Paths are meant from where we
            are, which may be a place of root's; so the command runs elsewhere.
    """
    if layout.hub_user is None or os.geteuid() != 0:
        return
    account = hub_account(layout)
    user = account.pw_name
    given = [each for each in arguments if each]
    done = subprocess.run(
        [sys.executable, "-I", "-m", "littlest_hub", *(_word(each) for each in given)],
        cwd="/",
        env={
            **{name: os.environ[name] for name in _HARMLESS if name in os.environ},
            **{"HOME": account.pw_dir, "USER": user, "LOGNAME": user},
        },
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid),
        # Without a terminal of its own, into which it could type (TIOCSTI).
        start_new_session=True,
    )
    sys.exit(done.returncode)


def _word(argument: str | Path) -> str:
    # "-" is standard output.
    is_place = isinstance(argument, Path) and argument != Path("-")
    return str(Path.cwd() / argument if is_place else argument)


def as_hub(layout: Layout, do: Callable[[], T]) -> T:
    """Do something with the rights of the hub's user: in its state, no link leads root astray.

    Args:
        layout: whose hub; if it runs as root, and if we are not root, this is just a call.
        do: runs in a child then; what it returns comes back as JSON.

    Raises:
        LittlestHubError: `do` did, or it failed otherwise.
    """
    if layout.hub_user is None or os.geteuid() != 0:
        return do()
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
                json.dump(_answer(do), out)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as said:
        text = said.read()
    os.waitpid(pid, 0)
    answer = json.loads(text or '{"failed": "a child of ours ended early"}')
    if "failed" in answer:
        raise LittlestHubError(str(answer["failed"]), answer.get("hint"))
    return answer["done"]  # type: ignore[no-any-return]


def _answer(do: Callable[[], object]) -> dict[str, object]:
    try:
        return {"done": do()}
    except LittlestHubError as error:
        return {"failed": error.message, "hint": error.hint}
    except OSError as error:
        return {"failed": f"{error.filename}: {error.strerror}" if error.filename else str(error)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
