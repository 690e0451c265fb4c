"""The running units of an installation: started, reloaded, watched, stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.hub.unit_files import pending_changes
from littlest_hub.installation import installed_unit
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import unit_traces
from littlest_hub.system import processes
from littlest_hub.system.systemctl import (
    daemon_reload,
    is_active,
    is_booted,
    journal_lines,
    list_units,
    show,
    systemctl,
    triggering_first,
)
from littlest_hub.units import stack
from littlest_hub.units.ports import Ports

LOGIN_PAGE_TIMEOUT_S = 60
WATCH_S = 3
"""Time for which hub and proxy have to stay healthy before a release is trusted."""
_RUNNING_STATES = ("active", "activating", "reloading", "deactivating", "refreshing")
_LOADED_STATES = ("active", "activating", "reloading", "deactivating", "failed")


class Services:
    """Hub, proxy, their sockets and the user servers, as systemd runs them."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._services = (layout.hub_service, layout.proxy_service)

    @property
    def has_systemd(self) -> bool:
        """True if units can be installed: there is a systemctl, and we are root."""
        return os.geteuid() == 0 and shutil.which("systemctl") is not None

    @property
    def can_start(self) -> bool:
        """True if systemd runs here, and this is no image of another machine."""
        return self.layout.is_live and is_booted()

    # --- starting

    def start(
        self, changed: Collection[str], *, is_switched: bool = False, is_forced: bool = False
    ) -> None:
        """Start, restart or reload what needs it; return when hub and proxy answer.

        Args:
            changed: names of units whose directives differ from what runs.
            is_switched: another release is the active one now.
            is_forced: restart a service that refuses to reload.
        """
        layout = self.layout
        daemon_reload()
        # Its cause may be repaired: start anew, without the count of automatic restarts.
        systemctl("reset-failed", *layout.started_unit_names, is_checked=False)
        units = self._stop_removed(layout.started_unit_names)
        self._start_helpers(changed)
        self.start_stacks(changed, is_switched=is_switched)
        self._restart_sockets([unit for unit in units if unit in changed])
        services = (*self._services, layout.guard_service)
        # The hub first: if it fails, no connection was touched.
        was_active = [unit for unit in services if is_active(unit)]
        for unit in units:
            # The proxy starts that one when it is needed.
            if unit != layout.proxy_https_socket:
                self._start("start", unit)
        for unit in services:
            # A reload refuses if drop-ins have changed what only a restart applies.
            is_stale = unit == layout.hub_service and any(pending_changes(layout, None))
            if unit in was_active and (unit in changed or (is_switched and is_stale)):
                self._start("restart", unit)
            elif unit in was_active and is_switched:
                self._reload(unit, is_forced)
            if self._is_of_another_release(unit):
                # Its files may have been replaced under it (the installer's -u).
                self._start("restart", unit)

    def _start_helpers(self, changed: Collection[str]) -> None:
        """Start the sockets of root's helpers; stop those that a release before them left."""
        layout = self.layout
        addresses = (layout.password_address, layout.hook_address)
        for socket, address in zip(layout.helper_sockets, addresses, strict=True):
            if show(socket, "LoadState") != "loaded":
                systemctl("stop", socket, is_checked=False)
                # Without its unit, systemd does not know RemoveOnStop=.
                address.unlink(missing_ok=True)
            else:
                # No service holds it: each connection has a helper of its own.
                self._start("restart" if socket in changed else "start", socket)

    def start_stacks(self, changed: Collection[str], *, is_switched: bool = False) -> None:
        """Start the units of stacks, restart those that have changed, and stop removed ones.

        Args:
            changed: names of units whose directives differ from what runs.
            is_switched: another release is the active one now.
        """
        layout = self.layout
        present = stack.installed_units(layout)
        # A template has instances, which sockets start.
        installed = [unit for unit in present if not stack.is_template(unit)]
        known = list_units(layout.stack_unit_pattern, states=_LOADED_STATES)
        gone = [
            unit
            for unit in known
            if stack.file_of(unit) not in present and stack.is_stack_unit(layout, unit)
        ]
        restarted = [unit for unit in installed if unit in changed and unit.endswith(".socket")]
        # A socket cannot be changed under its service.
        services = [unit.replace(".socket", ".service") for unit in restarted]
        if stopped := [*gone, *restarted, *services]:
            systemctl("stop", *triggering_first(stopped), is_checked=False)
        unit_traces.remove(layout, gone)
        if installed:
            systemctl("reset-failed", *installed, is_checked=False)
        for unit in installed:
            if unit.endswith(".service") and (unit in changed or is_switched):
                self._start("try-restart", unit)
            if "[Install]" in installed_unit(layout, unit).read_text():
                self._start("start", unit)

    def _stop_removed(self, units: Collection[str]) -> list[str]:
        """Stop units that the active release does not have, and return those that it has."""
        removed = [unit for unit in units if not installed_unit(self.layout, unit).is_file()]
        if removed:
            systemctl("stop", *triggering_first(removed), is_checked=False)
        return [unit for unit in units if unit not in removed]

    def _restart_sockets(self, changed: Collection[str]) -> None:
        # Not the slice: restarting it would stop all user servers, and changes nothing.
        sockets = [unit for unit in changed if unit.endswith(".socket")]
        if self.layout.guard_socket in sockets:
            # The guard keeps what it holds only while it is not stopped.
            sockets.remove(self.layout.guard_socket)
            self._start("restart", self.layout.guard_socket)
        https = self.layout.proxy_https_socket
        if https in sockets and not is_active(https):
            sockets.remove(https)
        if sockets:
            # A socket cannot be changed under the service that uses it. All at once: a visitor at
            # an open socket would start its service again.
            systemctl("stop", *sockets, *self._services)
            self._start("start", *sockets)

    def _reload(self, service: str, is_forced: bool) -> None:
        try:
            self._start("reload-or-restart", service)
        except LittlestHubError:
            if not is_forced:
                raise
            self._start("restart", service)

    def _start(self, verb: str, *units: str) -> None:
        started_at = time.time()
        try:
            systemctl(verb, *units)
        except LittlestHubError as error:
            # A service's own message is more precise than systemctl's.
            statuses = [f"{unit}: {text}" for unit in units if (text := show(unit, "StatusText"))]
            message = "\n".join(statuses) or error.message
            # The reason of a hub that cannot start may be with the proxy.
            is_hub = self.layout.hub_service in units
            told = dict.fromkeys((*units, *self._services) if is_hub else units)
            raise _with_journal(message, *told, since=started_at) from error

    def _is_of_another_release(self, service: str) -> bool:
        """Return whether a service runs a program that is not the active release's, as on disk."""
        program = processes.program(main_pid(service))
        if program is None:
            return False  # it does not run
        return not (program.exists() and program.is_relative_to(self.layout.hub.resolve()))

    # --- watching

    def watch(self, ports: Ports, *, is_public: bool) -> None:
        """Return when hub and proxy have been healthy for WATCH_S.

        Args:
            ports: their ports.
            is_public: whether the login page has to be at the public port; a fragment or a drop-in
                may have moved it.

        Raises:
            LittlestHubError: they are not; with the last lines of the journal.
        """
        pids = {service: main_pid(service) for service in self._services}
        pages = {"the hub": (("127.0.0.1", ports.hub), "/hub/api")}
        if is_public:
            pages["the login page"] = (ports.public_address, "/hub/login")
        started = time.monotonic()
        is_healthy = False
        while not is_healthy or time.monotonic() < started + WATCH_S:
            for service, pid in pids.items():
                if pid == 0 or main_pid(service) != pid:
                    raise _with_journal(f"{service} does not stay up", service)
            results = {name: http_status(*page) for name, page in pages.items()}
            failures = [f"{n} does not work: {s}" for n, s in results.items() if not is_answer(s)]
            is_healthy = not failures
            if failures and time.monotonic() > started + LOGIN_PAGE_TIMEOUT_S:
                raise _with_journal(failures[0], *self._services)
            time.sleep(0.5)

    def await_login_page(self, ports: Ports) -> None:
        """Return when the hub's login page is served, or if a drop-in has moved it elsewhere.

        Raises:
            LittlestHubError: not within LOGIN_PAGE_TIMEOUT_S; with the last lines of the journal.
        """
        if show(self.layout.proxy_socket, "DropInPaths"):
            return
        deadline = time.monotonic() + LOGIN_PAGE_TIMEOUT_S
        while (status := http_status(ports.public_address, "/hub/login")) != 200:
            if time.monotonic() > deadline:
                url = f"http://{ports.host or '127.0.0.1'}:{ports.public}/hub/login"
                raise _with_journal(f"{url} does not work: {status}", *self._services)
            time.sleep(0.1)

    # --- stopping

    def user_servers(self) -> list[str]:
        """Return the units of user servers that are running or failed."""
        return list_units(self.layout.user_unit_pattern) if self.can_start else []

    def stop(self, units: Collection[str], servers: Collection[str]) -> None:
        """Stop units of this installation, and user servers.

        Raises:
            LittlestHubError: one keeps running.
        """
        # Templates cannot be stopped, their instances are in `servers`.
        stopped = [*(unit for unit in units if not stack.is_template(unit)), *servers]
        systemctl("stop", *triggering_first(stopped), is_checked=False)
        # A service that is stopped while it waits for its next restart leaves processes behind.
        systemctl("kill", "--signal=KILL", self.layout.proxy_service, is_checked=False)
        for unit in stopped:
            # A service with Type=oneshot is never active while it runs.
            if show(unit, "ActiveState") in _RUNNING_STATES:
                raise LittlestHubError(f"{unit} cannot be stopped", f"See: systemctl status {unit}")

    def stop_empty_slices(self) -> None:
        """Stop the slices that systemd has made for our units, unless another hub uses them.

        One for each template, and one for each dash in the name of our slice (systemd.slice(5)).
        """
        of_stacks = [each for each in stack.installed_units(self.layout) if stack.is_template(each)]
        for template in (self.layout.password_service, self.layout.hook_service, *of_stacks):
            escaped = template.partition("@")[0].replace("-", r"\x2d")
            systemctl("stop", f"system-{escaped}.slice", is_checked=False)
        name = self.layout.users_slice.removesuffix(".slice")
        while "-" in name:
            name = name.rpartition("-")[0]
            if list_units(f"{name}-*.slice", states=_LOADED_STATES):
                return
            systemctl("stop", f"{name}.slice", is_checked=False)

    def stop_journal(self) -> None:
        """Stop the journal of the user servers; those that still run would end with its sockets."""
        name = self.layout.log_namespace
        units = (f"systemd-journald{kind}@{name}.socket" for kind in ("", "-varlink"))
        systemctl("stop", f"systemd-journald@{name}.service", *units, is_checked=False)
        # systemd keeps this one (RuntimeDirectoryPreserve=).
        shutil.rmtree(f"/run/systemd/journal.{name}", ignore_errors=True)

    def clean_up(self, units: Collection[str]) -> None:
        """Make systemd forget removed units, and remove their runtime directories."""
        layout = self.layout
        daemon_reload()
        systemctl("reset-failed", *units, is_checked=False)
        unit_traces.remove(layout, units)
        # systemd leaves those of a service that it gave up.
        for directory in (
            layout.run_directory,
            layout.server_environments,
            layout.proxy_control.parent,
            layout.guard_control.parent,
        ):
            for path in (directory, Path("/run/private") / directory.name):
                if path.is_symlink():
                    path.unlink()
                elif path.is_dir():
                    shutil.rmtree(path)


def apply_configuration(layout: Layout, verb: Literal["reload", "restart"] = "reload") -> None:
    """Let the running hub use what is on disk now.

    Raises:
        LittlestHubError: it refuses; with its reason.
    """
    try:
        systemctl(verb, layout.hub_service)
    except LittlestHubError as error:
        reason = show(layout.hub_service, "StatusText") or error.message
        see = f"See: {as_typed(f'journalctl -u {layout.hub_service} -n 20')}"
        raise LittlestHubError(f"the hub refuses it: {reason}", see) from error


def main_pid(service: str) -> int:
    """Return the process id of a service's main process; 0: it does not run."""
    return int(show(service, "MainPID") or 0)


def http_status(address: tuple[str, int], path: str) -> int | str:
    """Return the HTTP status of a page at a host and port, or the reason why there is none."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__


def is_answer(status: int | str) -> bool:
    """Return whether a status shows that the page is served; redirects and refusals count."""
    return isinstance(status, int) and status < 500 and status != 404


def _with_journal(message: str, *units: str, since: float = 0) -> LittlestHubError:
    """Return an error with the last lines of the journal of some units."""
    # Of each: a traceback of one would leave no room for the others.
    lines = "\n".join(filter(None, (journal_lines([unit], since=since) for unit in units)))
    return LittlestHubError(
        f"{message}\nThe journal's last lines:\n{lines}",
        f"More: {as_typed('journalctl -u ' + ' -u '.join(units))}",
    )
