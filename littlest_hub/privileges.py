"""Putting root's rights down before touching what a hub that is not root can write to."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable, Sequence
from typing import TypeVar

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

T = TypeVar("T", None, bool, str)


def become(user: str, groups: Sequence[str] = ()) -> None:
    """Be somebody else from now on, for good.

    Args:
        user: whose rights to have.
        groups: what further groups may as well, if there are such groups.
    """
    account = pwd.getpwnam(user)
    more = [each.gr_gid for each in grp.getgrall() if each.gr_name in groups]
    os.setgroups(sorted({*os.getgrouplist(user, account.pw_gid), *more}))
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    os.environ.update(HOME=account.pw_dir, USER=user, LOGNAME=user)


def as_hub(layout: Layout, do: Callable[[], T]) -> T:
    """Do something with the rights of the hub's user: in its state, no link leads root astray.

    Args:
        layout: whose hub; if it runs as root, and if we are not root, this is just a call.
        do: runs in a child then; what it returns comes back as JSON.

    Raises:
        LittlestHubError: `do` did, or it failed otherwise.
    """
    user = layout.hub_user
    if user is None or os.geteuid() != 0:
        return do()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become(user)
            answer = _answer(do)
            with open(writing, "w") as out:
                json.dump(answer, out)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading) as said:
        text = said.read()
    os.waitpid(pid, 0)
    answer = json.loads(text or '{"failed": "a child of ours ended early"}')
    if "failed" in answer:
        raise LittlestHubError(str(answer["failed"]), str(answer.get("hint", "")))
    return answer["done"]  # type: ignore[no-any-return]


def _answer(do: Callable[[], T]) -> dict[str, object]:
    try:
        return {"done": do()}
    except LittlestHubError as error:
        return {"failed": error.message, "hint": error.hint}
    except OSError as error:
        return {"failed": f"{error.filename}: {error.strerror}" if error.filename else str(error)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
