"""The files of an installation outside its base directory, and what they are linked to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import drop_in_directories, installed_unit
from littlest_hub.layout import Layout
from littlest_hub.proxy.configuration import ready_config, static_config
from littlest_hub.system.addresses import is_ipv6_separate
from littlest_hub.system.files import link, set_mode, write
from littlest_hub.system.systemctl import systemctl
from littlest_hub.system.toml import to_toml
from littlest_hub.units import (
    guard,
    helpers,
    hub,
    needrestart,
    proxy,
    server,
    stack,
    unprivileged,
)
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import Unit, directives
from littlest_hub.unprivileged.privileges import run_as_hub_user

# The first words of the services' Description=.
_OWNER = re.compile(r"^Description=Littlest Hub at (.*): ", re.MULTILINE)


@dataclass(frozen=True)
class GeneratedFiles:
    """The texts that one release has generated, to be written again."""

    unit_texts: Mapping[str, str]
    """Texts by the unit's name."""
    static_config: str | None
    """The proxy's static configuration."""

    def to_json(self) -> dict[str, Any]:
        return {"units": dict(self.unit_texts), "static": self.static_config}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GeneratedFiles:
        return cls(data["units"], data["static"])


class UnitFiles:
    """The unit files of one installation, in the base directory and in systemd's."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._system_units = layout.on_disk(layout.system_units)
        self._own_units = layout.on_disk(layout.unit_directory)

    @property
    def are_installed(self) -> bool:
        """True if systemd has units of this base directory, not just of another one's namesake."""
        return self._owner() == str(self.layout.base)

    def check_owner(self) -> None:
        """Refuse a base directory whose units would replace those of another one.

        Raises:
            LittlestHubError: the name of the other one.
        """
        owner = self._owner()
        if owner not in (None, str(self.layout.base)):
            raise LittlestHubError(
                f"{self.layout.base}: its units would be called {self.layout.instance}.*, and those"
                f" belong to {owner} already",
                "Choose a base directory whose last part differs",
            )

    def _owner(self) -> str | None:
        """Return the base directory of the units with our names; None: there are none."""
        for name in self.present():
            file = installed_unit(self.layout, name)
            if file.is_relative_to(self._own_units):
                return str(self.layout.base)
            found = _OWNER.search(file.read_text(errors="replace"))
            return found[1] if found else "something else"
        return None

    def present(self) -> list[str]:
        """Return the names of our units that systemd has files of, sockets first.

        A dangling link counts only if it leads into our base directory.
        """
        files = {name: installed_unit(self.layout, name) for name in self._names()}
        return [
            name
            for name, file in files.items()
            if file.is_file()
            or ((self._system_units / name).is_symlink() and file.is_relative_to(self._own_units))
        ]

    def _names(self) -> tuple[str, ...]:
        return (*self.layout.all_unit_names, *stack.installed_units(self.layout))

    def generated(self) -> GeneratedFiles:
        """Return the texts that `install` may replace."""
        files = {name: installed_unit(self.layout, name) for name in self._names()}
        static = self.layout.on_disk(self.layout.static_config)
        return GeneratedFiles(
            {name: file.read_text() for name, file in files.items() if file.is_file()},
            run_as_hub_user(self.layout, lambda: static.read_text() if static.is_file() else None),
        )

    def restore(self, files: GeneratedFiles) -> set[str]:
        """Write the files that another release has generated; start nothing.

        Returns:
            As `install`.
        """
        changed = self.write(files.unit_texts)
        self.delete([name for name in self.present() if name not in files.unit_texts])
        static = self.layout.on_disk(self.layout.static_config)
        if (text := files.static_config) is not None:
            run_as_hub_user(self.layout, lambda: write(static, text))
        return changed

    def delete(self, names: Collection[str]) -> None:
        """Disable some units and remove their files; stop nothing."""
        if names:
            # Its links in sockets.target.wants, for example: another release knows none of them.
            systemctl("disable", "--quiet", *names, root=self.layout.root, is_checked=False)
        for name in names:
            for directory in (self._own_units, self._system_units):
                (directory / name).unlink(missing_ok=True)

    def install(self, ports: Ports, stacks: Callable[[], Sequence[Unit]]) -> set[str]:
        """Write and enable all units and what they read; start nothing.

        Args:
            ports: their ports.
            stacks: returns the units of stacks, which read those of the core: the hub's port. Units
                of other stacks are removed.

        Returns:
            Names of the units whose directives differ from before.
        """
        layout = self.layout
        run_as_hub_user(layout, lambda: _write_proxy_state(layout, ports))
        units = [*started_units(layout, ports), server.users_slice(layout), *helpers.units(layout)]
        if layout.hub_user:
            units.append(unprivileged.user_template(layout))
            write(layout.on_disk(layout.polkit_rule), unprivileged.polkit_rule(layout))
        changed = self.write({unit.name: unit.text() for unit in units})
        of_stacks = {unit.name: unit.text() for unit in stacks()}
        changed |= self.write(of_stacks)
        self.delete([name for name in stack.installed_units(layout) if name not in of_stacks])
        if _may_have_needrestart(layout):
            file = layout.on_disk(layout.needrestart_config)
            write(file, needrestart.needrestart_config(layout))
        if layout.is_default:
            command = layout.on_disk(layout.command_link)
            link(command, layout.hub / "bin" / "littlest-hub", keep_others=True)
        return changed

    def write(self, texts: Mapping[str, str]) -> set[str]:
        """Write unit files into the base directory, link and enable them; start nothing.

        Links, so that removing the base directory removes the units too. A base directory on its
        own file system gets none: systemd reads its units before it mounts anything.
        """
        layout, changed = self.layout, set[str]()
        if not texts:
            return changed
        is_linked = self._is_on_root_file_system()
        for name, text in texts.items():
            known = installed_unit(layout, name)
            before = known.read_text() if known.is_file() else ""
            if is_linked:
                write(self._own_units / name, text)
                link(self._system_units / name, layout.unit_directory / name)
            else:
                write(self._system_units / name, text)
            if _effective(before) != _effective(text):
                changed.add(name)
        if not is_linked:
            shutil.rmtree(self._own_units, ignore_errors=True)
        systemctl("enable", "--quiet", *texts, root=layout.root)
        return changed

    def _is_on_root_file_system(self) -> bool:
        base = self.layout.on_disk(self.layout.base)
        return base.stat().st_dev == self.layout.root.stat().st_dev

    def remove(self) -> None:
        """Disable and remove what `install` has written outside the base directory."""
        layout, present = self.layout, self.present()
        try:
            if present:
                systemctl("disable", "--quiet", *present, root=layout.root)
        finally:
            for name in present:
                (self._system_units / name).unlink(missing_ok=True)
            if self._own_units.is_dir():
                shutil.rmtree(self._own_units)
            layout.on_disk(layout.polkit_rule).unlink(missing_ok=True)
            self._remove_needrestart_config()
        command = layout.on_disk(layout.command_link)
        is_link = layout.is_default and command.is_symlink()
        if is_link and command.readlink().is_relative_to(layout.base):
            command.unlink()

    def _remove_needrestart_config(self) -> None:
        file = self.layout.on_disk(self.layout.needrestart_config)
        file.unlink(missing_ok=True)
        for directory in (file.parent, file.parent.parent):
            with contextlib.suppress(OSError):  # it is not empty, or not there
                directory.rmdir()

    def left_by_remove(self) -> tuple[list[Path], list[Path]]:
        """Return what `remove` keeps: the administrator's drop-ins, and homes of users."""
        layout = self.layout
        homes = (*layout.dynamic_homes, layout.former_homes)
        return drop_in_directories(layout), [h for h in homes if layout.on_disk(h).exists()]


def _may_have_needrestart(layout: Layout) -> bool:
    """Return whether needrestart is installed, or can be later: it is Debian's."""
    directory = layout.on_disk(layout.needrestart_config).parent
    return directory.is_dir() or layout.on_disk(Path("/var/lib/dpkg")).is_dir()


def _effective(text: str) -> list[str]:
    """Return the directives of a unit file, without those that need no restart on this machine.

    A socket whose directives have changed is opened again, at which connections are lost.
    """
    # Only the guard's reservation of the hub's port depends on it; the next boot is soon enough.
    ignored = ["ReusePort=yes"]
    if not is_ipv6_separate():
        ignored.append("BindIPv6Only=both")
    return [line for line in directives(text) if line not in ignored]


def started_units(layout: Layout, ports: Ports) -> list[Unit]:
    """Return the units that are started, in the order of `layout.started_unit_names`."""
    return [
        hub.socket(layout, ports),
        proxy.public_socket(layout, ports),
        proxy.api_socket(layout, ports),
        proxy.https_socket(layout, ports),
        guard.socket(layout),
        guard.service(layout, ports),
        proxy.service(layout),
        hub.service(layout, ports),
    ]


def _write_proxy_state(layout: Layout, ports: Ports) -> None:
    """Make the proxy's directories and first files; repair their modes."""
    # 0755: the proxy sees them through a mount of its own; others are stopped at state/.
    for directory in (layout.proxy_state, layout.dynamic_config):
        on_disk = layout.on_disk(directory)
        on_disk.mkdir(exist_ok=True)
        if on_disk.stat().st_uid == os.geteuid():
            set_mode(on_disk, 0o755)
    # Owned by the proxy from its first start on.
    layout.on_disk(layout.acme).mkdir(mode=0o700, exist_ok=True)
    write(layout.on_disk(layout.ready_config), to_toml(ready_config()))
    # Once written, the hub's: it adds what fragments configure.
    static = layout.on_disk(layout.static_config)
    if static.exists():
        set_mode(static, 0o644)
    else:
        first = static_config(
            public=f"{ports.host}:{ports.public}",
            api=ports.api_address,
            dynamic_config=layout.dynamic_config,
        )
        write(static, to_toml(first))
    routes = layout.on_disk(layout.routes)
    # traefik reports a missing file once and never looks again.
    if routes.exists():
        set_mode(routes, 0o644)
    else:
        write(routes, "")
