"""sudo for administrators of the hub: root's helper writes a file that names their accounts.

sudo(8) reads the file at each call, so that a change applies to the next one. Membership in a group
would stay with every process that runs. sudo finds the file through a link into the base directory,
as systemd finds units: if that directory is removed, nobody has sudo any more.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.table import STACK
from littlest_hub.stacks.classroom.environment.place import Place
from littlest_hub.system import cgroups, files, pidfd
from littlest_hub.system.systemctl import list_units, show, systemctl

DIRECTORY = Path("/etc/sudoers.d")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ROUNDS = 20
_START_S = 10
_NUMBERS = re.compile(r"^(Uid|Gid|Groups|Cap(?:Inh|Prm|Eff|Amb)):\s*(.*)$", re.MULTILINE)


def link_of(layout: Layout) -> Path:
    """Return the link that sudo reads; sudo ignores names with a "." (sudoers(5))."""
    return DIRECTORY / f"{layout.instance}-{STACK}"


def file_of(layout: Layout) -> Path:
    """Return the file that the link leads to; only root writes there, and no backup contains it."""
    return layout.base / f"{STACK}-sudoers"


def program(name: str = "visudo") -> str | None:
    """Return the path of one of sudo's programs; None: sudo is not installed."""
    return shutil.which(name, path=_PATH)


def text_of(layout: Layout, accounts: Mapping[int, str]) -> str:
    """Return the content of the file.

    Args:
        layout: the installation.
        accounts: names by number; names are only comments.
    """
    lines = [
        f"# Administrators of the hub at {layout.base}. Written by its helper whenever somebody",
        "# becomes one, or ceases to be one; ADMINS_HAVE_SUDO in 60-class.py turns it off.",
    ]
    # `sudo pip` is the environment's pip as well; only root can write to its directory.
    path = f"{Place.of(layout).programs}:{_PATH}"
    for uid, name in sorted(accounts.items()):
        harmless = re.sub(r"[^A-Za-z0-9_.@-]", "?", name)
        lines += [f"# {harmless}", f'Defaults:#{uid} secure_path="{path}"']
        lines += [f"#{uid} ALL=(ALL:ALL) NOPASSWD: ALL"]
    return "\n".join(lines) + "\n"


def replace_file(layout: Layout, accounts: Mapping[int, str]) -> str:
    """Let these accounts and no others use sudo; return "", or the reason why none may.

    Raises:
        LittlestHubError: visudo(8) refuses the file; nobody may use sudo then.
    """
    link, file = link_of(layout), file_of(layout)
    visudo = program()
    if not accounts or visudo is None:
        link.unlink(missing_ok=True)
        return "sudo is not installed" if accounts else ""
    text = text_of(layout, accounts)
    with tempfile.NamedTemporaryFile("w", dir="/run") as draft:
        draft.write(text)
        draft.flush()
        done = subprocess.run([visudo, "-cf", draft.name], capture_output=True, text=True)
    if done.returncode:
        link.unlink(missing_ok=True)
        raise LittlestHubError(f"visudo refuses {link}: {done.stdout}{done.stderr}".strip())
    files.write(file, text, 0o440)
    files.link(link, file)
    return ""


def end_elevated(layout: Layout, uid: int) -> None:
    """Kill processes in an account's servers that have more rights than the account.

    A server in which they start others faster than they are killed is stopped.
    """
    try:
        account = pwd.getpwuid(uid)
        gids = frozenset(os.getgrouplist(account.pw_name, account.pw_gid))
    except KeyError:
        gids = frozenset()
    for unit in list_units(layout.user_unit_pattern):
        # Until systemd executes a server's program, the unit's process is systemd's own, as root.
        _await_start(unit)
        if show(unit, "UID") != str(uid):
            continue
        group = show(unit, "ControlGroup")
        for _ in range(_ROUNDS):
            if not pidfd.kill(elevated_in(cgroups.process_ids(group), uid, gids)):
                break
        else:
            # They start others faster than they are killed.
            systemctl("kill", "--signal=KILL", unit, is_checked=False)
            systemctl("stop", unit, is_checked=False)


def _await_start(unit: str) -> None:
    # systemctl waits only for jobs that it has started itself.
    deadline = time.monotonic() + _START_S
    while show(unit, "ActiveState") == "activating" and time.monotonic() < deadline:
        time.sleep(0.05)


def elevated_in(pids: Iterable[int], uid: int, gids: frozenset[int]) -> list[int]:
    """Return the processes that have more rights than an account."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            if is_elevated(Path(f"/proc/{pid}/status").read_text(), uid, gids):
                found.append(pid)
    return found


def is_elevated(status: str, uid: int, gids: frozenset[int]) -> bool:
    """Return whether a process has more rights than an account.

    Args:
        status: the content of /proc/PID/status, proc(5).
        uid: of the account.
        gids: all groups of the account.
    """
    if re.search(r"^State:\s*Z", status, re.MULTILINE):
        return False
    fields = dict(_NUMBERS.findall(status))
    capabilities = (fields.get(f"Cap{kind}", "0") for kind in ("Inh", "Prm", "Eff", "Amb"))
    return (
        set(fields.get("Uid", "").split()) != {str(uid)}
        or not {int(each) for each in fields.get("Gid", "").split()} <= gids
        or not {int(each) for each in fields.get("Groups", "").split()} <= gids
        or any(int(each, 16) for each in capabilities)
    )
