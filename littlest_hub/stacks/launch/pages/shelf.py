"""The gallery's pages: what there is, publishing, and what administrators decide."""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from tornado.web import HTTPError, authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import FormError, form_of
from littlest_hub.stacks.launch.gallery import Entry, Gallery
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.pages.page import PersonPage


class GalleryPage(PersonPage):
    """A page of the gallery."""

    @property
    def gallery(self) -> Gallery:
        return Gallery(self.place.records)

    def may_see(self, entry: Entry) -> bool:
        """Return whether the person sees an entry."""
        return entry.is_shown or self.may_remove(entry)

    def may_remove(self, entry: Entry) -> bool:
        """Return whether the person may remove an entry."""
        return self.person.is_admin or entry.owner == self.name


class Shelf(GalleryPage):
    """The entries, with a search."""

    @authenticated
    async def get(self) -> None:
        self.show("")

    def show(self, problem: str) -> None:
        words = self.get_query_argument("q", "")[:200]
        found = [
            {
                "key": key,
                "entry": each,
                "link": form_of(each.configuration).url(self.hub_base),
                "may_remove": self.may_remove(each),
                "is_shown": each.is_shown,
            }
            for key, each in self.gallery.entries().items()
            if self.may_see(each) and each.matches(words.split())
        ]
        self.finish(
            self.rendered(
                "gallery.html",
                shown=[each for each in found if each["is_shown"]],
                waiting=[each for each in found if not each["is_shown"]],
                words=words,
                is_admin=self.person.is_admin,
                problem=problem,
            )
        )


class Publication(Shelf):
    """Takes a launch that somebody publishes."""

    @authenticated
    async def post(self) -> None:
        if is_guest(self.name):
            raise HTTPError(403)
        try:
            asked = self.judged(self.asked_form())
            if asked.private:
                raise LittlestHubError(
                    "a private repository is for those who have a token; give them the link"
                )
            title = self.get_body_argument("title", "")
            about = self.get_body_argument("about", "")
            key = self.gallery.publish(asked, title, about, self.name)
            if self.person.is_admin:
                self.gallery.show(key)
        except FormError as error:
            raise HTTPError(400) from error
        except LittlestHubError as error:
            self.set_status(400)
            self.show(f"Not published: {error.message}")
            return
        self.redirect(f"{self.own}gallery", status=303)


class Decision(GalleryPage):
    """Shows an entry to everybody, or removes it."""

    @authenticated
    async def post(self) -> None:
        key = self.get_body_argument("key", "")
        decision = self.get_body_argument("decision", "")
        entry = self.gallery.entries().get(key)
        if entry is None or not self.may_see(entry):
            raise HTTPError(404)
        if decision == "show" and self.person.is_admin:
            self.gallery.show(key)
        elif decision == "remove" and self.may_remove(entry):
            self.gallery.remove(key)
        else:
            raise HTTPError(403)
        self.redirect(f"{self.own}gallery", status=303)
