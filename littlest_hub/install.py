"""Installing into a machine, or an image of one, and removing from it again."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

from littlest_hub.errors import LittlestHubError
from littlest_hub.files import hold, link, write
from littlest_hub.interruption import ENDING_SIGNALS
from littlest_hub.layout import Layout
from littlest_hub.machine import Machine
from littlest_hub.services.ports import Ports, choose

FIRST_FRAGMENT = "10-users.py"

# What login names may be here: a subset of useradd(8), LDAP's dots and domains included.
_LOGIN_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,62}")


Undo = list[Callable[[], object]]
"""How to undo what is done, in that order; in here before the deed, which may be interrupted."""


def install(layout: Layout, prefix: Path, options: Mapping[str, str]) -> str:
    """Make the release in `prefix` the one that serves; running it twice changes nothing more.

    Args:
        layout: of the base directory that the prefix belongs to.
        prefix: the release, as the machine sees it.
        options: LITTLEST_HUB_PORT and LITTLEST_HUB_ADMIN, usually the environment; FORCE=1 when
            the installer has replaced a release (-f, -u) that may be running.

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
    with _undone_on_failure() as undo:
        if not machine.has_systemd:
            _make_base(layout, prefix, admin, undo)
            return _how_to_run(layout)
        layout.check_for_systemd()
        machine.check_names()
        ports = choose(layout, options.get("LITTLEST_HUB_PORT"))
        is_new = not machine.knows_us
        is_stock = is_new and not layout.fragment_files()
        if not is_new:
            undo.append(partial(machine.restore, machine.remember()))
        is_switched = _make_base(layout, prefix, admin, undo)
        if is_new:
            undo.append(machine.remove)
        changed = machine.describe(ports)
        if not machine.is_running:
            return _how_to_boot(layout, ports)
        if is_switched:
            changed.add(layout.proxy_service)
        if options.get("FORCE") == "1":
            # What runs comes from files that are gone.
            changed |= {layout.proxy_service, layout.hub_service}
        machine.start(changed, reload=is_switched)
        # Fragments and drop-ins may have moved it: to HTTPS, to another address or path.
        if is_stock:
            machine.await_login_page(ports)
        return _how_to_use(layout, ports)


def uninstall(layout: Layout) -> str:
    """Stop everything, user servers too, and remove it; what the admin owns stays.

    Returns:
        What is left, and how to remove that.

    Raises:
        LittlestHubError: something could not be stopped or removed.
    """
    with refuse_foreground_hub(layout) or contextlib.nullcontext():
        return _uninstall(layout)


def _uninstall(layout: Layout) -> str:
    machine = Machine(layout)
    is_served = machine.has_systemd and machine.knows_us
    if is_served:
        machine.remove()
    layout.on_disk(layout.hub).unlink(missing_ok=True)
    # Last: we run from there.
    shutil.rmtree(layout.on_disk(layout.releases))
    outside = machine.left() if is_served else []
    owned = "\n  ".join(map(str, (layout.fragments, layout.state, *outside)))
    whole = " ".join(shlex.quote(str(path)) for path in (layout.base, *outside))
    return f"Removed. What you own stays:\n  {owned}\nTo remove that as well: rm -rf {whole}"


def refuse_foreground_hub(layout: Layout) -> TextIO | None:
    """Make sure that no hub runs in the foreground, as long as the result stays open.

    Raises:
        LittlestHubError: one does; its process id.
    """
    lock = layout.on_disk(layout.run_lock)
    if not lock.is_file():
        return None
    held = hold(lock)
    if held is None:
        pid = lock.read_text().strip()
        raise LittlestHubError(
            f"`littlest-hub run` serves {layout.base} already, as process {pid}",
            f"End it first: Ctrl-C in its terminal, or kill -INT {pid}",
        )
    return held


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


def _make_base(layout: Layout, prefix: Path, admin: str, undo: Undo) -> bool:
    """The base directory.

    Returns:
        Whether another release is the active one now.
    """
    for directory, remove in (
        (layout.on_disk(layout.fragments), _remove_if_empty),
        (layout.on_disk(layout.state), _remove_tree),
    ):
        if not directory.is_dir():
            undo.append(partial(remove, directory))
            directory.mkdir(parents=True)
            directory.chmod(0o700)
    fragment = layout.on_disk(layout.fragments) / FIRST_FRAGMENT
    if admin and not fragment.exists():
        undo.append(partial(fragment.unlink, missing_ok=True))
        write(fragment, first_fragment(layout, admin))
    active = layout.on_disk(layout.hub)
    before = active.readlink() if active.is_symlink() else None
    if active.exists() and before is None:
        raise LittlestHubError(
            f"{layout.hub} is not a link to a release", "Move it away, then install again"
        )
    as_before = partial(link, active, before) if before else partial(active.unlink, True)
    undo.append(as_before)
    return link(active, prefix.relative_to(layout.base))


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _remove_tree(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)


@contextlib.contextmanager
def _undone_on_failure() -> Iterator[Undo]:
    """Undoes what was collected, last first, if all ends in an error."""
    undo: Undo = []
    try:
        yield undo
    except BaseException:
        with _uninterrupted():
            for step in reversed(undo):
                _attempt(step)
        raise


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        # There may be nobody left to tell: the terminal hung up.
        with contextlib.suppress(OSError):
            print(f"Could not undo everything: {error}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Neither we nor the commands we call can be ended early."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- what the administrator is told


def _who_may_log_in(layout: Layout) -> str:
    if layout.on_disk(layout.fragments / FIRST_FRAGMENT).exists():
        return ""
    return f"""
Nobody may log in yet. For alice to be the administrator, write into {layout.fragments}/10-users.py:
  c.Authenticator.admin_users = {{"alice"}}
  c.Authenticator.allowed_users = {{"alice"}}
"""


def _how_to_use(layout: Layout, ports: Ports) -> str:
    port = "" if ports.public == 80 else f":{ports.public}"
    return f"""\
The hub answers at http://{os.uname().nodename}{port}/
{_who_may_log_in(layout)}
Its configuration is what you put into {layout.fragments}/*.py;
after a change: systemctl reload {layout.instance}
"""


def _how_to_boot(layout: Layout, ports: Ports) -> str:
    return f"""\
systemd does not run here: everything is in place and enabled, and starts at the next boot,
on port {ports.public}.
{_who_may_log_in(layout)}
Its configuration is what you put into {layout.fragments}/*.py
"""


def _how_to_run(layout: Layout) -> str:
    return f"""\
Installed for you alone (system services need root and systemd). To start the hub in the foreground:
  {layout.hub}/bin/littlest-hub run
Its configuration is what you put into {layout.fragments}/*.py
"""
