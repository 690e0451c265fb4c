"""Installing into a machine, or an image of one, and removing from it again."""

from __future__ import annotations

import contextlib
import grp
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.services import hub, proxy
from littlest_hub.services.ports import Ports, choose
from littlest_hub.services.unit import Unit

LOGIN_PAGE_TIMEOUT_S = 60
FIRST_FRAGMENT = "10-users.py"
# What login names may be here: a subset of useradd(8), LDAP's dots and domains included.
_LOGIN_NAME = re.compile(r"[a-z_][a-z0-9_.@-]{0,62}")


Undo = list[Callable[[], object]]
"""How to undo what was done, in the order in which it was."""


def install(layout: Layout, prefix: Path, options: Mapping[str, str]) -> str:
    """Make the release in `prefix` the one that serves; running it twice changes nothing more.

    Args:
        layout: of the base directory that the prefix belongs to.
        prefix: the release, as the machine sees it.
        options: LITTLEST_HUB_PORT and LITTLEST_HUB_ADMIN, usually the environment.

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
        _refuse_taken_name(layout)
        ports = choose(layout, options.get("LITTLEST_HUB_PORT"))
        if not machine.knows_us:
            undo.append(machine.remove)
        changed = _make_base(layout, prefix, admin, undo)
        changed |= machine.describe(ports)
        if not machine.is_running:
            return _how_to_boot(layout, ports)
        machine.start(changed)
        # Other fragments may have moved it: to HTTPS, to another address or path.
        if {file.name for file in layout.fragment_files()} <= {FIRST_FRAGMENT}:
            machine.await_login_page(ports)
        return _how_to_use(layout, ports)


def uninstall(layout: Layout) -> str:
    """Stop everything, user servers too, and remove it; what the admin owns stays.

    Returns:
        What is left, and how to remove that.

    Raises:
        LittlestHubError: something could not be stopped or removed.
    """
    machine = Machine(layout)
    if machine.has_systemd and machine.knows_us:
        machine.remove()
    layout.on_disk(layout.hub).unlink(missing_ok=True)
    # Last: we run from there.
    shutil.rmtree(layout.on_disk(layout.releases))
    return (
        f"Removed. What you own stays:\n  {layout.fragments}\n  {layout.state}\n"
        f"To remove that as well: rm -rf {layout.base}"
    )


def is_login_name(text: str) -> bool:
    """Whether somebody may be called so here."""
    return _LOGIN_NAME.fullmatch(text) is not None


class Machine:
    """The part of an installation outside the base directory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.units = layout.on_disk(layout.system_units)
        self._command_link = layout.on_disk(layout.command_link)

    @property
    def has_systemd(self) -> bool:
        """Whether there is a systemd to be installed into, running or not, and we may."""
        return os.geteuid() == 0 and shutil.which("systemctl") is not None

    @property
    def is_running(self) -> bool:
        """sd_booted(3)"""
        return self.layout.is_live and Path("/run/systemd/system").is_dir()

    @property
    def knows_us(self) -> bool:
        return (self.units / self.layout.hub_service).is_file()

    def describe(self, ports: Ports) -> set[str]:
        """Write and enable everything; start nothing.

        Returns:
            Names of the units that are different now.
        """
        layout = self.layout
        self._systemd("systemd-sysusers", "--inline", proxy.sysusers(layout))
        changed = self._write_proxy_configuration(ports)
        # Sockets first: a service without its socket would not start.
        for unit in units(layout, ports):
            if write(self.units / unit.name, unit.text()):
                changed.add(unit.name)
        self._systemd("systemctl", "enable", "--quiet", *layout.units)
        if layout.is_default:
            link(self._command_link, layout.hub / "bin" / "littlest-hub", keep_others=True)
        return changed

    def _write_proxy_configuration(self, ports: Ports) -> set[str]:
        layout = self.layout
        group = self._proxy_group()
        for directory, mode in ((layout.proxy_state, 0o750), (layout.dynamic_config, 0o2750)):
            on_disk = layout.on_disk(directory)
            on_disk.mkdir(exist_ok=True)
            os.chown(on_disk, 0, group)
            on_disk.chmod(mode)
        static = proxy.static_config(
            public=f":{ports.public}",
            api=ports.api_address,
            dynamic_config=layout.dynamic_config,
        )
        changed = write(layout.on_disk(layout.static_config), proxy.to_toml(static), 0o640, group)
        if not layout.on_disk(layout.rules).exists():
            # traefik reports a missing file once and never looks again
            write(layout.on_disk(layout.rules), "", 0o640, group)
        return {layout.proxy_service} if changed else set()

    def _proxy_group(self) -> int:
        name = self.layout.proxy_user
        if self.layout.is_live:
            return grp.getgrnam(name).gr_gid
        for line in self.layout.on_disk(Path("/etc/group")).read_text().splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2])
        raise LittlestHubError(f"systemd-sysusers made no group {name}")

    def start(self, changed: set[str]) -> None:
        """Start what is not running, have what runs take over what changed; return when it has."""
        layout = self.layout
        self._systemd("systemctl", "daemon-reload")
        changed_sockets = [name for name in layout.units if name in changed & _sockets(layout)]
        was_active = self._is_active(layout.hub_service)
        if was_active and changed_sockets:
            # A socket cannot be changed under the service that uses it.
            self._systemd("systemctl", "stop", layout.hub_service, layout.proxy_service)
            self._systemd("systemctl", "restart", *changed_sockets)
            was_active = False
        if self._is_active(layout.proxy_service) and layout.proxy_service in changed:
            self._start_unit("restart", layout.proxy_service)
        for unit in layout.units:
            self._start_unit("start", unit)
        if was_active and changed:
            self._start_unit("reload-or-restart", layout.hub_service)

    def await_login_page(self, ports: Ports) -> None:
        """Return when a visitor gets an answer from the hub.

        Raises:
            LittlestHubError: none within LOGIN_PAGE_TIMEOUT_S; with the journal's last lines.
        """
        deadline = time.monotonic() + LOGIN_PAGE_TIMEOUT_S
        seen = self._visit(ports.public)
        while not seen.startswith("answers"):
            if time.monotonic() > deadline:
                raise self._with_journal(
                    f"http://127.0.0.1:{ports.public}/hub/login does not work: {seen}",
                    self.layout.hub_service,
                    self.layout.proxy_service,
                )
            time.sleep(0.1)
            seen = self._visit(ports.public)

    @staticmethod
    def _visit(port: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/hub/login")
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                return str(error)
        # 404 or 502 is traefik alone.
        return "answers" if status == 200 else f"HTTP status {status}"

    def remove(self) -> None:
        """Undo `describe` and `start`, as far as they got."""
        layout = self.layout
        present = [name for name in layout.units if (self.units / name).is_file()]
        if present and self.is_running:
            user_servers = layout.user_server_unit.format(USERNAME="*")
            self._systemd("systemctl", "stop", *present, f"{user_servers}.service")
        if present:
            self._systemd("systemctl", "disable", "--quiet", *present)
        for name in present:
            (self.units / name).unlink()
        if present and self.is_running:
            self._systemd("systemctl", "daemon-reload")
            subprocess.run(["systemctl", "reset-failed", *present], capture_output=True)
        if self._command_link.is_symlink() and layout.is_default:
            ours = self._command_link.readlink().is_relative_to(layout.base)
            if ours:
                self._command_link.unlink()
        self._remove_user()

    def _remove_user(self) -> None:
        name = self.layout.proxy_user
        passwd = self.layout.on_disk(Path("/etc/passwd"))
        if passwd.exists() and re.search(rf"^{name}:", passwd.read_text(), re.MULTILINE):
            root = [] if self.layout.is_live else ["--prefix", str(self.layout.root)]
            _command("userdel", *root, name)

    # --- systemd

    def _systemd(self, command: str, *arguments: str) -> None:
        root = [] if self.layout.is_live else [f"--root={self.layout.root}"]
        _command(command, *root, *arguments)

    def _is_active(self, unit: str) -> bool:
        answer = subprocess.run(["systemctl", "is-active", "--quiet", unit])
        return answer.returncode == 0

    def _start_unit(self, verb: str, unit: str) -> None:
        try:
            self._systemd("systemctl", verb, unit)
        except LittlestHubError as error:
            raise self._with_journal(error.message, unit) from error

    def _with_journal(self, message: str, *units: str) -> LittlestHubError:
        named = [f"--unit={unit}" for unit in units]
        journal = subprocess.run(
            ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=20", "--boot", *named],
            capture_output=True,
            text=True,
        )
        return LittlestHubError(
            f"{message}\nThe journal's last lines:\n{journal.stdout.rstrip()}",
            "More: journalctl -u " + " -u ".join(units),
        )


def units(layout: Layout, ports: Ports) -> list[Unit]:
    """Every unit of an installation, in the order of `layout.units`."""
    return [
        hub.socket(layout, ports),
        proxy.public_socket(layout, ports),
        proxy.api_socket(layout, ports),
        proxy.service(layout),
        hub.service(layout, ports),
    ]


def write(file: Path, text: str, mode: int = 0o644, group: int | None = None) -> bool:
    """Have `text` in `file`, by rename, so that a reader finds the old or the new.

    Returns:
        Whether anything changed.
    """
    if file.is_file() and file.read_text() == text:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        if group is not None:
            os.chown(temporary, 0, group)
        temporary.chmod(mode)
    return True


def link(name: Path, target: Path, *, keep_others: bool = False) -> bool:
    """Have a symlink, replaced in one step.

    Args:
        name: the link.
        target: what it is to hold.
        keep_others: leave alone what stands there and leads elsewhere.

    Returns:
        Whether anything changed.
    """
    exists = name.is_symlink() or name.exists()
    if exists and (keep_others or (name.is_symlink() and name.readlink() == target)):
        return False
    name.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(name) as temporary:
        temporary.symlink_to(target)
    return True


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to make something at, which then replaces `path` in one step."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def first_fragment(admin: str) -> str:
    """The fragment that lets the first person in, as administrator."""
    return f"""\
# Who may log in. JupyterHub lets nobody in by default. This file is yours: the installer wrote it
# once and will not touch it again. After a change: systemctl reload littlest-hub
c.Authenticator.admin_users = {{{admin!r}}}
c.Authenticator.allowed_users = {{{admin!r}}}
"""


def _make_base(layout: Layout, prefix: Path, admin: str, undo: Undo) -> set[str]:
    """The base directory.

    Returns:
        Names of units that have to take notice.
    """
    for directory in (layout.fragments, layout.state):
        on_disk = layout.on_disk(directory)
        if not on_disk.is_dir():
            on_disk.mkdir(parents=True)
            on_disk.chmod(0o700)
            undo.append(partial(shutil.rmtree, on_disk))
    fragment = layout.on_disk(layout.fragments) / FIRST_FRAGMENT
    if admin and not fragment.exists():
        write(fragment, first_fragment(admin))
        undo.append(partial(fragment.unlink, missing_ok=True))
    active = layout.on_disk(layout.hub)
    before = active.readlink() if active.is_symlink() else None
    if active.exists() and before is None:
        raise LittlestHubError(
            f"{layout.hub} is not a link to a release", "Move it away, then install again"
        )
    if not link(active, prefix.relative_to(layout.base)):
        return set()
    as_before = partial(link, active, before) if before else partial(active.unlink, True)
    undo.append(as_before)
    return {layout.proxy_service, layout.hub_service}


def _refuse_taken_name(layout: Layout) -> None:
    """Refuse a base directory whose units would replace those of another one."""
    unit = layout.on_disk(layout.system_units) / layout.hub_service
    if not unit.is_file():
        return
    found = re.search(r"^WorkingDirectory=(.*)/state$", unit.read_text(), re.MULTILINE)
    other = found[1] if found else "something else"
    if other != str(layout.base):
        raise LittlestHubError(
            f"{layout.base}: its units would be called {layout.instance}.*, and those belong to"
            f" {other} already",
            "Choose a base directory whose last part differs",
        )


@contextlib.contextmanager
def _undone_on_failure() -> Iterator[Undo]:
    """Undoes what was collected, last first, if all ends in an error."""
    undo: Undo = []
    try:
        yield undo
    except BaseException:
        for step in reversed(undo):
            try:
                step()
            except (LittlestHubError, OSError) as error:
                print(f"Could not undo everything: {error}", file=sys.stderr)
        raise


def _sockets(layout: Layout) -> set[str]:
    return {name for name in layout.units if name.endswith(".socket")}


def _command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = f"{done.stdout}{done.stderr}".strip()
        raise LittlestHubError(f"{' '.join(command)} failed: {output}")


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
