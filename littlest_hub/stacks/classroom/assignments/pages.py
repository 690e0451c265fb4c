"""The page on which an administrator makes a link to material. It changes nothing on the hub."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import shutil
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, authenticated

from littlest_hub import installation
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.stacks.classroom.assignments.links import LAB, NOTEBOOK, Material


class LinkPage(BaseHandler):  # type: ignore[misc]
    """A form for a repository, and the link that people follow."""

    @authenticated
    async def get(self) -> None:
        if "admin:users" not in self.expanded_scopes:
            raise HTTPError(403, "Only administrators make links to material.")
        interface = NOTEBOOK if self._field("interface") == NOTEBOOK else LAB
        material = Material(
            self._field("repository"), self._field("branch"), self._field("path"), interface
        )
        problems = material.problems() if material.repository else {}
        link = "" if problems or not material.repository else material.link(self._address())
        layout: Layout = self.app.layout
        html = await self.render_template(
            "class-link.html",
            material=material,
            problems=problems,
            link=link,
            missing=missing(layout),
            command=layout.command,
        )
        self.finish(html)

    def _field(self, name: str) -> str:
        return str(self.get_query_argument(name, ""))

    def _address(self) -> str:
        base: Any = self.settings["base_url"]
        return f"{self.request.protocol}://{self.request.host}{base}"


def missing(layout: Layout) -> list[str]:
    """Return packages for servers, and programs, that such links need and that are missing."""
    overlay = installation.active_overlay(layout, installation.release_of_this_interpreter())
    packages = layout.on_disk(overlay) / PackageSet.SERVER if overlay else None
    has_puller = packages is not None and (packages / "nbgitpuller" / "__init__.py").exists()
    found = [] if has_puller else ["nbgitpuller"]
    return found if shutil.which("git") else [*found, "git"]
