"""A page of the service: the hub's settings, and the person with records and servers."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.utils import get_browser_protocol
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError

from littlest_hub.errors import LittlestHubError
from littlest_hub.service.pages import TemplatePage, templates_in
from littlest_hub.stacks.launch.configuration import Choices, Configuration, FormError, of_form
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.links import SERVICE, Form
from littlest_hub.stacks.launch.records import Records, digest_of
from littlest_hub.stacks.launch.service.access import Access
from littlest_hub.stacks.launch.service.servers import GroupVolumes, Person, Servers
from littlest_hub.stacks.launch.settings import NOT_FOR_GUESTS, Settings

TEMPLATES = Path(__file__).parent / "templates"
_STRANGERS_S = 10
"""Time for which the hub's answer about settings is used again for people who are not logged in, so
that they cannot make the hub work."""
_SECRETS = {"user", "username", "password", "token", "access_token", "private_token"}
"""Names under which links would contain what nobody else may see."""
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Place:
    """The surroundings of the service."""

    records: Path
    resolver: Path
    """The socket of the resolver."""
    sources: Path
    """The directory of the files that the resolver has fetched."""
    starter: Path
    """The socket of the starter of builds."""
    logs: Path
    """The directory of the builder's logs."""
    results: Path
    """The directory of what orders have become."""


class SecretInLinkError(LittlestHubError):
    """A link with a name or a password in it."""


class Page(TemplatePage):
    """A page of the service, with the hub's settings."""

    hub_settings: Settings
    templates = templates_in(TEMPLATES)

    async def prepare(self) -> None:
        self._refuse_secrets()
        known: dict[str, tuple[float, Settings]]
        known = self.settings.setdefault("known_settings", {})
        asked_s, found = known.get(self.hub_base, (-inf, Settings()))
        if self.current_user or time.monotonic() > asked_s + _STRANGERS_S:
            found = await self._ask_hub()
            known[self.hub_base] = time.monotonic(), found
        self.hub_settings = found

    def _refuse_secrets(self) -> None:
        """Refuse a link with a name or a password, also one that nobody here would use.

        Raises:
            SecretInLinkError: it is one.
        """
        found = sorted(_SECRETS.intersection(self.request.query_arguments))
        if found:
            raise SecretInLinkError(
                f"this link contains a {found[0]}; links are seen by others, so nothing"
                " of it was used",
                "Revoke what was in it, and leave it out: this hub asks for it on a page",
            )

    async def _ask_hub(self) -> Settings:
        try:
            return Settings.from_json(await self.published())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LittlestHubError(
                f"the settings of this page are not valid: {error}", "Ask the administrator"
            ) from error

    @property
    def place(self) -> Place:
        place: Place = self.settings["place"]
        return place

    @property
    def access(self) -> Access:
        """The names and tokens that people have typed to open private repositories."""
        access: Access = self.settings.setdefault("access", Access())
        return access

    @property
    def own(self) -> str:
        """The path of this service."""
        return f"{self.hub_base}{SERVICE}"

    @property
    def address(self) -> str:
        """The address of the hub, as others reach it.

        Raises:
            HTTPError: the request does not name a host.
        """
        if self.hub_settings.address:
            return self.hub_settings.address
        if not _HOST.fullmatch(self.request.host):
            raise HTTPError(400)
        return f"{get_browser_protocol(self.request)}://{self.request.host}{self.hub_base}"

    def common_values(self) -> dict[str, Any]:
        return {
            "own": self.own,
            "settings": getattr(self, "hub_settings", Settings()),
            # On a hub with units: None. Otherwise: whether this kernel keeps programs from files.
            "is_confined": self.settings.get("is_confined"),
            "has_group_volumes": False,
            "xsrf_field": self.xsrf_form_html(),
        }

    def asked_form(self) -> Form:
        """Return the form in the query, or in what was sent."""
        names = [each.name for each in fields(Form)]
        return Form.of_query({each: self.get_arguments(each, strip=False) for each in names})

    def status_of(self, error: LittlestHubError) -> int:
        return 400 if isinstance(error, SecretInLinkError) else super().status_of(error)


class PersonPage(Page):
    """A page for somebody who is logged in."""

    person: Person
    records: Records
    servers: Servers
    group_volumes = GroupVolumes()

    async def prepare(self) -> None:
        await super().prepare()
        # Without this, `tornado.web.authenticated` sends the browser to the hub's login.
        if self.current_user:
            self.name = str(self.current_user["name"])
            token = self.hub_auth.get_token(self)
            self.servers = Servers(self.hub_auth.api_url, self.name, token)
            self.person = await self.servers.person()
            self.records = Records(self.place.records, self.name, self.person.since)
            self.records.keep(self.person.servers)
            if self.has_group_volumes:
                self.group_volumes = await self.servers.group_volumes()

    @property
    def owner(self) -> str:
        """The digest of the person, which stands for them in caches."""
        return digest_of(self.name, self.person.since)

    @property
    def choices(self) -> Choices:
        """Further choices that the person has."""
        found = self.hub_settings.choices_for(self.name, self.person.groups)
        return replace(found, volumes={**self.group_volumes.offered, **found.volumes})

    @property
    def has_group_volumes(self) -> bool:
        """Whether there can be volumes of groups for the person."""
        # A page about a hub that does not answer has no settings.
        found = getattr(self, "hub_settings", Settings())
        return bool(found.group_volumes) and not is_guest(self.name)

    def common_values(self) -> dict[str, Any]:
        has_group_volumes = bool(self.current_user) and self.has_group_volumes
        return {**super().common_values(), "has_group_volumes": has_group_volumes}

    def judged(self, form: Form) -> Configuration:
        """Return what a form of the person asks for.

        Raises:
            FormError: fields of it are not valid, or not permitted.
        """
        settings = self.hub_settings
        found = of_form(form, settings.policy, settings.caps, self.choices)
        if is_guest(self.name) and not settings.offers(found):
            raise FormError({"repo": NOT_FOR_GUESTS})
        return found

    async def refuse_unknown(self, configuration: Configuration) -> None:
        """Refuse to share with somebody whom the hub does not know, or with oneself.

        Raises:
            FormError: the names.
            LittlestHubError: the hub does not answer.
        """
        names = configuration.share.split()
        if self.name in names:
            raise FormError({"share": f"found {self.name}, which is you; expected other people"})
        found = [await self._is_known(name) for name in names]
        unknown = [name for name, is_known in zip(names, found, strict=True) if not is_known]
        if unknown:
            raise FormError(
                {
                    "share": f"this hub knows nobody called {', '.join(unknown)}; expected names of"
                    " people who have been here"
                }
            )

    async def _is_known(self, name: str) -> bool:
        try:
            await self.ask_hub(f"users/{quote(name, safe='@')}")
        except HTTPClientError as error:
            if error.code == 404:
                return False
            raise LittlestHubError(f"the hub does not tell who {name} is ({error})") from error
        return True
