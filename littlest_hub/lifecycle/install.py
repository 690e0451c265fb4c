"""Installing a release on a machine or into an image of one: the first time, or as an upgrade."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.fragments import catalogue
from littlest_hub.installation import fragment_files
from littlest_hub.layout import PRODUCT, Layout
from littlest_hub.lifecycle import base_directory, release, switch_record, upgrade
from littlest_hub.lifecycle.locks import changing, no_foreground_hub
from littlest_hub.lifecycle.private_files import repair_private_files
from littlest_hub.lifecycle.release_files import altered_files, repair_rights
from littlest_hub.lifecycle.services import Services, http_status, is_answer
from littlest_hub.lifecycle.switch_record import ServingRelease
from littlest_hub.lifecycle.uninstall import remove_units
from littlest_hub.lifecycle.unit_files import GeneratedFiles, UnitFiles
from littlest_hub.packages import changes
from littlest_hub.system.addresses import in_url, main_address
from littlest_hub.system.files import link, write
from littlest_hub.system.ownership import check_owners
from littlest_hub.system.passwords import unusable_passwords
from littlest_hub.system.progress import Progress
from littlest_hub.system.signals import undone_on_failure
from littlest_hub.system.tcp import describe_listener
from littlest_hub.units.names import LOGIN_NAME
from littlest_hub.units.ports import FIRST_PUBLIC, Ports, choose_ports
from littlest_hub.units.stack import renewed_units
from littlest_hub.units.unit import Unit
from littlest_hub.unprivileged import account

USERS_FRAGMENT = "10-users.py"
"""The fragment that names the administrator."""


def install(
    layout: Layout,
    prefix: Path,
    options: Mapping[str, str],
    progress: Progress = lambda line: None,
) -> str:
    """Make the release in `prefix` the one that serves; a second run changes nothing more.

    If another release serves, this is an upgrade: switch, watch, and switch back on failure.

    Args:
        layout: the installation that the prefix belongs to.
        prefix: the release, as the machine sees it.
        options: LITTLEST_HUB_PORT, LITTLEST_HUB_ADMIN and LITTLEST_HUB_USER, usually the
            environment.
        progress: shows a line when something begins that takes a while.

    Returns:
        A message for the administrator.

    Raises:
        LittlestHubError: the reason why it failed; everything made on the way was removed.
    """
    if not release.is_present(layout, prefix):
        raise LittlestHubError(f"{prefix} holds no hub environment: bin/python3 is missing")
    admin = options.get("LITTLEST_HUB_ADMIN", "").strip()
    if admin and not is_login_name(admin):
        raise LittlestHubError(
            f"LITTLEST_HUB_ADMIN={admin!r} is no login name",
            "Give one such as alice: lower-case letters, digits and _ . @ -",
        )
    for path in (prefix, layout.fragments, layout.state):
        check_owners(path, layout.root)
    services = Services(layout)
    if services.has_systemd:
        base_directory.check(layout)
        UnitFiles(layout).check_owner()
    requested = options.get("LITTLEST_HUB_USER", "").strip()
    is_possible = services.has_systemd and services.can_start
    user = account.choose_user(layout, requested, is_possible=is_possible)
    with undone_on_failure() as undo:
        _make_directories(layout, undo)
        if user:
            account.create(layout, user, undo)
            account.grant_directories(layout, user, undo)
            layout = layout._replace(hub_user=user)
        with changing(layout), no_foreground_hub(layout):
            # The installer has just written and verified them.
            if release.active(layout) == prefix and "INSTALLER_NAME" not in options:
                _repair_files(layout, prefix, progress)
            if services.has_systemd and not user:
                for drop_in in catalogue.add_new_drop_ins(layout, prefix, undo):
                    progress(f"{drop_in} gives the hub's unit rights that a fragment needs")
            return _ReleaseInstall(layout, prefix, progress).install(
                admin, options.get("LITTLEST_HUB_PORT")
            )


class _ReleaseInstall:
    """The steps of `install` once directories and accounts exist."""

    def __init__(self, layout: Layout, prefix: Path, progress: Progress) -> None:
        self.layout = layout
        self.prefix = prefix
        self.progress = progress
        self.services = Services(layout)
        self.unit_files = UnitFiles(layout)
        self.source = upgrade.serving_before(layout, prefix)
        self.target = ServingRelease.of(layout, prefix)

    def install(self, admin: str, port: str | None) -> str:
        layout, has_systemd = self.layout, self.services.has_systemd
        if self.source:
            release.check_step(layout, self.source.version, self.target.version)
        is_first = self.source is None and release.active(layout) is None
        if is_first and has_systemd and self.unit_files.are_installed:
            # Left by a base directory that was removed while they ran; they hold its ports.
            remove_units(layout, with_user_servers=False)
        ports = choose_ports(layout, port) if has_systemd else Ports()
        changes.prepare(layout, self.prefix, self.progress)
        if has_systemd:
            self._stack_units()  # a stack that this release does not have is refused here
        if layout.is_live and fragment_files(layout):
            _check_fragments(layout, self.target.version)
        if self.source and layout.is_live:
            upgrade.rehearse(layout, self.progress)
        if self.source:
            return self._upgrade(self.source, ports)
        return self._install(admin, ports, is_first)

    def _stack_units(self) -> Sequence[Unit]:
        return renewed_units(self.layout, self.prefix)

    def _install(self, admin: str, ports: Ports, is_first: bool) -> str:
        layout = self.layout
        with undone_on_failure() as undo:
            is_stock = is_first and not fragment_files(layout)
            is_named = _write_users_fragment(layout, admin, undo)
            _activate(layout, self.prefix, undo)
            if not self.services.has_systemd:
                return _run_message(layout)
            if is_first:
                undo.callback(remove_units, layout)
            else:
                undo.callback(self._restore, self.unit_files.generated())
            changed = self.unit_files.install(ports, self._stack_units)
            if not self.services.can_start:
                return _boot_message(layout, ports)
            self.services.start(changed)
            # Fragments and drop-ins may have moved it: to HTTPS, to another address or path.
            if is_stock:
                self.services.await_login_page(ports)
        lines = [_ready_message(layout, ports), _users_group_message(layout)]
        if admin and not is_named:
            lines.append(_not_administrator_message(layout, admin))
        if admin and layout.is_live:
            as_named = (
                f"\nLog in as {admin}, with the password of this machine's account {admin}.\n"
            )
            lines.append(_account_problem(admin) or (as_named if is_named else ""))
        return "".join([*lines, *(f"{line}\n" for line in upgrade.remove_unused(layout))])

    def _upgrade(self, source: ServingRelease, ports: Ports) -> str:
        layout, services, target = self.layout, self.services, self.target
        is_public = services.can_start and is_answer(
            http_status(ports.public_address, "/hub/login")
        )
        with upgrade.switching(layout, source, target, "upgrade", self.progress):
            self.progress(f"Switching from {source.version} to {target.version} ...")
            link(layout.on_disk(layout.hub), Path(target.path))
            if not services.has_systemd:
                return _run_message(layout)
            changed = self.unit_files.install(ports, self._stack_units)
            if not services.can_start:
                return _boot_message(layout, ports)
            services.start(changed, is_switched=True)
            self.progress("Watching it ...")
            services.watch(ports, is_public=is_public)
        lines = [
            f"{target.version} serves now. Servers that were running go on with the release they"
            " were started with.",
            f"To return to the one before: {layout.command} rollback",
            *upgrade.remove_unused(layout),
        ]
        return "\n".join(lines) + "\n"

    def _restore(self, files: GeneratedFiles) -> None:
        changed = self.unit_files.restore(files)
        if self.services.can_start:
            self.services.start(changed, is_forced=True)


def _repair_files(layout: Layout, prefix: Path, progress: Progress) -> None:
    """Repair owners and modes of files, and name those of the release with another content."""
    progress(f"Verifying the files of {prefix} ...")
    on_disk = layout.on_disk(prefix)
    repaired = [*repair_rights(on_disk, os.geteuid()), *repair_private_files(layout)]
    if repaired:
        progress(f"Owner or mode was wrong, and is repaired:\n{_some(repaired)}")
    if altered := list(altered_files(on_disk)):
        progress(
            f"Not as they were installed:\n{_some(altered)}\n"
            f"To install them anew: bash {PRODUCT}-{release.version_of(layout, prefix)}-*.sh -b -u"
        )


def _some(found: Sequence[object]) -> str:
    """Return the first five things, one a line, and how many more there are."""
    shown = [f"  {each}" for each in found[:5]]
    more = [f"  and {len(found) - 5} more"] if found[5:] else []
    return "\n".join([*shown, *more])


def undo_install(layout: Layout, prefix: Path, progress: Progress) -> None:
    """Undo an installation of `prefix` that was killed, so that the prefix can be removed.

    Raises:
        LittlestHubError: something uses it.
    """
    if upgrade.undo(layout, prefix, progress):
        return
    is_only = switch_record.read(layout) is None and release.active(layout) == prefix
    if not is_only or layout.on_disk(layout.database).exists():
        raise LittlestHubError(
            f"{prefix} is in use and stays", "Run the installer again to repair it"
        )
    # A first installation that has never served.
    if Services(layout).has_systemd and UnitFiles(layout).are_installed:
        remove_units(layout, with_user_servers=False)
    layout.on_disk(layout.hub).unlink(missing_ok=True)


def is_login_name(text: str) -> bool:
    """Return whether a user of the hub may have this name."""
    return re.fullmatch(LOGIN_NAME, text) is not None


def users_fragment(layout: Layout, admin: str) -> str:
    """Return the fragment that makes one user the administrator."""
    return f"""\
# Users and administrators of the hub: system accounts, with their passwords. This file is
# yours: the installer wrote it once and will not touch it again. To let bob in too, write
# {{"{admin}", "bob"}} below; then: sudo systemctl reload {layout.instance}
# Fragments decide this, and nothing else does: "Add Users" on the admin page lets no one in. People
# who are not named here any more are out at the reload: sessions, tokens and servers end.
c.Authenticator.admin_users = {{"{admin}"}}
c.Authenticator.allowed_users = {{"{admin}"}}
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


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _remove_tree(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)


def _write_users_fragment(layout: Layout, admin: str, undo: contextlib.ExitStack) -> bool:
    """Write the fragment if there is none; return whether it names the administrator, if any."""
    fragment = layout.on_disk(layout.fragments) / USERS_FRAGMENT
    if admin and not fragment.exists():
        undo.callback(fragment.unlink, missing_ok=True)
        write(fragment, users_fragment(layout, admin))
    quoted = (f'"{admin}"', f"'{admin}'")
    return not admin or any(each in fragment.read_text() for each in quoted)


def _activate(layout: Layout, prefix: Path, undo: contextlib.ExitStack) -> None:
    """Point the `hub` link at a release."""
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
            f"{version} cannot use these fragments. Fix them, then try again; nothing was changed",
        )


# --- messages for the administrator


def _no_users_message(layout: Layout) -> str:
    if layout.on_disk(layout.fragments / USERS_FRAGMENT).exists():
        return ""
    return f"""
No one may log in yet. For alice to be the administrator, write these lines with
{layout.command} edit {USERS_FRAGMENT.removesuffix(".py")}
  c.Authenticator.admin_users = {{"alice"}}
  c.Authenticator.allowed_users = {{"alice"}}
A hub for a class needs no such lines: {layout.command} enable class
"""


def _not_administrator_message(layout: Layout, admin: str) -> str:
    return f"""
{USERS_FRAGMENT} is yours and stays as it was, without {admin}. To make {admin} an administrator:
  {layout.command} edit {USERS_FRAGMENT.removesuffix(".py")}
"""


def _account_problem(admin: str) -> str:
    """Return why the administrator cannot log in, and the command that helps; "": they can."""
    try:
        pwd.getpwnam(admin)
    except KeyError:
        return f"""
{admin} cannot log in: this machine has no such account. If the name is right:
  {as_typed(f"useradd --create-home --shell /bin/bash {admin}")}
  {as_typed(f"passwd {admin}")}
"""
    if unusable := unusable_passwords().get(admin):
        return f"""
{admin} cannot log in: the account {unusable.reason}. As root:
  {as_typed(unusable.command)}
"""
    return ""


def _users_group_message(layout: Layout) -> str:
    if layout.hub_user is None:
        return ""
    return f"""
The hub runs as {layout.hub_user}. It may let in, and start servers for, members of one group only:
  {as_typed(f"gpasswd --add alice {layout.users_group}")}
"""


def _ready_message(layout: Layout, ports: Ports) -> str:
    port = "" if ports.public == 80 else f":{ports.public}"
    host = ports.host or in_url(main_address()) or os.uname().nodename
    url = f"http://{host}{port}/"
    if not ports.is_public:
        url += f""", to this machine alone.
nginx, Apache or another proxy in front of it: {layout.command} enable behind-a-proxy"""
    else:
        if port and layout.is_default and (listener := describe_listener(FIRST_PUBLIC)):
            url += f"""
(port {FIRST_PUBLIC} is taken by {listener};
to be behind it: {layout.command} enable behind-a-proxy)"""
        url += f"""
From another network: this machine's public name or address (a firewall must let in port
{ports.public})."""
    return f"""\
The hub answers at {url}
{_no_users_message(layout)}
Its configuration is what you put into {layout.fragments}/*.py;
after a change: {as_typed(f"systemctl reload {layout.instance}")}
"""


def _boot_message(layout: Layout, ports: Ports) -> str:
    address = ports.listen(ports.public)
    return f"""\
systemd does not run here: everything is in place and enabled, and starts at the next boot,
on {address if ports.host else f"port {address}"}.
{_no_users_message(layout)}
Its configuration is what you put into {layout.fragments}/*.py
"""


def _run_message(layout: Layout) -> str:
    return f"""\
Installed for you alone (system services need root and systemd). To start the hub in the foreground:
  {layout.hub}/bin/littlest-hub run
Its configuration is what you put into {layout.fragments}/*.py
"""
