"""The person's launched servers: who may use them, and an end of that; servers of others."""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from tornado.web import HTTPError, authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import form_of
from littlest_hub.stacks.launch.pages.page import PersonPage
from littlest_hub.stacks.launch.records import Approved
from littlest_hub.stacks.launch.service.servers import Server


@dataclass(frozen=True)
class Launched:
    """A server with the configuration with which it was started last."""

    server: Server
    approved: Approved


class ServersPage(PersonPage):
    """A page about the person's launched servers."""

    def launched(self) -> list[Launched]:
        """Return the servers that the person has launched, and still has."""
        found = []
        for server in self.person.servers.values():
            try:
                approved = self.records.approved(server.configuration)
            except LittlestHubError:
                continue  # it was not launched, or nobody knows any more how
            found.append(Launched(server, approved))
        return sorted(found, key=lambda each: each.server.name)

    def asked_for(self) -> Launched:
        """Return the server that a request names.

        Raises:
            HTTPError: there is none.
        """
        name = self.get_argument("server", "")
        for each in self.launched():
            if each.server.name == name:
                return each
        raise HTTPError(404)


class OwnServers(ServersPage):
    """The list."""

    @authenticated
    async def get(self) -> None:
        self.finish(
            self.rendered(
                "servers.html",
                launched=[
                    {
                        "name": each.server.name,
                        "is_active": each.server.is_active,
                        "url": each.server.url,
                        "repository": each.approved.configuration.repository,
                        "people": each.approved.people,
                        "again": form_of(each.approved.configuration).url(self.hub_base),
                    }
                    for each in self.launched()
                ],
                shared=[
                    {
                        "name": f"{owner}/{name}",
                        "page": f"{self.hub_base}hub/launch-shared/{quote(owner, safe='@')}/{name}",
                    }
                    for owner, name in await self.servers.shared_with()
                ],
            )
        )


class Removal(ServersPage):
    """Takes access from somebody."""

    @authenticated
    async def post(self) -> None:
        found, name = self.asked_for(), self.get_body_argument("name", "")
        if name not in found.approved.people:
            raise HTTPError(404)
        server = found.server
        self.records.remove(server.configuration, name)
        await self.servers.apply_shares(server.name)
        # Otherwise their open pages and running programs would go on: JupyterHub's answer about a
        # user is kept for minutes, and a websocket is not asked about again at all.
        if server.is_active:
            await self.servers.stop(server.name)
        self.redirect(f"{self.own}servers", status=303)


class Deletion(ServersPage):
    """Deletes a server, once the person has seen who loses it."""

    @authenticated
    async def get(self) -> None:
        found = self.asked_for()
        self.finish(
            self.rendered(
                "delete-server.html",
                name=found.server.name,
                people=found.approved.people,
                is_active=found.server.is_active,
            )
        )

    @authenticated
    async def post(self) -> None:
        found = self.asked_for()
        await self.servers.stop(found.server.name)
        await self.servers.delete(found.server.name)
        self.redirect(f"{self.own}servers", status=303)
