"""Volumes of the person's groups: what there is, making one, and an end of it.

The hub decides all of it (`group_volumes.api`); these pages ask it with the person's token.
"""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from tornado.web import HTTPError, authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.pages.page import PersonPage
from littlest_hub.stacks.launch.service.servers import GroupVolume, HubRefusalError


class VolumesPage(PersonPage):
    """A page about volumes of the person's groups."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.current_user and not self.has_group_volumes:
            raise HTTPError(404)

    def show(self, problem: str = "", group: str = "", name: str = "") -> None:
        """Show all of them, and what is wrong with the one that somebody wants to make."""
        found = self.group_volumes
        self.finish(
            self.rendered(
                "volumes.html",
                volumes=found.volumes,
                groups=found.groups,
                most=found.most,
                problem=problem,
                group=group,
                name=name,
            )
        )

    def asked_for(self) -> GroupVolume:
        """Return the volume that a request names, and that the person may delete.

        Raises:
            HTTPError: there is none.
        """
        name = self.get_argument("volume", "")
        for each in self.group_volumes.volumes:
            if each.name == name and each.may_delete:
                return each
        raise HTTPError(404)


class OwnVolumes(VolumesPage):
    """The list, and the form for another one."""

    @authenticated
    async def get(self) -> None:
        self.show()


class Making(VolumesPage):
    """Makes a volume."""

    @authenticated
    async def post(self) -> None:
        group, name = self.get_body_argument("group", ""), self.get_body_argument("name", "")
        is_written_by_all = self.get_body_argument("writers", "") == "all"
        try:
            await self.servers.make_volume(group, name, is_written_by_all=is_written_by_all)
        except LittlestHubError as error:
            self.set_status(400)
            said = error.said if isinstance(error, HubRefusalError) else error.message
            self.show(said, group, name)
            return
        self.redirect(f"{self.own}volumes", status=303)


class Deletion(VolumesPage):
    """Deletes a volume, once the person has seen who loses it."""

    @authenticated
    async def get(self) -> None:
        self.finish(self.rendered("delete-volume.html", volume=self.asked_for()))

    @authenticated
    async def post(self) -> None:
        await self.servers.delete_volume(self.asked_for().name)
        self.redirect(f"{self.own}volumes", status=303)
