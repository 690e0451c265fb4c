"""The page at which somebody without a login becomes a guest, if the fragment says so."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.roles import assign_default_roles
from tornado.web import HTTPError

from littlest_hub.stacks.launch.configuration import FormError, of_form
from littlest_hub.stacks.launch.guests import names, sweeping
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.settings import Settings

TEMPLATES = str(Path(__file__).parent / "templates")
PAGE = "launch-guest"
HANDLERS = {PAGE: f"{__name__}:GuestPage"}
"""Handlers for `c.Pages.handlers`."""


class GuestPage(BaseHandler):  # type: ignore[misc]
    """GET: what it is about. POST: a new user, who is logged in, and the confirmation."""

    async def get(self) -> None:
        form = self._form()
        if self.current_user:
            self.redirect(form.url(self.base_url))
            return
        html = await self.render_template(
            "launch-guest.html", form=form, login=self._login(form), problem=""
        )
        self.finish(html)

    async def post(self) -> None:
        form = self._form()
        if self.current_user:
            self.redirect(form.url(self.base_url), status=303)
            return
        await sweeping.sweep(self.app)
        limit = self._settings.guests
        if sum(1 for _ in sweeping.guests(self.db)) >= limit:
            self.set_status(429)
            problem = f"{limit} guests are here already. Try again in a few minutes"
            html = await self.render_template(
                "launch-guest.html", form=form, login=self._login(form), problem=problem
            )
            self.finish(html)
            return
        # Not by the authenticator, which may ask for an account of the machine.
        user = self.user_from_username(names.new())
        assign_default_roles(self.db, entity=user.orm_user)
        user.orm_user.last_activity = orm.utcnow(with_tz=False)
        self.db.commit()
        self.set_login_cookie(user)
        self.log.info("A guest has come: %s", user.name)
        self.redirect(form.url(self.base_url), status=303)

    @property
    def _settings(self) -> Settings:
        found: Settings = self.settings["spawner_class"].launch_settings
        return found

    def _login(self, form: Form) -> str:
        return f"{self.hub.base_url}login?next={quote(form.url(self.base_url), safe='')}"

    def _form(self) -> Form:
        """Return the launch that a guest may have.

        Raises:
            HTTPError: there are no guests at this hub, or they may not launch this.
        """
        settings = self._settings
        if not settings.guests:
            raise HTTPError(404)
        query = {name: self.get_query_arguments(name) for name in Form.__dataclass_fields__}
        form = Form.of_query({**query, "temporary": ["yes"]})
        try:
            asked = of_form(form, settings.policy, settings.caps, settings.choices_of_guests)
        except FormError as error:
            raise HTTPError(400, error.message) from error
        if not settings.offers(asked):
            raise HTTPError(403, "Guests may launch only what this hub offers to them.")
        return form
