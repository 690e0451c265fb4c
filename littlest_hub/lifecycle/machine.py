"""The part of an installation outside the base directory: units and started services."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import drop_in_directories, installed_unit
from littlest_hub.layout import Layout
from littlest_hub.proxy.configuration import ready_config, static_config
from littlest_hub.system.files import link, permit, write
from littlest_hub.system.toml import to_toml
from littlest_hub.units import hub, proxy, server, unprivileged
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import Unit, directives
from littlest_hub.unprivileged.privileges import as_hub

LOGIN_PAGE_TIMEOUT_S = 60
WATCH_S = 3
"""How long a release has to be well before it is trusted."""

# As the services' Description= begins.
_OWNER = re.compile(r"^Description=Littlest Hub at (.*): ", re.MULTILINE)


class Described(TypedDict):
    """What one release has written about itself: enough to have it written again."""

    units: dict[str, str]
    """Text by name."""
    static: str | None
    """The proxy's static configuration."""


class Machine:
    """What an installation is to the machine it is on."""

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
        """Whether there are units of this base directory, not only of one that is called alike."""
        return self._owner() == str(self.layout.base)

    def check_names(self) -> None:
        """Refuse a base directory whose units would replace those of another one.

        Raises:
            LittlestHubError: whose they are.
        """
        owner = self._owner()
        if owner not in (None, str(self.layout.base)):
            raise LittlestHubError(
                f"{self.layout.base}: its units would be called {self.layout.instance}.*, and those"
                f" belong to {owner} already",
                "Choose a base directory whose last part differs",
            )

    def _owner(self) -> str | None:
        """Base directory that the units of these names are of; None if there are none."""
        for name in self._present():
            file = installed_unit(self.layout, name)
            if file.is_relative_to(self.layout.on_disk(self.layout.unit_files)):
                return str(self.layout.base)
            found = _OWNER.search(file.read_text(errors="replace"))
            return found[1] if found else "something else"
        return None

    def _present(self) -> list[str]:
        """Names of ours that systemd knows, sockets first; a link to nothing may be anybody's."""
        ours = self.layout.on_disk(self.layout.unit_files)
        files = {name: installed_unit(self.layout, name) for name in self.layout.unit_names}
        return [
            name
            for name, file in files.items()
            if file.is_file() or ((self.units / name).is_symlink() and file.is_relative_to(ours))
        ]

    def left(self) -> tuple[list[Path], list[Path]]:
        """What `remove` leaves: drop-ins of the administrator, homes of people."""
        layout = self.layout
        homes = (*layout.dynamic_homes, layout.former_homes)
        here = [path for path in homes if layout.on_disk(path).exists()]
        return drop_in_directories(layout), here

    def forget(self) -> None:
        """Have systemd notice that files have come or gone, if it runs here."""
        if self.is_running:
            self._systemd("systemctl", "daemon-reload")

    def described(self) -> Described:
        """What `describe` may replace, for `restore`."""
        files = {name: installed_unit(self.layout, name) for name in self.layout.unit_names}
        static = self.layout.on_disk(self.layout.static_config)
        return {
            "units": {name: file.read_text() for name, file in files.items() if file.is_file()},
            "static": as_hub(self.layout, lambda: static.read_text() if static.is_file() else None),
        }

    def restore(self, was: Described) -> set[str]:
        """Have the files back as they were; start nothing.

        Returns:
            As `describe`.
        """
        changed = self._write_units(was["units"])
        for name in set(self.layout.unit_names) - set(was["units"]):
            for file in (installed_unit(self.layout, name), self.units / name):
                if file.is_file() or file.is_symlink():
                    file.unlink()
        static = self.layout.on_disk(self.layout.static_config)
        if (text := was["static"]) is not None:
            as_hub(self.layout, lambda: write(static, text))
        return changed

    def describe(self, ports: Ports) -> set[str]:
        """Write and enable everything; start nothing.

        Returns:
            Names of the units that are different now.
        """
        layout = self.layout
        as_hub(layout, lambda: self._write_proxy_configuration(ports))
        described = [*units(layout, ports), server.users_slice(layout)]
        if layout.hub_user:
            described += unprivileged.units(layout)
            write(layout.on_disk(layout.polkit_rule), unprivileged.polkit_rule(layout))
        changed = self._write_units({unit.name: unit.text() for unit in described})
        if layout.is_default:
            link(self._command_link, layout.hub / "bin" / "littlest-hub", keep_others=True)
        return changed

    def _write_units(self, texts: Mapping[str, str]) -> set[str]:
        """Write unit files into the base directory and link them, so that both go together.

        On a file system of its own they are no links: systemd reads its units before it mounts
        anything, and would not find them.
        """
        layout, changed = self.layout, set()
        is_linked = self._is_on_root_file_system()
        for name, text in texts.items():
            known = installed_unit(layout, name)
            before = known.read_text() if known.is_file() else ""
            if is_linked:
                write(layout.on_disk(layout.unit_files) / name, text)
                link(self.units / name, layout.unit_files / name)
            else:
                write(self.units / name, text)
            if directives(before) != directives(text):
                changed.add(name)
        if not is_linked:
            _remove_tree(layout.on_disk(layout.unit_files))
        self._systemd("systemctl", "enable", "--quiet", *texts)
        return changed

    def _is_on_root_file_system(self) -> bool:
        base = self.layout.on_disk(self.layout.base)
        return base.stat().st_dev == self.layout.root.stat().st_dev

    def _write_proxy_configuration(self, ports: Ports) -> None:
        layout = self.layout
        # The proxy sees them through a mount of its own; everybody else is stopped at state/.
        for directory in (layout.proxy_state, layout.dynamic_config):
            on_disk = layout.on_disk(directory)
            on_disk.mkdir(exist_ok=True)
            if on_disk.stat().st_uid == os.geteuid():
                permit(on_disk, 0o755)
        # The proxy's own from its first start on.
        layout.on_disk(layout.acme).mkdir(mode=0o700, exist_ok=True)
        write(layout.on_disk(layout.ready_config), to_toml(ready_config()))
        # From now on the hub's: it knows what fragments add.
        static = layout.on_disk(layout.static_config)
        if static.exists():
            permit(static, 0o644)
        else:
            first = static_config(
                public=f"{ports.host}:{ports.public}",
                api=ports.api_address,
                dynamic_config=layout.dynamic_config,
            )
            write(static, to_toml(first))
        rules = layout.on_disk(layout.rules)
        # traefik reports a missing file once and never looks again.
        if rules.exists():
            permit(rules, 0o644)
        else:
            write(rules, "")

    def start(
        self, changed: set[str], *, is_switched: bool = False, is_forced: bool = False
    ) -> None:
        """Start what is not running and renew what is not as it should be; return when it answers.

        Args:
            changed: names of units whose description differs from what runs.
            is_switched: another release is the active one now.
            is_forced: restart what refuses to reload.
        """
        layout = self.layout
        # The hub first: if it fails, no connection was touched.
        services = (layout.hub_service, layout.proxy_service)
        self._systemd("systemctl", "daemon-reload")
        units = layout.units
        if layout.hub_user:
            units = (layout.password_socket, *units)
        # Not the slice: to restart it is to stop all user servers, and it needs no restart.
        sockets = [name for name in units if name in changed - {*services}]
        if not self._is_active(layout.proxy_https_socket):
            # It listens on demand, and the proxy starts it.
            sockets = [name for name in sockets if name != layout.proxy_https_socket]
        if sockets:
            # A socket cannot be changed under the service that uses it.
            self._systemd("systemctl", "stop", *services)
            self._start_unit("restart", *sockets)
        was_active = {unit for unit in services if self._is_active(unit)}
        for unit in units:
            if unit != layout.proxy_https_socket:
                self._start_unit("start", unit)
        for unit in services:
            if unit in was_active & changed:
                self._start_unit("restart", unit)
            elif unit in was_active and is_switched:
                self._reload(unit, is_forced)
            if self._runs_elsewhere(unit):
                # From files that are gone, say: they were replaced under it (-u).
                self._start_unit("restart", unit)

    def _reload(self, service: str, is_forced: bool) -> None:
        try:
            self._start_unit("reload-or-restart", service)
        except LittlestHubError:
            if not is_forced:
                raise
            self._start_unit("restart", service)

    def _runs_elsewhere(self, service: str) -> bool:
        """Whether a service's main process is not of the active release as it is on disk."""
        try:
            program = Path(f"/proc/{self.main_pid(service)}/exe").readlink()
        except OSError:
            return False  # it does not run
        # What was removed has " (deleted)" at its end.
        return not (program.exists() and program.is_relative_to(self.layout.hub.resolve()))

    def main_pid(self, service: str) -> int:
        """0: it does not run."""
        return int(self._show(service, "MainPID") or 0)

    def watch(self, ports: Ports, *, public: bool) -> None:
        """Return when hub and proxy have been well for WATCH_S.

        Args:
            ports: where they are.
            public: whether the login page has to be at the public port; a fragment or a drop-in
                may have moved it.

        Raises:
            LittlestHubError: they are not well; with the journal's last lines.
        """
        layout = self.layout
        services = (layout.hub_service, layout.proxy_service)
        pids = {service: self.main_pid(service) for service in services}
        addresses = {"the hub": (("127.0.0.1", ports.hub), "/hub/api")}
        if public:
            addresses["the login page"] = (ports.public_address, "/hub/login")
        started = time.monotonic()
        is_well = False
        while not is_well or time.monotonic() < started + WATCH_S:
            for service, pid in pids.items():
                if pid == 0 or self.main_pid(service) != pid:
                    raise self._with_journal(f"{service} does not stay up", service)
            seen = {what: visit(*address) for what, address in addresses.items()}
            wrong = {what: answer for what, answer in seen.items() if not is_answer(answer)}
            is_well = not wrong
            if wrong and time.monotonic() > started + LOGIN_PAGE_TIMEOUT_S:
                what, answer = next(iter(wrong.items()))
                raise self._with_journal(f"{what} does not work: {answer}", *services)
            time.sleep(0.5)

    def await_login_page(self, ports: Ports) -> None:
        """Return when a visitor gets an answer from the hub, unless a drop-in moved it elsewhere.

        Raises:
            LittlestHubError: none within LOGIN_PAGE_TIMEOUT_S; with the journal's last lines.
        """
        if self._has_drop_ins(self.layout.proxy_socket):
            return
        deadline = time.monotonic() + LOGIN_PAGE_TIMEOUT_S
        while (seen := visit(ports.public_address, "/hub/login")) != 200:
            if time.monotonic() > deadline:
                where = f"{ports.host or '127.0.0.1'}:{ports.public}"
                raise self._with_journal(
                    f"http://{where}/hub/login does not work: {seen}",
                    self.layout.hub_service,
                    self.layout.proxy_service,
                )
            time.sleep(0.1)

    def user_servers(self) -> list[str]:
        """Units of user servers that are running or failed."""
        if not self.is_running:
            return []
        listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend"]
        listing.append(self.layout.user_units)
        lines = subprocess.run(listing, capture_output=True, text=True).stdout.splitlines()
        return [line.split()[0] for line in lines]

    def remove(self, *, user_servers: bool = True) -> None:
        """Undo `describe` and `start`, as far as they got."""
        layout = self.layout
        present = self._present()
        servers = self.user_servers() if user_servers else []
        if self.is_running and (present or servers):
            # Those that are gone already are no reason to fail.
            kept = () if user_servers else (layout.users_slice,)
            # Templates are nothing that runs.
            stopped = [unit for unit in present if unit not in kept and "@." not in unit]
            subprocess.run(["systemctl", "stop", *stopped, *servers], capture_output=True)
            # Stopped between two attempts to start it, a service takes no leave of what it left.
            kill = ["systemctl", "kill", "--signal=KILL", layout.proxy_service]
            subprocess.run(kill, capture_output=True)
            self._refuse_survivors(*stopped, *servers)
            if user_servers:
                self._stop_empty_slices()
        try:
            if present:
                self._systemd("systemctl", "disable", "--quiet", *present)
        finally:
            for name in present:
                (self.units / name).unlink(missing_ok=True)
            _remove_tree(layout.on_disk(layout.unit_files))
            layout.on_disk(layout.polkit_rule).unlink(missing_ok=True)
        if self.is_running and (present or servers):
            self._systemd("systemctl", "daemon-reload")
            forget = ["systemctl", "reset-failed", *present, *servers]
            subprocess.run(forget, capture_output=True)
            # systemd forgets what it has made for a service that it had to give up.
            left = (layout.run_directory, layout.server_environments, layout.proxy_control.parent)
            for directory in left:
                for path in (directory, Path("/run/private") / directory.name):
                    path.unlink() if path.is_symlink() else _remove_tree(path)
        if self._command_link.is_symlink() and layout.is_default:
            ours = self._command_link.readlink().is_relative_to(layout.base)
            if ours:
                self._command_link.unlink()

    def _stop_empty_slices(self) -> None:
        """Those that the dashes in our slice's name made systemd have around it (systemd.slice(5)).

        Up to the first that other hubs have slices in.
        """
        name = self.layout.users_slice.removesuffix(".slice")
        while "-" in name:
            name = name.rpartition("-")[0]
            inside = ["systemctl", "list-units", "--plain", "--no-legend", f"{name}-*.slice"]
            if subprocess.run(inside, capture_output=True, text=True).stdout.strip():
                return
            subprocess.run(["systemctl", "stop", f"{name}.slice"], capture_output=True)

    def _refuse_survivors(self, *stopped: str) -> None:
        for unit in stopped:
            if self._is_active(unit):
                raise LittlestHubError(f"{unit} cannot be stopped", f"See: systemctl status {unit}")

    # --- systemd

    def _systemd(self, command: str, *arguments: str) -> None:
        root = [] if self.layout.is_live else [f"--root={self.layout.root}"]
        _command(command, *root, *arguments)

    def _is_active(self, unit: str) -> bool:
        answer = subprocess.run(["systemctl", "is-active", "--quiet", unit])
        return answer.returncode == 0

    def _has_drop_ins(self, unit: str) -> bool:
        return bool(self._show(unit, "DropInPaths"))

    @staticmethod
    def _show(unit: str, what: str) -> str:
        show = ["systemctl", "show", f"--property={what}", "--value", unit]
        return subprocess.run(show, capture_output=True, text=True).stdout.strip()

    def _start_unit(self, verb: str, *units: str) -> None:
        begun = time.time()
        try:
            self._systemd("systemctl", verb, *units)
        except LittlestHubError as error:
            # What the service said itself, where it did, is worth more than what systemctl says.
            said = [f"{unit}: {text}" for unit in units if (text := self._show(unit, "StatusText"))]
            message = "\n".join(said) or error.message
            raise self._with_journal(message, *units, since=begun) from error

    def _with_journal(self, message: str, *units: str, since: float = 0) -> LittlestHubError:
        named = [f"--unit={unit}" for unit in units]
        options = ["--no-pager", "--quiet", "--output=cat", "--lines=20", f"--since=@{since:.0f}"]
        journal = subprocess.run(
            ["journalctl", *options, "--boot", *named],
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
        proxy.https_socket(layout, ports),
        proxy.service(layout),
        hub.service(layout, ports),
    ]


def visit(address: tuple[str, int], path: str) -> int | str:
    """HTTP status of a page at a host and port of this machine, or why there is none."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__


def is_answer(seen: int | str) -> bool:
    """Whether somebody is there; a page's own refusal or redirection is an answer too."""
    return isinstance(seen, int) and seen < 500 and seen != 404


def _remove_tree(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)


def _command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = f"{done.stdout}{done.stderr}".strip()
        raise LittlestHubError(f"{' '.join(command)} failed: {output}")
