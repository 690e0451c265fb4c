"""A notice in JupyterLab that the hub runs another release than the user server.

A user server keeps running from the release that it was started from. This Jupyter server extension
reports that release and the hub's; `labextension/` reads the report in the browser and shows the
notice. Both are enabled in every user server that is started from a release, and nothing depends on
them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout

PATH = "littlest-hub/release"
"""The path of the report, below the server's own URL."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")


def releases(release: Path | None = None) -> dict[str, str | None]:
    """Return the versions of the release that runs this server and of the active one.

    None is an unknown version: the interpreter is in no release, or the link is dangling.

    Args:
        release: the running release, by default that of this interpreter.
    """
    release = release or release_of_this_interpreter()
    running = active = None
    try:
        layout = Layout.from_path(release)
        running = _version(release)
        # Read each time, since an upgrade changes it.
        link = layout.hub.resolve(strict=True)
        if link.parent == layout.releases.resolve() and link.is_dir():
            active = _version(link)
    except (LittlestHubError, OSError, RuntimeError):  # RuntimeError: a loop of links
        pass
    return {"running": running, "active": active}


def _version(release: Path) -> str | None:
    return release.name if _VERSION.fullmatch(release.name) else None


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    # Imported here, so that `releases` alone needs no Jupyter server.
    from jupyter_server.base.handlers import APIHandler
    from jupyter_server.utils import url_path_join
    from tornado.web import authenticated

    class ReleaseHandler(APIHandler):  # type: ignore[misc]
        """The report of `releases` as JSON."""

        # The culler must not count an open page as activity.
        _track_activity = False

        @authenticated  # type: ignore[untyped-decorator]
        def get(self) -> None:
            self.finish(releases())

    path = url_path_join(server.web_app.settings["base_url"], PATH)
    server.web_app.add_handlers(".*", [(re.escape(path), ReleaseHandler)])
