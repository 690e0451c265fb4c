"""The part of an installation outside the base directory: units, users, started services."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.files import link, own, write
from littlest_hub.layout import Layout
from littlest_hub.services import hub, proxy
from littlest_hub.services.ports import Ports
from littlest_hub.services.unit import Unit

LOGIN_PAGE_TIMEOUT_S = 60

# As the services' Description= begins.
_OWNER = re.compile(r"^Description=Littlest Hub at (.*): ", re.MULTILINE)


class Written(NamedTuple):
    """A file as it was."""

    text: str
    mode: int
    group: int


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
        for file in self._unit_files():
            found = _OWNER.search(file.read_text(errors="replace"))
            return found[1] if found else "something else"
        return None

    def _unit_files(self) -> list[Path]:
        return [self.units / name for name in self.layout.units if (self.units / name).is_file()]

    def left(self) -> list[Path]:
        """What `remove` leaves because the administrator or users made it."""
        layout = self.layout
        drop_ins = [layout.system_units / f"{name}.d" for name in layout.units]
        return [
            path for path in (*drop_ins, *layout.dynamic_homes) if layout.on_disk(path).exists()
        ]

    def remember(self) -> dict[Path, Written | None]:
        """What `describe` may replace, for `restore`."""
        files = [self.units / name for name in self.layout.units]
        found: dict[Path, Written | None] = {}
        for file in (*files, self.layout.on_disk(self.layout.static_config)):
            found[file] = None
            if file.is_file():
                status = file.stat()
                found[file] = Written(file.read_text(), stat.S_IMODE(status.st_mode), status.st_gid)
        return found

    def restore(self, before: Mapping[Path, Written | None]) -> None:
        """Have the files of `remember` back and the services run with them, from the `hub` link."""
        changed = {self.layout.proxy_service, self.layout.hub_service}
        for file, was in before.items():
            if was and write(file, *was):
                changed.add(file.name)
            elif not was and file.is_file():
                file.unlink()
        if self.is_running:
            self.start(changed)

    def describe(self, ports: Ports) -> set[str]:
        """Write and enable everything; start nothing.

        Returns:
            Names of the units that are different now.
        """
        layout = self.layout
        changed: set[str] = set()
        self._write_proxy_configuration(ports)
        # Sockets first: a service without its socket would not start.
        for unit in units(layout, ports):
            if write(self.units / unit.name, unit.text()):
                changed.add(unit.name)
        self._systemd("systemctl", "enable", "--quiet", *layout.units)
        if layout.is_default:
            link(self._command_link, layout.hub / "bin" / "littlest-hub", keep_others=True)
        return changed

    def _write_proxy_configuration(self, ports: Ports) -> None:
        layout = self.layout
        # The proxy sees them through a mount of its own; everybody else is stopped at state/.
        for directory in (layout.proxy_state, layout.dynamic_config):
            on_disk = layout.on_disk(directory)
            on_disk.mkdir(exist_ok=True)
            own(on_disk, 0o755)
        write(layout.on_disk(layout.ready_config), proxy.to_toml(proxy.ready_config()))
        # From now on the hub's: it knows what fragments add.
        static = layout.on_disk(layout.static_config)
        if static.exists():
            own(static, 0o644)
        else:
            first = proxy.static_config(
                public=f":{ports.public}",
                api=ports.api_address,
                dynamic_config=layout.dynamic_config,
            )
            write(static, proxy.to_toml(first))
        rules = layout.on_disk(layout.rules)
        # traefik reports a missing file once and never looks again.
        if rules.exists():
            own(rules, 0o644)
        else:
            write(rules, "")

    def start(self, changed: set[str], *, reload: bool = False) -> None:
        """Start what is not running and restart what changed; return when it answers.

        Args:
            changed: names of units.
            reload: have the hub start anew, where it does not do that anyway.
        """
        layout = self.layout
        services = (layout.proxy_service, layout.hub_service)
        reload = reload and layout.hub_service not in changed and self._is_active(services[1])
        self._systemd("systemctl", "daemon-reload")
        sockets = [name for name in layout.units if name in changed - {*services}]
        if sockets:
            # A socket cannot be changed under the service that uses it.
            self._systemd("systemctl", "stop", *services)
            self._start_unit("restart", *sockets)
        for unit in layout.units:
            verb = "restart" if unit in changed & {*services} else "start"
            self._start_unit(verb, unit)
        if reload and not sockets:
            self._start_unit("reload-or-restart", layout.hub_service)

    def await_login_page(self, ports: Ports) -> None:
        """Return when a visitor gets an answer from the hub, unless a drop-in moved it elsewhere.

        Raises:
            LittlestHubError: none within LOGIN_PAGE_TIMEOUT_S; with the journal's last lines.
        """
        if self._has_drop_ins(self.layout.proxy_socket):
            return
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
        present = [file.name for file in self._unit_files()]
        user_servers = f"{layout.user_server_unit.format(USERNAME='*')}.service"
        if present and self.is_running:
            self._systemd("systemctl", "stop", *present, user_servers)
            # Stopped between two attempts to start it, a service takes no leave of what it left.
            kill = ["systemctl", "kill", "--signal=KILL", layout.proxy_service]
            subprocess.run(kill, capture_output=True)
        if present:
            self._systemd("systemctl", "disable", "--quiet", *present)
        for name in present:
            (self.units / name).unlink()
        if present and self.is_running:
            self._systemd("systemctl", "daemon-reload")
            forget = ["systemctl", "reset-failed", *present, user_servers]
            subprocess.run(forget, capture_output=True)
        if self._command_link.is_symlink() and layout.is_default:
            ours = self._command_link.readlink().is_relative_to(layout.base)
            if ours:
                self._command_link.unlink()

    # --- systemd

    def _systemd(self, command: str, *arguments: str) -> None:
        root = [] if self.layout.is_live else [f"--root={self.layout.root}"]
        _command(command, *root, *arguments)

    def _is_active(self, unit: str) -> bool:
        answer = subprocess.run(["systemctl", "is-active", "--quiet", unit])
        return answer.returncode == 0

    def _has_drop_ins(self, unit: str) -> bool:
        show = ["systemctl", "show", "--property=DropInPaths", "--value", unit]
        return bool(subprocess.run(show, capture_output=True, text=True).stdout.strip())

    def _start_unit(self, verb: str, *units: str) -> None:
        try:
            self._systemd("systemctl", verb, *units)
        except LittlestHubError as error:
            raise self._with_journal(error.message, *units) from error

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


def _command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        output = f"{done.stdout}{done.stderr}".strip()
        raise LittlestHubError(f"{' '.join(command)} failed: {output}")
