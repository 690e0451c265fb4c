"""Root's hooks: programs that run as root for one user of the hub, before their server starts.

systemd starts an instance for each connection, as for `littlest_hub.helpers.pam`. A request is the
name of a hook and the name of a user, with a NUL between; the reply is a JSON string: "" if the
hook succeeded, otherwise the reason. The hub chooses among root's programs and never sends one, and
the user's name is the only argument.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from littlest_hub.helpers.declarations import is_declared
from littlest_hub.system.ownership import loose_step
from littlest_hub.units.helpers import HOOK_TIMEOUT_S
from littlest_hub.units.names import FIRST_UID, LOGIN_NAME, UNIT_USER_NAME

LIMIT_BYTES = 256
"""Longest request."""
HOOK_NAME = "[a-z][a-z0-9-]{0,40}"
ADD_USER = "add-user"
BUILT_IN = {
    ADD_USER: ("useradd", "--create-home", "--shell", "/bin/bash", "--key", "UMASK=0077", "NAME"),
    "make-home": ("mkhomedir_helper", "NAME", "0077"),
}
"""Hooks that need no program of the administrator's; one of that name is used instead."""
DECLARATION = "create_system_users"
"""The setting that lets the hub create accounts."""
# Accounts of hubs: the proxy's dynamic user, and the user of a hub that is not root.
_RESERVED = re.compile(r"lhub(-.*)?")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
_OUTPUT_CHARACTERS = 1000


def main() -> None:
    """Answer the request on standard input."""
    directory = Path(sys.argv[1])
    group = sys.argv[2] if len(sys.argv) > 2 else None
    print(json.dumps(answer(sys.stdin.buffer.read(LIMIT_BYTES + 1), directory, group)), end="")


def answer(request: bytes, directory: Path, group: str | None) -> str:
    """Run the hook; return "" or the reason why it did not succeed.

    Args:
        request: the hook's and the user's name.
        directory: of the administrator's hooks.
        group: the one whose members the hub may have servers for; None: everyone.
    """
    hook, _, user = request.decode(errors="replace").partition("\0")
    if len(request) > LIMIT_BYTES or not re.fullmatch(HOOK_NAME, hook):
        return "no such request"
    refusal = _no_new_user(user, directory.parent) if hook == ADD_USER else no_user(user, group)
    if refusal:
        return f"{hook}: {user!r} {refusal}"
    program = directory / hook
    if program.exists():
        if refusal := unsafe(program):
            return f"{program}: {refusal}"
        return run_program(str(program), user)
    if hook not in BUILT_IN:
        return f"{program} does not exist"
    command = [user if word == "NAME" else word for word in BUILT_IN[hook]]
    if group and hook == ADD_USER:
        command += ["--groups", group]
    return run_program(*command)


def unsafe(program: Path) -> str:
    """Return why root does not run a program of the administrator's; "": it does."""
    if found := loose_step(program):
        return f"{found.reason}; expected it to belong to root, and only root to write to it"
    if not (program.is_file() and program.stat().st_mode & stat.S_IXUSR):
        return "expected an executable file"
    return ""


def _no_new_user(name: str, fragments: Path) -> str:
    """Return why no account of this name may be created; "": it may."""
    if not re.fullmatch(UNIT_USER_NAME, name) or _RESERVED.fullmatch(name):
        return "is no name for a new account"
    try:
        pwd.getpwnam(name)
        return "has an account"
    except KeyError:
        pass
    if is_declared(DECLARATION, fragments):
        return ""
    return f"gets no account, because no fragment in {fragments} has {DECLARATION}"


def no_user(name: str, group: str | None) -> str:
    """Return why no hook may run for a user; "": it may."""
    if not re.fullmatch(LOGIN_NAME, name):
        return "is no name of a user"
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return f"is not a member of the group {group}" if group else ""
    if account.pw_uid < FIRST_UID:
        return "is an account of the system"
    if group and grp.getgrnam(group).gr_gid not in os.getgrouplist(name, account.pw_gid):
        return f"is not a member of the group {group}"
    return ""


def run_program(*command: str) -> str:
    """Run a program as root, and log what it prints; return "" or the reason why it failed."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd="/",
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=HOOK_TIMEOUT_S,
        )
    except OSError as error:
        return f"{name}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{name}: not done after {HOOK_TIMEOUT_S} s"
    output = done.stdout.decode(errors="replace").strip()
    # For the journal, whatever becomes of it.
    print(f"{_words(command)}: exit code {done.returncode}\n{output}".strip(), file=sys.stderr)
    if done.returncode == 0:
        return ""
    return f"{name}: {output[-_OUTPUT_CHARACTERS:] or f'exit code {done.returncode}'}"


def _words(command: Sequence[str]) -> str:
    return " ".join(command)


if __name__ == "__main__":
    main()
