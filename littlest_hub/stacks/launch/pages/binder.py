"""Binder's own links, of which only the host was changed: /v2/gh/ORGANIZATION/REPOSITORY/REF.

JupyterHub redirects what no server has to its own prefix, so this is a page of the hub's
(`c.Pages.handlers`). It starts nothing and reads nothing, so it needs no login.
"""

from __future__ import annotations

from jupyterhub.handlers.base import BaseHandler

from littlest_hub.stacks.launch.links import Form

PATH = "v2/.+"
"""Its path, for `c.Pages.handlers`."""


class BinderLink(BaseHandler):  # type: ignore[misc]
    """Leads to the form."""

    def get(self) -> None:
        # The path as it came: arguments of handlers are decoded, so "%2F" would become "/".
        spec = self.request.path.partition(f"{self.hub.base_url}v2/")[2]
        names = ("labpath", "filepath", "urlpath")
        form = Form.of_binder(spec, {each: self.get_query_arguments(each) for each in names})
        self.redirect(form.url(self.base_url))
