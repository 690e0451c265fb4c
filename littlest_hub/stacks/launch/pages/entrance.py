"""The form; once it is filled in, what would be launched, and a button that launches it.

One address does both: a link leads to the confirmation if everything in it is valid, and otherwise
to the form with what is wrong. A link that starts a server at once is one about which the person
does not want to be asked again, and it names the server: any page of the web could otherwise start
as many as it likes.

A private repository, or a folder, needs a name and a token. They are asked for on a page of their
own, are in the body of one request, and in no address.
"""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from jupyterhub.utils import get_browser_protocol
from tornado.web import authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import links, repository, server_name
from littlest_hub.stacks.launch.configuration import Configuration, FormError, form_of
from littlest_hub.stacks.launch.environment.environment_files import Kind
from littlest_hub.stacks.launch.gallery import Gallery
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.pages.page import PersonPage
from littlest_hub.stacks.launch.pages.standing import (
    Relation,
    Standing,
    launched_before,
    standing,
)
from littlest_hub.stacks.launch.records import Approved
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.resolver.limits import AT_ONCE
from littlest_hub.stacks.launch.service import dialogue, resolution
from littlest_hub.stacks.launch.service.access import ForgottenError
from littlest_hub.stacks.launch.service.dialogue import Tell
from littlest_hub.stacks.launch.service.resolution import Resolution
from littlest_hub.stacks.launch.service.servers import Server
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.stacks.launch.volumes import Offered, mounts

_RESOLVER_S = 120
"""More than the resolver's unit gives it."""
_SOURCE = "launch-source"
"""Signed cookie with the host of the page whose link somebody has followed who has to log in."""
_SOURCE_DAYS = 1 / 24
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
"""Hosts to which a browser sends nothing over a network."""
_UNLOCKED = (Kind.REQUIREMENTS, Kind.PROJECT, Kind.PIPFILE)
"""Kinds of environments whose versions are those of the day."""
_OLD = timedelta(days=180)
"""The age of a commit from which the versions of its day are offered."""


class Entrance(PersonPage):
    """The form, or the confirmation."""

    async def prepare(self) -> None:
        await super().prepare()
        source = source_of(self.request.headers, self.request.host)
        if source and not self.current_user:
            self.set_signed_cookie(
                _SOURCE,
                f"{self._digest} {source}",
                expires_days=None,
                path=self.own,
                httponly=True,
                samesite="Lax",
                secure=get_browser_protocol(self.request) == "https",
            )

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.request.uri.encode()).hexdigest()

    def _source(self) -> str:
        """Return the host of the page whose link somebody has followed, before a login too."""
        known = self.get_signed_cookie(_SOURCE, max_age_days=_SOURCE_DAYS)
        if known:
            self.clear_cookie(_SOURCE, path=self.own)
        digest, _, before = (known or b"").decode(errors="replace").partition(" ")
        source = source_of(self.request.headers, self.request.host)
        return source or (before if digest == self._digest else "")

    @authenticated
    async def get(self) -> None:
        form = self.asked_form()
        if form == Form():
            self._show_form(self.records.typed, is_open=False)
            return
        try:
            asked = self.judged(form)
            await self.refuse_unknown(asked)
        except FormError as error:
            self._show_form(form, error.problems)
            return
        if self.get_query_argument("edit", ""):
            self._show_form(form)
            return
        if asked.opened:
            self._ask_for_access(form, asked)
            return
        try:
            found = await resolved(self, asked, asked.ref, _ignore)
        except LittlestHubError as error:
            before = launched_before(asked, self.person, self.records)
            self._show_form(form, {"": error.message}, hint=error.hint or "", before=before)
            return
        await self._confirm(form, asked.at(found.commit), found)

    @authenticated
    async def post(self) -> None:
        """Open a private repository with what somebody has typed, and show what it is."""
        form = self.asked_form()
        try:
            asked = self.judged(form)
            await self.refuse_unknown(asked)
        except FormError:
            self.redirect(form.url(self.hub_base), status=303)
            return
        if not asked.opened:
            self.redirect(form.url(self.hub_base), status=303)
            return
        try:
            credentials = self._typed()
            found = await resolved(self, asked, asked.ref, _ignore, credentials)
        except LittlestHubError as error:
            self._ask_for_access(form, asked, error)
            return
        access = self.access.keep(self.owner, asked.opened, credentials)
        await self._confirm(form, asked.at(found.commit), found, access)

    def _typed(self) -> Credentials:
        """Return the name and token that somebody has typed.

        Raises:
            LittlestHubError: there are none, or others could have read them.
        """
        if not self._is_encrypted:
            raise LittlestHubError("what you type here could be read on its way to this hub")
        # tornado's own methods would log what they cannot decode.
        user, password = (
            self.request.body_arguments.get(name, [b""])[0].decode(errors="replace").strip()
            for name in ("user", "password")
        )
        if not user and not password:
            raise LittlestHubError("expected a name and a token, found neither")
        return Credentials(user, password)

    @property
    def _is_encrypted(self) -> bool:
        """Whether nobody between the browser and this machine can read what is sent."""
        # The browser's own word, since a proxy in between may have changed the host.
        origin = urlsplit(self.request.headers.get("Origin", ""))
        if origin.scheme == "http" and not _LOOPBACK.fullmatch(origin.netloc):
            return False
        is_here = _LOOPBACK.fullmatch(self.request.host) is not None
        return is_here or get_browser_protocol(self.request) == "https"

    def _ask_for_access(
        self, form: Form, asked: Configuration, error: LittlestHubError | None = None
    ) -> None:
        if error:
            self.set_status(400)
        server = self.person.servers.get(asked.name) if asked.name else None
        is_launched = standing(asked, self.person, self.records).kind in (
            Relation.SAME,
            Relation.CHANGED,
        )
        self.finish(
            self.rendered(
                "access.html",
                filled=form.filled,
                host=urlsplit(asked.opened).netloc,
                configuration=asked,
                source=self._source(),
                is_encrypted=self._is_encrypted,
                message=error.message if error else "",
                hint=(error.hint or "") if error else "",
                existing=server
                and is_launched
                and page_of_start(self, server, replace(asked, path="", urlpath="")),
                edit=f"{_with(form, self.own)}&edit=1",
            )
        )

    async def _confirm(
        self, form: Form, configuration: Configuration, found: Resolution, access: str = ""
    ) -> None:
        at = standing(configuration, self.person, self.records)
        if at.kind is Relation.SAME and at.server and at.server.is_active:
            self.access.forget(access)
            self.redirect(page_of_start(self, at.server, configuration), status=303)
            return
        if self._is_unasked(configuration, found, at):
            Gallery(self.place.records).count(configuration)
            id = self.records.approve(configuration)
            name = self.records.begin(id, configuration.name)
            self.redirect(f"{self.own}launching/{name}")
            return
        self._show_confirmation(form, configuration, found, at, access)

    def _is_unasked(self, configuration: Configuration, found: Resolution, at: Standing) -> bool:
        """Return whether the person does not want to be asked about this."""
        # A picture or a frame of any page causes requests too.
        is_seen = self.request.headers.get("Sec-Fetch-Dest", "document") == "document"
        return bool(
            configuration.name
            and not configuration.opened
            and (
                configuration.is_among(self.records.unasked)
                or self.hub_settings.is_one_click(configuration, self.person.groups)
            )
            and at.kind in (Relation.NEW, Relation.SAME)
            and not found.environment.refused
            and is_seen
        )

    def _show_confirmation(
        self,
        form: Form,
        configuration: Configuration,
        found: Resolution,
        at: Standing,
        access: str,
    ) -> None:
        # The page that has opened this one cannot replace it while somebody clicks. Browsers
        # complain about this header without https.
        if get_browser_protocol(self.request) == "https":
            self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        named = repository.Repository(configuration.repository, configuration.ref)
        environment = found.environment
        taken = [*self.person.servers]
        suggested = server_name.suggested(named)
        self.finish(
            self.rendered(
                "confirmation.html",
                filled=form.filled,
                configuration=configuration,
                found=found,
                access=access,
                host=urlsplit(configuration.repository).netloc,
                environment=environment,
                mounts=mounts(configuration.mounts),
                source=self._source(),
                standing=at,
                another=server_name.another(configuration.name, taken),
                named=_with(form, self.own, name=suggested),
                suggested=suggested,
                earlier=_with(form, self.own, as_of=found.date[:10])
                if _is_old(configuration, found)
                else "",
                edit=f"{_with(form, self.own)}&edit=1",
                share=_with(form, f"{self.own}links"),
                is_commit=repository.is_commit(configuration.ref),
                # It may not have the file that would open.
                existing=at.server
                and page_of_start(self, at.server, replace(configuration, path="", urlpath="")),
                binder=links.on_public_binder(named, configuration.path, configuration.urlpath),
                hubs=links.on_other_hubs(form, self.hub_settings.hubs),
                commands=links.on_own_computer(
                    named, found.commit, environment, configuration.path
                ),
            )
        )

    def _show_form(
        self,
        form: Form,
        problems: dict[str, str] | None = None,
        *,
        hint: str = "",
        is_open: bool = True,
        before: Approved | None = None,
    ) -> None:
        problems = problems or {}
        if problems:
            self.set_status(400)
        prepared = self.hub_settings.prepared
        self.finish(
            self.rendered(
                "form.html",
                form=form,
                fields=_fields(form, self.hub_settings, problems),
                choices=self.choices,
                volumes=_volumes(form, self.choices.volumes),
                problems=problems,
                hint=hint,
                is_open=is_open or not prepared,
                before=before and before.configuration,
                again=before and form_of(before.configuration).filled,
                suggested=self._suggested(form),
                prepared={title: _with(each, self.own) for title, each in prepared.items()},
                unasked=len(self.records.unasked),
            )
        )

    def _suggested(self, form: Form) -> str:
        try:
            return server_name.suggested(repository.parse(form.repo, self.hub_settings.policy))
        except LittlestHubError:
            return ""


class AskAgain(PersonPage):
    """Forgets about which launches somebody did not want to be asked."""

    @authenticated
    async def post(self) -> None:
        self.records.ask_again()
        self.redirect(self.own, status=303)


async def resolved(
    page: PersonPage,
    asked: Configuration,
    ref: str,
    tell: Tell,
    credentials: Credentials | None = None,
) -> Resolution:
    """Return what a repository is at a ref.

    Args:
        page: of the person.
        asked: the repository, and whether it is private.
        ref: a branch, tag or commit.
        tell: takes progress.
        credentials: for a private one.

    Raises:
        ForgottenError: a private one without credentials.
        LittlestHubError: the resolver refuses.
    """
    url = asked.repository
    request = {"repository": url, "ref": ref}
    if asked.private:
        if credentials is None:
            raise ForgottenError(
                f"the name and token for {url} are not known any more",
                "They are kept for one launch only; launch it again, and type them again",
            )
        request |= {"owner": page.owner, "user": credentials.user}
        request |= {"password": credentials.password}
    turns = page.settings.setdefault("turns", defaultdict(asyncio.Lock))
    at_once = page.settings.setdefault("resolvers", asyncio.Semaphore(AT_ONCE))
    # One after the other: a page of the web could ask for a hundred in a person's name. And a class
    # that follows a link at the same moment waits.
    async with turns[page.name], at_once:
        try:
            async with asyncio.timeout(_RESOLVER_S):
                answer = await dialogue.ask(page.place.resolver, request, "resolved", tell)
        except TimeoutError:
            raise LittlestHubError(
                f"{url}: no answer within {_RESOLVER_S} s", "Try again"
            ) from None
    found = resolution.of_json(answer)
    return found if page.hub_settings.runs_code else resolution.refusing_code(found)


def page_of_start(page: PersonPage, server: Server, configuration: Configuration) -> str:
    """Return JupyterHub's page of a start, which goes on to the server once it is there."""
    target = quote(f"{server.url}{configuration.page}", safe="/")
    user = quote(page.name, safe="@")
    return f"{page.hub_base}hub/spawn-pending/{user}/{server.name}?next={target}"


def source_of(headers: Any, host: str) -> str:
    """Return the host of the page whose link somebody has followed; "": this one, or unknown.

    Browsers keep the address of that page through redirects, but not through a form for the login,
    for which there is a cookie.
    """
    found = urlsplit(headers.get("Referer", "")).netloc.rpartition("@")[2]
    return "" if found.lower() == host.lower() else found[:100]


def _is_old(configuration: Configuration, found: Resolution) -> bool:
    """Return whether versions of the day of a commit may differ much from those of today."""
    is_of_today = not configuration.as_of and found.environment.kind in _UNLOCKED
    return is_of_today and "" < found.date[:10] < str(date.today() - _OLD)


def _with(form: Form, path: str, **changes: str) -> str:
    """Return the address of a page for a form."""
    changed = Form(**{**vars(form), **changes})
    return f"{path}?{changed.url('').partition('?')[2]}"


_LABELS = {
    "repo": (
        "Repository",
        "Its address, a DOI, or a short form of Binder: gh/ORGANIZATION/NAME/BRANCH",
    ),
    "ref": ("Branch, tag or commit", "Empty: the branch that the repository itself chooses"),
    "path": ("File that opens", "Such as week1/start.ipynb. Empty: JupyterLab without a file"),
    "urlpath": ("Page that opens instead", "Such as voila/render/a.ipynb"),
    "name": (
        "Name of the server",
        "A later launch of this name finds this server again. Empty: each makes another one",
    ),
    "memory_gb": ("Memory in GB", ""),
    "processors": ("Processors", ""),
    "hours": ("Duration in hours", ""),
    "as_of": ("Packages as of", "A date, such as 2026-05-01. Empty: the latest versions"),
    "share": (
        "People who may use this server",
        "Names of users of this hub. They can do there what you can; they do not see your home",
    ),
    "built": (
        "Packages built from source",
        "Names of packages without a wheel, whose code runs to build them. Empty: none",
    ),
    "webdav": (
        "Folder at a WebDAV server, such as a Nextcloud",
        "Its https address. The server reads it in its directory volumes; the next page asks for"
        " your name and password there. Empty: none",
    ),
}


def _fields(form: Form, settings: Settings, problems: dict[str, str]) -> list[dict[str, str]]:
    """Return the fields of the form, for its template."""
    found = []
    for name, (label, help_text) in _LABELS.items():
        most = getattr(settings.caps, name, None)
        value = getattr(form, name)
        is_offered = {
            "share": settings.collaborators,
            "built": settings.runs_code,
            "webdav": settings.webdav,
        }.get(name, True)
        if not is_offered and not value:
            continue
        # A field that nobody may choose is shown only to say so.
        if most or most is None or value:
            limit = f"At most {most:g}. Empty: what is usual here" if most else help_text
            each = {"name": name, "label": label, "value": value, "help": limit}
            found.append({**each, "problem": problems.get(name, "")})
    return found


def _volumes(form: Form, offered: Offered) -> list[dict[str, Any]]:
    """Return the volumes that somebody may choose, for the form's template."""
    chosen = form.mount.replace(",", " ").split()
    return [
        {
            "name": name,
            "may_write": may_write,
            "is_read": name in chosen or f"{name}:ro" in chosen,
            "is_written": f"{name}:rw" in chosen,
        }
        for name, may_write in sorted(offered.items())
    ]


async def _ignore(_: str) -> None:
    """Take progress of the resolver, which is over in seconds."""
