"""Home directories of dynamic users (DynamicUser=, systemd.exec(5)): whose they are."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from datetime import UTC, datetime

from littlest_hub.hub.systemd_units import run
from littlest_hub.layout import Layout, escaped
from littlest_hub.system.files import write


class DynamicHome:
    """The home directory of a hub user who has no system account."""

    def __init__(self, layout: Layout, user: str) -> None:
        self._layout = layout
        self._user = user
        # "@" is harmless here, unlike in the name of a unit.
        name = escaped(user).replace("_x40", "@")
        link, directory = layout.dynamic_homes
        self.path = link / name
        """The home directory as the user sees it: a link."""
        self._directory = directory / name
        self._owner = layout.home_owners / name

    def belongs_to(self, cookie_id: str) -> bool:
        """Return whether the home is, or can become, that of the user with this cookie id."""
        return not self._owner.exists() or _identity(cookie_id) in self._owner.read_text().split()

    def claim(self, cookie_id: str) -> None:
        """Record that the home belongs to the user with this cookie id."""
        write(self._owner, _identity(cookie_id), 0o600)

    def keep_for(self, former: str, cookie_id: str) -> None:
        """Let a claimed home stay that of its user, whose cookie id is about to change.

        Both are valid until the next claim, since the change may fail.
        """
        if self._owner.exists() and self.belongs_to(former):
            write(self._owner, f"{_identity(former)}\n{_identity(cookie_id)}\n", 0o600)

    async def set_aside(self, log: logging.Logger) -> None:
        """Move the home to where only root may enter, under a name with the date.

        Raises:
            RuntimeError: it cannot be moved.
        """
        former = self._layout.former_homes
        # If the hub may not look there, it may not move anything there either.
        with contextlib.suppress(PermissionError):
            if self._directory.exists():
                now = datetime.now(UTC)
                aside = former / f"{self._directory.name}-{now:%Y-%m-%dT%H%M%SZ}"
                # In a unit of its own, for the hub may not write there. All names are harmless.
                script = (
                    f"mkdir -p -m 0700 {former} && mv -T {self._directory} {aside} &&"
                    f" chown root:root {aside} && chmod 0700 {aside} && rm -f {self.path}"
                )
                command = ("systemd-run", "--quiet", "--wait", "--collect", "--", "/bin/sh", "-c")
                moved = await run(*command, script, is_long=True)
                if moved.code:
                    raise RuntimeError(f"{self._directory} cannot be put aside: {moved.error}")
                log.info("The home of the former user %s: %s", self._user, aside)
        self._owner.unlink(missing_ok=True)


def _identity(cookie_id: str) -> str:
    # JupyterHub's cookie id is random for each row of the database, and secret.
    return hashlib.sha256(cookie_id.encode()).hexdigest()
