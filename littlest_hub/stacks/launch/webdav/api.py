"""Names and passwords for folders at the hub's API, from the service, with the person's token.

| path below the hub's | |
|---|---|
| api/launch-webdav/USER/SERVER | POST: keep a name and a password for the next start |
"""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from tornado.web import HTTPError

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.webdav.kept import KEPT
from littlest_hub.stacks.launch.webdav.order import is_secret

HANDLERS = {r"api/launch-webdav/([^/]+)/([^/]+)": f"{__name__}:Access"}
"""Handlers for `c.Pages.handlers`."""


class Access(APIHandler):  # type: ignore[misc]
    """The access of a person's server to its folder."""

    @needs_scope("start:servers")
    def post(self, user_name: str, server_name: str) -> None:
        if (
            self.find_user(user_name) is None
            or is_guest(user_name)
            or not self.spawner_class.launch_settings.webdav
        ):
            raise HTTPError(404, "This hub opens no folders of WebDAV servers.")
        body = self.get_json_body()
        found = body if isinstance(body, dict) else {}
        user, password = found.get("user"), found.get("password")
        if not is_secret(user) or not is_secret(password):
            raise HTTPError(400, "A name or a password cannot be used: it is too long, or no text.")
        try:
            configuration = checked_id(found.get("configuration"))
        except (LittlestHubError, ValueError) as error:
            raise HTTPError(400, "There is no such configuration.") from error
        KEPT.keep(user_name, server_name, configuration, Credentials(str(user), str(password)))
        self.set_status(204)
