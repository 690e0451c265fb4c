"""Pages for sharing a launch: links, badges, and other places to launch the same."""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from tornado.web import authenticated

from littlest_hub.stacks.launch import links, repository
from littlest_hub.stacks.launch.configuration import FormError
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.pages.page import TEMPLATES, Page, PersonPage

GUEST_PAGE = "hub/launch-guest"
_CACHE = "public, max-age=3600"


class Sharing(PersonPage):
    """Snippets with a badge for the form in the query."""

    @authenticated
    async def get(self) -> None:
        form = self.asked_form()
        try:
            asked = self.judged(form)
        except FormError:
            self.redirect(form.url(self.hub_base))
            return
        named = repository.Repository(asked.repository, asked.ref)
        link = form.url(self.address)
        label = f"launch on {self.hub_settings.title}"
        self.finish(
            self.rendered(
                "links.html",
                form=form,
                filled=form.filled,
                may_publish=not is_guest(self.name) and not asked.private,
                is_private=asked.private,
                guest=form.url(self.address).replace(links.SERVICE, GUEST_PAGE, 1)
                if self.hub_settings.offers(asked)
                else "",
                link=link,
                label=label,
                snippets=links.snippets(link, f"{self.address}{links.SERVICE}badge.svg", label),
                back=form.url(self.hub_base),
                hubs=links.on_other_hubs(form, self.hub_settings.hubs),
                binder=links.on_public_binder(named, asked.path, asked.urlpath),
            )
        )


class Badge(Page):
    """The picture, which everybody's browser gets, wherever it is pasted."""

    async def get(self) -> None:
        self.set_header("Content-Type", "image/svg+xml; charset=utf-8")
        self.set_header("Cache-Control", _CACHE)
        self.finish(links.badge(f"launch on {self.hub_settings.title}"))


class Style(Page):
    """The style sheet."""

    async def prepare(self) -> None:
        """Do without the hub's settings."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.set_header("Cache-Control", _CACHE)
        self.finish((TEMPLATES / "launch.css").read_bytes())
