"""Installing into a machine, or an image of one, and removing from it again."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.fragments import catalogue
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import release, upgrade
from littlest_hub.lifecycle.locks import changing, no_foreground_hub
from littlest_hub.lifecycle.machine import Described, Machine, is_answer, visit
from littlest_hub.lifecycle.upgrade import Serving
from littlest_hub.system.files import link, write
from littlest_hub.system.progress import Progress
from littlest_hub.system.signals import undone_on_failure
from littlest_hub.system.tcp import who_listens
from littlest_hub.units.ports import FIRST_PUBLIC, Ports, choose
from littlest_hub.unprivileged import account

FIRST_FRAGMENT = "10-users.py"

# What login names may be here: a subset of useradd(8), LDAP's dots and domains included.
_LOGIN_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,62}")


def install(
    layout: Layout, prefix: Path, options: Mapping[str, str], say: Progress = lambda line: None
) -> str:
    """Make the release in `prefix` the one that serves; running it twice changes nothing more.

    If another one serves, this is an upgrade: it is switched to, watched, and switched back from.

    Args:
        layout: of the base directory that the prefix belongs to.
        prefix: the release, as the machine sees it.
        options: LITTLEST_HUB_PORT, LITTLEST_HUB_ADMIN and LITTLEST_HUB_USER, usually the
            environment.
        say: prints a line when something begins that takes a while.

    Returns:
        What the administrator should know now.

    Raises:
        LittlestHubError: why it is not possible; whatever was made on the way is removed.
    """
    if not layout.on_disk(prefix / "bin" / "python3").exists():
        raise LittlestHubError(f"{prefix} holds no hub environment: bin/python3 is missing")
    admin = options.get("LITTLEST_HUB_ADMIN", "").strip()
    if admin and not is_login_name(admin):
        raise LittlestHubError(
            f"LITTLEST_HUB_ADMIN={admin!r} is no login name",
            "Give one such as alice: lower-case letters, digits and _ . @ -",
        )
    machine = Machine(layout)
    if machine.has_systemd:
        layout.check_for_systemd()
        machine.check_names()
    wanted = options.get("LITTLEST_HUB_USER", "").strip()
    user = account.choose(layout, wanted, is_possible=machine.has_systemd and machine.is_running)
    with undone_on_failure() as undo:
        _make_directories(layout, undo)
        if user:
            account.create(layout, user, undo)
            account.hand_over(layout, user, undo)
            layout = layout._replace(hub_user=user)
            machine = Machine(layout)
        with changing(layout), no_foreground_hub(layout):
            if machine.has_systemd and not layout.hub_user:
                for drop_in in catalogue.add_new_drop_ins(layout, prefix, undo):
                    say(f"{drop_in} gives the hub's unit rights that a fragment needs")
            return _install(machine, prefix, admin, options, say)


def _install(
    machine: Machine, prefix: Path, admin: str, options: Mapping[str, str], say: Progress
) -> str:
    layout = machine.layout
    before = upgrade.before(layout, prefix)
    to: Serving = {
        "release": str(prefix.relative_to(layout.base)),
        "version": release.version_of(layout, prefix),
        "described": None,
    }
    if before:
        release.check_step(before["version"], to["version"])
    is_first = before is None and release.active(layout) is None
    if is_first and machine.has_systemd and machine.knows_us:
        # Of a base directory that was removed while they ran: they hold its ports.
        machine.remove(user_servers=False)
    ports = choose(layout, options.get("LITTLEST_HUB_PORT")) if machine.has_systemd else Ports()
    if layout.is_live and fragment_files(layout):
        _check_fragments(layout, to["version"])
    if before and layout.is_live:
        upgrade.rehearse(layout, say)
    if before:
        return _upgrade(machine, ports, before, to, say)
    with undone_on_failure() as undo:
        is_stock = is_first and not fragment_files(layout)
        _write_first_fragment(layout, admin, undo)
        _activate(layout, prefix, undo)
        if not machine.has_systemd:
            return _how_to_run(layout)
        if is_first:
            undo.callback(machine.remove)
        else:
            undo.callback(_restore, machine, machine.described())
        changed = machine.describe(ports)
        if not machine.is_running:
            return _how_to_boot(layout, ports)
        machine.start(changed)
        # Fragments and drop-ins may have moved it: to HTTPS, to another address or path.
        if is_stock:
            machine.await_login_page(ports)
    said = upgrade.remove_unused(layout)
    told = _how_to_use(layout, ports) + _who_may_have_a_server(layout)
    return told + "".join(f"{line}\n" for line in said)


def _upgrade(machine: Machine, ports: Ports, before: Serving, to: Serving, say: Progress) -> str:
    layout = machine.layout
    is_public = machine.is_running and is_answer(visit(ports.public_address, "/hub/login"))
    with upgrade.switching(layout, before, to, "upgrade", say):
        say(f"Switching from {before['version']} to {to['version']} ...")
        link(layout.on_disk(layout.hub), Path(to["release"]))
        if not machine.has_systemd:
            return _how_to_run(layout)
        changed = machine.describe(ports)
        if not machine.is_running:
            return _how_to_boot(layout, ports)
        machine.start(changed, is_switched=True)
        say("Watching it ...")
        machine.watch(ports, public=is_public)
    said = [
        f"{to['version']} serves now. Servers that were running go on with the release they were"
        " started with.",
        "To return to the one before: littlest-hub rollback",
        *upgrade.remove_unused(layout),
    ]
    return "\n".join(said) + "\n"


def undo_install(layout: Layout, prefix: Path, say: Progress) -> None:
    """Undo what an installation of `prefix` did that was killed: the prefix is to be removed.

    Raises:
        LittlestHubError: something uses it.
    """
    machine = Machine(layout)
    if not upgrade.undo(layout, prefix, say):
        is_only = upgrade.last(layout) is None and release.active(layout) == prefix
        if not is_only or layout.on_disk(layout.database).exists():
            raise LittlestHubError(
                f"{prefix} is in use and stays", "Run the installer again to repair it"
            )
        # A first installation that has never served.
        if machine.has_systemd and machine.knows_us:
            machine.remove(user_servers=False)
        layout.on_disk(layout.hub).unlink(missing_ok=True)


def uninstall(layout: Layout, *, purge: bool = False) -> str:
    """Stop everything, user servers too, and remove it; what the admin owns stays.

    Args:
        layout: of the base directory, of which half may be gone.
        purge: remove what the admin owns as well, but for people's homes.

    Returns:
        What is left, and how to remove that.

    Raises:
        LittlestHubError: something could not be stopped or removed.
    """
    with contextlib.ExitStack() as locks:
        if layout.on_disk(layout.state).is_dir():
            locks.enter_context(changing(layout))
        locks.enter_context(no_foreground_hub(layout))
        return _uninstall(layout, purge)


def _uninstall(layout: Layout, purge: bool) -> str:
    machine = Machine(layout)
    is_served = machine.has_systemd and machine.knows_us
    servers = machine.user_servers() if is_served else []
    if is_served:
        machine.remove()
    drop_ins, homes = machine.left() if is_served else ([], [])
    user = layout.hub_user
    layout.on_disk(layout.hub).unlink(missing_ok=True)
    owned = [layout.fragments, layout.state, *drop_ins]
    if purge:
        for path in owned:
            shutil.rmtree(layout.on_disk(path), ignore_errors=True)
        account.remove(layout, user)
        if machine.is_running and drop_ins:
            machine.forget()
    # Last: we run from there.
    shutil.rmtree(layout.on_disk(layout.releases), ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.on_disk(layout.base).rmdir()
    left = [path for path in (*owned, *homes) if layout.on_disk(path).exists()]
    lines = ["Removed."]
    if servers:
        lines.append(f"Stopped with it: {', '.join(servers)}")
    if left:
        lines += ["What you own stays:", *(f"  {path}" for path in left)]
        whole = [path for path in left if not path.is_relative_to(layout.base)]
        base = [layout.base] if len(whole) < len(left) else []
        words = " ".join(shlex.quote(str(path)) for path in (*base, *whole))
        lines.append(f"To remove that as well: rm -rf {words}")
    if user and account.is_ours(layout, user):
        lines.append(f"And the hub's account: userdel {user}; groupdel {layout.users_group}")
    return "\n".join(lines)


def is_login_name(text: str) -> bool:
    """Whether somebody may be called so here."""
    return _LOGIN_NAME.fullmatch(text) is not None


def first_fragment(layout: Layout, admin: str) -> str:
    """The fragment that lets the first person in, as administrator."""
    return f"""\
# Who may log in. JupyterHub lets nobody in by default. This file is yours: the installer wrote it
# once and will not touch it again. After a change: systemctl reload {layout.instance}
c.Authenticator.admin_users = {{{admin!r}}}
c.Authenticator.allowed_users = {{{admin!r}}}
"""


def _make_directories(layout: Layout, undo: contextlib.ExitStack) -> None:
    for directory, remove in (
        (layout.on_disk(layout.fragments), _remove_if_empty),
        (layout.on_disk(layout.state), _remove_tree),
    ):
        if not directory.is_dir():
            undo.callback(remove, directory)
            directory.mkdir(parents=True)
            directory.chmod(0o700)


def _write_first_fragment(layout: Layout, admin: str, undo: contextlib.ExitStack) -> None:
    fragment = layout.on_disk(layout.fragments) / FIRST_FRAGMENT
    if admin and not fragment.exists():
        undo.callback(fragment.unlink, missing_ok=True)
        write(fragment, first_fragment(layout, admin))


def _activate(layout: Layout, prefix: Path, undo: contextlib.ExitStack) -> None:
    active = layout.on_disk(layout.hub)
    before = active.readlink() if active.is_symlink() else None
    if active.exists() and before is None:
        raise LittlestHubError(
            f"{layout.hub} is not a link to a release", "Move it away, then install again"
        )
    if before:
        undo.callback(link, active, before)
    else:
        undo.callback(active.unlink, missing_ok=True)
    link(active, prefix.relative_to(layout.base))


def _check_fragments(layout: Layout, version: str) -> None:
    from littlest_hub.check import check_fragments

    problems = check_fragments(layout).errors
    if problems:
        raise LittlestHubError(
            "\n".join(map(str, problems)),
            f"{version} cannot use these fragments. Mend them, then try again; nothing was changed",
        )


def _restore(machine: Machine, was: Described) -> None:
    changed = machine.restore(was)
    if machine.is_running:
        machine.start(changed, is_forced=True)


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _remove_tree(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)


# --- what the administrator is told


def _who_may_log_in(layout: Layout) -> str:
    if layout.on_disk(layout.fragments / FIRST_FRAGMENT).exists():
        return ""
    return f"""
Nobody may log in yet. For alice to be the administrator, write into {layout.fragments}/10-users.py:
  c.Authenticator.admin_users = {{"alice"}}
  c.Authenticator.allowed_users = {{"alice"}}
"""


def _who_may_have_a_server(layout: Layout) -> str:
    if layout.hub_user is None:
        return ""
    return f"""
The hub runs as {layout.hub_user}. It may let in, and start servers for, members of one group only:
  gpasswd --add alice {layout.users_group}
"""


def _how_to_use(layout: Layout, ports: Ports) -> str:
    port = "" if ports.public == 80 else f":{ports.public}"
    url = f"http://{ports.host or os.uname().nodename}{port}/"
    if not ports.is_public:
        url += """, to this machine alone.
nginx, Apache or another proxy in front of it: littlest-hub enable behind-a-proxy"""
    elif port and layout.is_default and (who := who_listens(FIRST_PUBLIC)):
        url += f"""
(port {FIRST_PUBLIC} is taken by {who}; to be behind it: littlest-hub enable behind-a-proxy)"""
    return f"""\
The hub answers at {url}
{_who_may_log_in(layout)}
Its configuration is what you put into {layout.fragments}/*.py;
after a change: systemctl reload {layout.instance}
"""


def _how_to_boot(layout: Layout, ports: Ports) -> str:
    where = ports.listen(ports.public)
    return f"""\
systemd does not run here: everything is in place and enabled, and starts at the next boot,
on {where if ports.host else f"port {where}"}.
{_who_may_log_in(layout)}
Its configuration is what you put into {layout.fragments}/*.py
"""


def _how_to_run(layout: Layout) -> str:
    return f"""\
Installed for you alone (system services need root and systemd). To start the hub in the foreground:
  {layout.hub}/bin/littlest-hub run
Its configuration is what you put into {layout.fragments}/*.py
"""
