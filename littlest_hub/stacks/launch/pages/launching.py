"""The page after the button: it records what was approved, builds it, and starts the server.

The log is one page that is sent bit by bit. A page that loads itself again (`Refresh`) would take a
reader's place and a screen reader's each time, which WCAG 2.2.1 forbids; a script would need a
weaker policy on a page that shows texts of strangers. If the connection is lost, the same address
goes on: the build does not depend on it.
"""

# tornado's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from markupsafe import escape
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import order, repository, server_name
from littlest_hub.stacks.launch.configuration import Configuration, FormError, form_of
from littlest_hub.stacks.launch.environment.environment_files import Kind
from littlest_hub.stacks.launch.gallery import Gallery
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.order import Order
from littlest_hub.stacks.launch.pages.entrance import page_of_start, resolved
from littlest_hub.stacks.launch.pages.page import PersonPage
from littlest_hub.stacks.launch.pages.standing import Relation, standing
from littlest_hub.stacks.launch.records import Approved, Begun, kept_orders
from littlest_hub.stacks.launch.service.access import ForgottenError
from littlest_hub.stacks.launch.service.builds import MOST_WAITING, BuildError, Builds
from littlest_hub.stacks.launch.service.resolution import Resolution

_QUIET_S = 15
"""Time without a line after which a sign of life is sent: proxies close silent connections."""
_HERE = "<!-- the log -->"
_MOST_WINDOWS = 10
"""The most windows in which one person sees the same launch being built; each holds connections."""


class Launch(PersonPage):
    """Records what somebody has approved, and begins to launch it."""

    @authenticated
    async def post(self) -> None:
        form = self.asked_form()
        back = form.url(self.hub_base)
        try:
            asked = self.judged(form)
            await self.refuse_unknown(asked)
            configuration = asked.at(self.get_body_argument("commit", ""))
        except FormError:
            self.redirect(back, status=303)
            return
        except LittlestHubError as error:
            raise HTTPError(400) from error
        access = self.get_body_argument("access", "")
        if configuration.opened and not self.access.of(access, self.owner, configuration.opened):
            # It took too long: the name and the token are asked for again.
            self.redirect(back, status=303)
            return
        decision = self.get_body_argument("decision", "")
        at = standing(configuration, self.person, self.records)
        if decision == "another":
            name = server_name.another(configuration.name, self.person.servers)
            configuration = replace(configuration, name=name)
        elif not (
            (decision == "launch" and at.kind in (Relation.NEW, Relation.SAME))
            or (decision == "update" and at.kind is Relation.CHANGED)
        ):
            # Another window was faster: the page says what there is now.
            self.redirect(back, status=303)
            return
        self._remember(form, configuration, self.get_body_argument("ask", ""))
        server = configuration.name or self._free_name()
        id = self.records.approve(configuration, is_asked=True)
        name = self.records.begin(id, server, restarts=decision == "update")
        self.access.begin(access, name)
        self.redirect(f"{self.own}launching/{name}", status=303)

    def _remember(self, form: Form, configuration: Configuration, ask: str) -> None:
        self.records.remember(form)
        if configuration.private:
            # A count would tell whoever has published its address that it was launched.
            return
        Gallery(self.place.records).count(configuration)
        if configuration.opened:
            return
        if configuration.name and ask == "never-commit":
            self.records.do_not_ask(configuration.id)
        is_branch = not repository.is_commit(configuration.ref)
        if configuration.name and ask == "never-ref" and is_branch:
            self.records.do_not_ask(replace(configuration, commit="").id)

    def _free_name(self) -> str:
        return server_name.another(server_name.random(), self.person.servers)


class Launching(PersonPage):
    """The log of a launch; then the server."""

    @authenticated
    async def get(self, name: str) -> None:
        begun = self.records.begun(name)
        if begun is None:
            raise HTTPError(404)
        approved = self.records.approved(begun.configuration)
        head, self._tail = self.rendered(
            "launching.html", configuration=approved.configuration, server=begun.server
        ).split(_HERE)
        # nginx in front would collect the page.
        self.set_header("X-Accel-Buffering", "no")
        with contextlib.suppress(StreamClosedError):
            await self._send(head)
            try:
                await self._launch(name, begun, approved)
            except LittlestHubError as error:
                self._end_without(approved, error)
            except StreamClosedError:
                raise
            except OSError as error:
                why = f"{error.filename or 'the records'}: {error.strerror}"
                self._end_without(approved, LittlestHubError(why, "Ask the administrator"))

    async def _launch(self, name: str, begun: Begun, approved: Approved) -> None:
        if not begun.is_started:
            approved = await self._built(name, approved)
            async with self._one_at_a_time(name):
                await self._start(name, approved)
        person = await self.servers.person()
        if begun.server not in person.servers:
            raise LittlestHubError(f"there is no server {begun.server} (any more)")
        self.access.forget(name)
        target = page_of_start(self, person.servers[begun.server], approved.configuration)
        self._end("launched.html", target=target, server=begun.server)

    async def _built(self, name: str, approved: Approved) -> Approved:
        """Return the same with the environment, once it is there."""
        configuration = approved.configuration
        with self._slot(configuration.id):
            build = asyncio.create_task(self._build(name, configuration))
            try:
                while not build.done():
                    await asyncio.wait([build], timeout=_QUIET_S)
                    if not build.done():
                        await self._send("<!-- -->")
                key, order_id = build.result()
            finally:
                build.cancel()
        self.records.approve(configuration, key, order=order_id)
        return Approved(configuration, key)

    @contextlib.contextmanager
    def _slot(self, id: str) -> Iterator[None]:
        """Count a build of the person; windows that wait for the same launch count once.

        Args:
            id: of the configuration.

        Raises:
            LittlestHubError: there are enough already.
        """
        people: dict[str, Counter[str]] = self.settings.setdefault("builds", {})
        windows = people.setdefault(self.name, Counter())
        # A page that is loaded again comes before the server knows that the first one is gone.
        if id not in windows and len(windows) >= self.hub_settings.builds_per_person:
            verb = "is" if len(windows) == 1 else "are"
            raise LittlestHubError(
                f"{len(windows)} of your launches {verb} being built already",
                "Wait until one of them has started, and look again",
            )
        if windows[id] >= _MOST_WINDOWS:
            raise LittlestHubError(
                f"{_MOST_WINDOWS} windows show this launch already", "Look at one of them"
            )
        windows[id] += 1
        try:
            yield
        finally:
            windows[id] -= 1
            if not windows[id]:
                del windows[id]
            if not windows:
                people.pop(self.name, None)

    async def _build(self, name: str, configuration: Configuration) -> tuple[str, str]:
        """Return the key of an environment and the id of its order; "": it is that of the hub."""
        place = self.place
        builds = Builds(
            place.records / "orders",
            place.starter,
            place.logs,
            place.results,
            kept=partial(kept_orders, place.records),
        )
        credentials = self.access.of(name, self.owner, configuration.opened)
        commit = configuration.commit
        asked: Order | None
        try:
            found = await resolved(self, configuration, commit, self._tell, credentials)
        except LittlestHubError as error:
            asked = self._ordered_before(builds, configuration)
            if asked is None:
                raise
            await self._tell(f"{error.message}. What was launched before is used")
        else:
            asked = self._order(configuration, found)
        if asked is None:
            return "", ""
        waiting = self.settings.setdefault("waiting", asyncio.Semaphore(MOST_WAITING))
        async with waiting:
            return await builds.build(asked, self._tell), asked.id

    def _ordered_before(self, builds: Builds, configuration: Configuration) -> Order | None:
        """Return the order of the same configuration from before; None: there is none.

        Whoever has launched a private repository may have lost the right to read it since.
        """
        id = self.records.approved(configuration.id).order
        with contextlib.suppress(LittlestHubError):
            return builds.ordered(id) if id and not configuration.private else None
        return None

    def _order(self, configuration: Configuration, found: Resolution) -> Order | None:
        """Return the order of an environment; None: it is that of the hub.

        Raises:
            LittlestHubError: it cannot be built.
        """
        if found.commit != configuration.commit:
            expected = configuration.commit
            raise LittlestHubError(f"found the commit {found.commit}, expected {expected}")
        if found.environment.kind is Kind.USUAL and not found.environment.refused:
            return None
        if found.environment.refused:
            raise LittlestHubError("; ".join(map(str, found.environment.refused)))
        self._refuse_removed_sources()
        read = _Reader(found.files_below(self.place.sources))
        # An order has a day; a commit has a second.
        asked = order.of_environment(
            found.environment,
            read,
            committed=found.date[:10],
            source=found.directory,
            built=tuple(configuration.built.split()),
        )
        owner = self.owner if configuration.private else ""
        return replace(asked, as_of=configuration.as_of, owner=owner)

    def _refuse_removed_sources(self) -> None:
        """Refuse to go on if the directory that this process sees is not the resolver's any more.

        Raises:
            LittlestHubError: it was removed after this process had started.
        """
        if self.place.sources.stat().st_nlink == 0:
            self.application.is_over.set()
            raise LittlestHubError(
                "the files of repositories were removed from this machine a moment ago",
                "Load this page again",
            )

    async def _start(self, name: str, approved: Approved) -> None:
        """Start the server, unless another window has done so."""
        begun = self.records.begun(name)
        if begun is None or begun.is_started:
            return
        server = (await self.servers.person()).servers.get(begun.server)
        if server and server.is_active:
            if server.configuration == approved.configuration.id:
                self.records.start(name)
                return
            if not begun.restarts:
                raise LittlestHubError(
                    f"the server {begun.server} was started with something else meanwhile"
                )
            await self._tell(f"Stopping {begun.server} …")
            await self.servers.stop(begun.server)
        await self._tell(f"Starting {begun.server} …")
        await self._give_access(name, begun, approved.configuration)
        self.records.start(name)
        await self.servers.start(begun.server, approved.configuration.id)

    async def _give_access(self, name: str, begun: Begun, configuration: Configuration) -> None:
        """Give the hub the name and the password for the folder of a server, if it has one."""
        if not configuration.webdav:
            return
        credentials = self.access.of(name, self.owner, configuration.webdav)
        if credentials is None:
            raise ForgottenError(
                "the name and password for the folder are not known any more",
                "They are kept for one launch only; launch it again, and type them again",
            )
        await self.servers.keep_access(begun.server, configuration.id, credentials)

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, name: str) -> AsyncIterator[None]:
        starts: dict[str, asyncio.Lock] = self.settings.setdefault("starts", {})
        lock = starts.setdefault(name, asyncio.Lock())
        async with lock:
            yield
        starts.pop(name, None)

    async def _tell(self, line: str) -> None:
        await self._send(f"{escape(line)}\n")

    def _end_without(self, approved: Approved, error: LittlestHubError) -> None:
        form = form_of(approved.configuration)
        offer = error.offer if isinstance(error, BuildError) else ""
        runs_code = self.hub_settings.runs_code
        sources = error.sources if isinstance(error, BuildError) and runs_code else ""
        built = " ".join(filter(None, (form.built, sources)))
        self._end(
            "not_launched.html",
            message=error.message,
            hint=error.hint or "",
            # The builder's own answer would be the same again.
            is_transient=not isinstance(error, (BuildError, ForgottenError)),
            edit=f"{form.url(self.hub_base)}&edit=1",
            offer=offer,
            earlier=replace(form, as_of=offer).url(self.hub_base),
            sources=sources,
            from_source=replace(form, built=built).url(self.hub_base),
        )

    def _end(self, template: str, **values: str | bool) -> None:
        self.finish(self._tail + self.rendered(template, **values) + "</main></body></html>\n")

    async def _send(self, text: str) -> None:
        self.write(text)
        await self.flush()


class _Reader:
    """Reads the beginning of regular files of a repository."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, file: str, limit_bytes: int) -> bytes:
        try:
            with open(os.open(self._directory / file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
                return opened.read(limit_bytes)
        except OSError as error:
            raise LittlestHubError(f"{file} of the repository is not there any more") from error
