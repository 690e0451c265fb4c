"""Pages of the hub with a form, for stacks."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError

from littlest_hub.hub import cross_site
from littlest_hub.hub.cross_site import Site


class Form(BaseHandler):  # type: ignore[misc]
    """A page with a form; it refuses a form that another site has sent."""

    template = ""

    async def prepare(self) -> None:
        await super().prepare()
        # In addition to the XSRF token, which can be guessed if a browser has no cookies.
        if self.request.method == "POST" and cross_site.site(self) is Site.OTHER:
            raise HTTPError(403, "Another site has sent this form. Nothing was changed.")

    def check_xsrf_cookie(self) -> None:
        try:
            super().check_xsrf_cookie()
        except HTTPError as error:
            self.log.warning("%s", error)
            text = "Nothing was changed: this form is too old, or not of this page. Load it again."
            raise HTTPError(error.status_code, text) from None

    def field(self, name: str) -> str:
        """Return the text of a field; "" if the field was left out."""
        is_secret = name.endswith("password")
        return str(self.get_body_argument(name, "", strip=not is_secret))

    async def show(self, *, status: int = 200, **values: Any) -> None:
        """Answer with the page.

        Args:
            status: of HTTP.
            values: variables of the template. `problems` are texts by field; "" is the whole form.
        """
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        defaults: dict[str, Any] = {"problems": {}, "typed": {}}
        self.finish(await self.render_template(self.template, **{**defaults, **values}))

    def end_sessions(self, name: str) -> None:
        """Log a user out in all browsers."""
        if user := self.find_user(name):
            self.app.end_sessions(user.orm_user)
            self.db.commit()
