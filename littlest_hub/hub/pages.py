"""Our versions of some of JupyterHub's pages, in templates/, and what all of them announce.

They extend JupyterHub's as `templates/NAME.html`, and a fragment's `template_paths` precede them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import has_scope
from jupyterhub.utils import maybe_future
from traitlets import Callable, Dict, List, Unicode
from traitlets.config import Configurable

from littlest_hub.manifest.manifest import resolve

TEMPLATES = str(Path(__file__).parent / "templates")


class Pages(Configurable):  # type: ignore[misc]
    """Texts and links on the hub's pages."""

    contact = Unicode(
        config=True,
        help="Whom users may ask, on every page: a name, a room, an e-mail or web address, …",
    )
    links = List(
        Dict(),
        config=True,
        help="More links in the bar at the top of every page, for whoever is logged in. Each has"
        " text, path (below the hub's base URL), and perhaps scope, such as admin:users or"
        " access:services!service=NAME, without which it is not shown.",
    )
    handlers = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        config=True,
        help="More pages, for stacks: a handler, as MODULE:CLASS, by path below the hub's. The path"
        " is a regular expression.",
    )
    home_parts = List(
        trait=Unicode(),
        config=True,
        help="Templates that the page after the login includes at its top, for stacks.",
    )
    notices = List(
        Callable(),
        config=True,
        help="Functions of a user. JupyterLab shows the texts that they return to that user, who"
        " finds more about them on the page after the login. They may be coroutines.",
    )


class AnnouncementHandler(BaseHandler):  # type: ignore[misc]
    """The announcement on JupyterHub's pages (the templates' `announcement`), as HTML in JSON.

    JupyterLab shows it too (singleuser/labextension). The login page shows it to everybody, so no
    login is needed. Somebody who is logged in gets the notices for them besides, as texts.
    """

    def _record_activity(self, *_: Any) -> bool:
        # An open page is no activity of its user.
        return False

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        announcement = self.settings["template_vars"].get("announcement") or ""
        user, functions = self.current_user, self.settings["user_notices"]
        notices: list[str] = []
        for function in functions if user else ():
            notices += await maybe_future(function(user))
        self.finish({"announcement": str(announcement), "notices": notices})


class HubWithPages(JupyterHub):  # type: ignore[misc]
    """JupyterHub with our versions of its pages."""

    template_paths: list[str]  # traits of JupyterHub
    template_vars: dict[str, Any]
    handlers: list[Any]
    hub_prefix: str
    tornado_settings: dict[str, Any]
    layout: Any  # of LittlestHub

    def init_handlers(self) -> None:
        super().init_handlers()
        prefix = re.escape(self.hub_prefix)
        more = Pages(parent=self).handlers.items()
        self.handlers[:0] = [
            (f"{prefix}announcement", AnnouncementHandler),
            *((f"{prefix}{path}", resolve(reference)) for path, reference in more),
        ]

    def init_tornado_settings(self) -> None:
        self.template_paths = self._template_directories()
        pages = Pages(parent=self)
        ours = {
            "contact": pages.contact,
            "links": pages.links,
            # JupyterHub calls functions with the user, for each page.
            "may_see": lambda _: _may_see,
            "home_parts": pages.home_parts,
            "lets_existing_users_in": self.authenticator.allow_existing_users,
            "littlest_hub": self.layout.command,
            # Of `littlest-hub run`.
            "only_user": self.config.get("OwnerAuthenticator", {}).get("owner", ""),
        }
        self.template_vars = {**ours, **self.template_vars}
        super().init_tornado_settings()
        self.tornado_settings["user_notices"] = pages.notices

    def _template_directories(self) -> list[str]:
        """Return where templates are looked for: a fragment's, ours, JupyterHub's."""
        upstream = self._template_paths_default()[0]
        paths = [path for path in self.template_paths if path not in (TEMPLATES, upstream)]
        return [*paths, TEMPLATES, upstream]

    def template_loader(self) -> BaseLoader:
        """Return a loader of templates like the one that JupyterHub makes."""
        directories: Sequence[str] = self._template_directories()
        prefixed = PrefixLoader({"templates": FileSystemLoader(directories[-1:])})
        return ChoiceLoader([prefixed, FileSystemLoader(directories)])


def _may_see(link: Mapping[str, Any], parsed_scopes: Mapping[str, Any]) -> bool:
    """Return whether a link is shown to somebody with these scopes, as JupyterHub has parsed them.

    A scope without a filter may be restricted to some users; the page behind the link sees to that.
    """
    scope = link.get("scope")
    is_filtered = scope and "=" in scope
    return (
        not scope or scope in parsed_scopes or bool(is_filtered and has_scope(scope, parsed_scopes))
    )
