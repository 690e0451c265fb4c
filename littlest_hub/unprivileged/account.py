"""The account of a hub that is not root, and the directories that it may write to."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.system import service_accounts
from littlest_hub.units.names import FIRST_UID, SYSTEM_ACCOUNT_NAME
from littlest_hub.unprivileged.privileges import hub_account


def choose_user(layout: Layout, wanted: str, *, is_possible: bool) -> str | None:
    """Return the user that the hub is going to run as; None: root, or the user who installs.

    Args:
        layout: the installation.
        wanted: LITTLEST_HUB_USER; "": the present user.
        is_possible: whether systemd runs here, and we are root.

    Raises:
        LittlestHubError: the hub cannot run as that user, or runs as another one already.
    """
    current = layout.hub_user
    if current is not None:
        hub_account(layout)
    elif layout.on_disk(layout.hub_user_state).is_dir():
        raise LittlestHubError(
            f"{layout.hub_user_state} belongs to root; expected the user that the hub runs as",
            f"chown -R USER: {layout.hub_user_state}, or move the directory away",
        )
    if wanted in ("", current or "root"):
        return current
    if not re.fullmatch(SYSTEM_ACCOUNT_NAME, wanted):
        raise LittlestHubError(f"LITTLEST_HUB_USER={wanted!r} is no name for an account")
    if wanted in (layout.users_group, layout.proxy_user):
        raise LittlestHubError(
            f"LITTLEST_HUB_USER={wanted}: this hub needs that name for the group of its users, or"
            " for the proxy's user",
            "Choose another name; the installer creates the account",
        )
    if not is_possible:
        raise LittlestHubError(
            f"LITTLEST_HUB_USER={wanted}: that takes root and a running systemd",
            "Leave it out: without root the hub is only for you and runs as you",
        )
    if current or layout.on_disk(layout.database).exists():
        raise LittlestHubError(
            f"LITTLEST_HUB_USER={wanted}: this hub runs as {current or 'root'} already, and its"
            " files are that user's",
            "Install another one beside it (LITTLEST_HUB_BASE=…),"
            " or see how-to/hub-as-its-own-user",
        )
    _check_polkit(Path("/usr/share"))
    return wanted


def _check_polkit(share: Path) -> None:
    service = share / "dbus-1/system-services/org.freedesktop.PolicyKit1.service"
    # polkit before 0.106 has no rules.
    if not (service.exists() and (share / "polkit-1/rules.d").is_dir()):
        raise LittlestHubError(
            "LITTLEST_HUB_USER needs polkit, which decides what that user may start",
            "apt install polkitd (Debian 12 or later), dnf install polkit",
        )


def create(layout: Layout, user: str, undo: contextlib.ExitStack) -> None:
    """Create the hub's account, and the group whose members may have servers.

    Raises:
        LittlestHubError: an account of that name exists and is not this hub's.
    """
    group = layout.users_group
    try:
        account = pwd.getpwnam(user)
        # Created again by hand, as the hint of `hub_account` says: the hub's files are that user's.
        is_recreated = account.pw_gecos == "" and layout.hub_user == user
        if account.pw_uid >= FIRST_UID or not (is_ours(layout, user) or is_recreated):
            raise LittlestHubError(
                f"LITTLEST_HUB_USER={user}: there is such an account, and it is not this hub's:"
                f" {account.pw_gecos or account.pw_uid!r}",
                "Choose an unused name; the installer creates the account",
            )
    except KeyError:
        undo.callback(remove, layout, user)
    service_accounts.change(
        "systemd-sysusers",
        "--inline",
        f'u {user} - "{_gecos(layout)}" {layout.hub_user_state}',
        f"g {group} -",
    )


def remove(layout: Layout, user: str | None) -> None:
    """Remove account and group, if we created them."""
    if user is not None and is_ours(layout, user):
        service_accounts.remove(user, _gecos(layout))
        subprocess.run(["groupdel", layout.users_group], capture_output=True)


def is_ours(layout: Layout, user: str) -> bool:
    """Return whether an account was created for this hub."""
    return service_accounts.is_described(user, _gecos(layout))


def grant_directories(layout: Layout, user: str, undo: contextlib.ExitStack) -> None:
    """Create the directories that the hub's user writes to, and let it read the fragments.

    `state` stays root's, so that the hub's user can replace nothing else in it.
    """
    account = pwd.getpwnam(user)
    uid, gid = account.pw_uid, account.pw_gid
    fragments, state = layout.on_disk(layout.fragments), layout.on_disk(layout.state)
    for directory, mode in ((fragments, 0o750), (state, 0o710)):
        os.chown(directory, 0, gid)
        directory.chmod(mode)
    proxy = layout.on_disk(layout.proxy_state)
    if not proxy.exists():
        undo.callback(shutil.rmtree, proxy, ignore_errors=True)
        proxy.mkdir()
    # Sticky: the hub's user cannot remove files of root and of the proxy.
    os.chown(proxy, 0, gid)
    proxy.chmod(0o1775)
    # systemd mounts it for the proxy and gives it to the proxy's user.
    layout.on_disk(layout.acme).mkdir(mode=0o700, exist_ok=True)
    own = layout.on_disk(layout.hub_user_state)
    if not own.exists():
        # By rename: its owner decides which user the hub runs as.
        temporary = own.with_name(".hub.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        os.chown(temporary, uid, gid)
        undo.callback(shutil.rmtree, own, ignore_errors=True)
        temporary.rename(own)


def _gecos(layout: Layout) -> str:
    return f"Littlest Hub at {layout.base}"
