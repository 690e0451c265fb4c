"""A server that has the folder of its owner: what its unit needs, and what it is refused for."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from html import escape
from typing import Any

from littlest_hub.hub.launch import Launch, NotStartedError
from littlest_hub.hub.systemd_units import run
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.settings import OPTION
from littlest_hub.stacks.launch.volumes import SHOWN
from littlest_hub.stacks.launch.webdav import folder, order
from littlest_hub.stacks.launch.webdav.kept import KEPT
from littlest_hub.stacks.launch.webdav.order import Order
from littlest_hub.system.files import write
from littlest_hub.units.server import with_values


class NoFolderError(NotStartedError):
    """A start that is refused since its folder cannot be opened.

    Args:
        reason: in a sentence, for people.
        link: the address at which the person may launch it again.
    """

    def __init__(self, reason: str, link: str) -> None:
        super().__init__(reason)
        self.status_code = 403  # nothing has failed
        self.jupyterhub_html_message = (
            f'{escape(reason)}. <a href="{escape(link)}">Launch it again</a>'
        )


class WithFolder:
    """A spawner of units, whose servers may have a folder."""

    user: Any
    name: str
    user_options: Any
    log: Any
    layout: Layout
    launched: Any
    _link: Any
    _unit: str

    async def run_pre_spawn_hook(self) -> None:
        """Refuse at once a start without a name and a password, which nobody has stored."""
        self._folder_order()
        await super().run_pre_spawn_hook()  # type: ignore[misc]

    def _folder_order(self) -> Order | None:
        """Return what to mount for the server; None: nothing.

        Raises:
            NoFolderError: name and password are not known.
        """
        found = self.launched()
        if found is None or not found.configuration.webdav:
            return None
        address = found.configuration.webdav
        credentials = KEPT.of(self.user.name, self.name, self.user_options[OPTION])
        if credentials is None:
            host, _ = folder.place_of(address)
            raise NoFolderError(
                f"This server has a folder at {host}, whose name and password are asked for at each"
                " start",
                self._link(found.configuration),
            )
        return Order(address, credentials.user, credentials.password)

    def _prepare(self, account: Any) -> Launch:
        launch: Launch = super()._prepare(account)  # type: ignore[misc]
        found = self.launched()
        if found is None or not found.configuration.webdav:
            return launch
        mount = order.mounts_of(self.layout) / order.key_of(self._unit)
        more = {
            "Requires": [order.unit_of(self.layout, self._unit)],
            "After": [order.unit_of(self.layout, self._unit)],
            "BindReadOnlyPaths": [f"{mount}:{folder.PLACE}"],
        }
        if not found.configuration.mounts:
            more["TemporaryFileSystem"] = [f"{SHOWN}:ro,mode=0755,size=1M"]
        return replace(launch, properties=with_values(launch.properties, more))

    async def _launch(self, launch: Launch) -> None:
        wanted = self._folder_order()
        if wanted is None:
            await super()._launch(launch)  # type: ignore[misc]
            return
        file = order.file_of(self.layout, order.key_of(self._unit))
        write(file, wanted.text, 0o600, is_durable=False)
        try:
            await super()._launch(launch)  # type: ignore[misc]
        except NotStartedError as error:
            if reason := await self._folder_problem():
                link = self._link(self.launched().configuration)
                raise NoFolderError(f"The folder cannot be opened: {reason}", link) from error
            raise
        finally:
            file.unlink(missing_ok=True)

    async def _folder_problem(self) -> str:
        """Return why the folder was not mounted; "": it was, or nobody knows."""
        unit = order.unit_of(self.layout, self._unit)
        state = await run("systemctl", "show", "--property=ActiveState,StatusText", unit)
        found = dict(line.split("=", 1) for line in state.output.splitlines() if "=" in line)
        if found.get("ActiveState") != "failed":
            return ""
        await run("systemctl", "reset-failed", unit)
        return found.get("StatusText", "")[:500] or f"journalctl -u {unit}"

    async def start(self) -> Any:
        try:
            return await super().start()  # type: ignore[misc]
        finally:
            KEPT.forget(self.user.name, self.name)

    async def stop(self, now: bool = False) -> None:
        """Stop the server, whose processes may wait for the folder, which frees them at once."""
        # Nothing here may look at the mount itself.
        mounts, key = order.mounts_of(self.layout), order.key_of(self._unit)
        with contextlib.suppress(FileNotFoundError):
            if any(each.name == key for each in mounts.iterdir()):
                unit = order.unit_of(self.layout, self._unit)
                await run("systemctl", "kill", "--signal=KILL", unit)
        await super().stop(now)  # type: ignore[misc]
