"""Tells whoever works in JupyterLab that the hub has moved on to another release.

A user server goes on running from the release that it was started from. This part of it answers
which one that is and which one the hub runs now; `labextension/` asks in the browser and says so.
Both are on in every user server that is started from a release, and nothing depends on them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout

PATH = "littlest-hub/release"
"""Where it answers, below the server's own URL."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")


def releases(release: Path | None = None) -> dict[str, str | None]:
    """The version that this server runs and the one that is active now, by the name of each.

    None for what cannot be told: no release of ours, or a link that leads nowhere.

    Args:
        release: another one than that of this interpreter.
    """
    release = release or release_of_this_interpreter()
    running = active = None
    try:
        layout = Layout.of_prefix(release)
        running = _version(release)
        # Read anew each time: it is what an upgrade changes.
        link = layout.hub.resolve(strict=True)
        if link.parent == layout.releases.resolve() and link.is_dir():
            active = _version(link)
    except (LittlestHubError, OSError, RuntimeError):  # RuntimeError: links in a circle
        pass
    return {"running": running, "active": active}


def _version(release: Path) -> str | None:
    return release.name if _VERSION.fullmatch(release.name) else None


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    # Here, so that whoever only asks for `releases` needs no server.
    from jupyter_server.base.handlers import APIHandler
    from jupyter_server.utils import url_path_join
    from tornado.web import authenticated

    class ReleaseHandler(APIHandler):  # type: ignore[misc]
        """GET: see `releases`."""

        # A page that is merely open does not keep an idle server alive.
        _track_activity = False

        @authenticated  # type: ignore[untyped-decorator]
        def get(self) -> None:
            self.finish(releases())

    path = url_path_join(server.web_app.settings["base_url"], PATH)
    server.web_app.add_handlers(".*", [(re.escape(path), ReleaseHandler)])
