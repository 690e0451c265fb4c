"""The teacher's page, as a handler of the hub."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, authenticated

from littlest_hub.doctor.last_failures import Failure, Failures
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.access import is_allowed
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.forms import Form
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.environment.generations import Generations
from littlest_hub.stacks.classroom.environment.place import Place
from littlest_hub.stacks.classroom.logins import names
from littlest_hub.stacks.classroom.logins.authenticators import PasswordLogin
from littlest_hub.stacks.classroom.logins.people import People, Person, Standing
from littlest_hub.stacks.classroom.page import PATH, disk, group, questions, usage, view
from littlest_hub.stacks.classroom.page.decisions import Decisions, Outcome
from littlest_hub.stacks.classroom.page.view import Member, Server

SHOWN = 500
"""The most people on the page."""
_SHOWN_FAILURES = 10
_SCOPES = frozenset({"admin:users", "admin:servers"})
_CHANGES_SERVERS = frozenset({"start", "start_group", "stop", "restart", "lock", "remove"})


class OtherAddress(BaseHandler):  # type: ignore[misc]
    """Redirects to the page."""

    def get(self) -> None:
        self.redirect(f"{self.hub.base_url}{PATH}")


class TeachersPage(Form):
    """Shows administrators the people of the class and their servers, and takes decisions."""

    template = "class.html"

    async def prepare(self) -> None:
        await super().prepare()
        # Rights for one group are not enough, because everybody is on this page.
        if self.current_user and not self.expanded_scopes >= _SCOPES:
            raise HTTPError(403, "Only administrators may see who is in this class.")

    @property
    def failures(self) -> Failures:
        failures: Failures = self.settings.setdefault("class_failures", Failures())
        return failures

    @authenticated
    async def get(self) -> None:
        await self._show(Outcome())

    @authenticated
    async def post(self) -> None:
        decision = self.field("decision")
        if decision.startswith(questions.ASKED):
            await self._ask(decision.removeprefix(questions.ASKED))
            return
        outcome = await Decisions(self).take(decision)
        if decision in _CHANGES_SERVERS:
            self.failures.forget()
        await self._show(outcome)

    async def _ask(self, decision: str) -> None:
        """Answer with a page that asks before a decision; nothing is changed.

        Raises:
            HTTPError: there is no such question.
        """
        name, server = self.field("name"), self.field("server")
        question = questions.about(decision, name, server, self.app.layout.command)
        if question is None or not name:
            raise HTTPError(400, "The form does not say what to do.")
        self.set_header("Cache-Control", "no-store")
        values = {"question": question, "decision": decision, "person": name, "server": server}
        self.finish(await self.render_template("class-question.html", **values))

    async def _show(self, outcome: Outcome) -> None:
        people = await self._people()
        members = view.in_order(await self._members(people))
        units = [server.unit for each in members for server in each.servers if server.unit]
        layout: Layout = self.app.layout
        usages, failures, measured, environment = await asyncio.gather(
            usage.measured(units),
            self.failures.get(),
            asyncio.to_thread(disk.read, layout),
            asyncio.to_thread(_generations, layout),
        )
        await self.show(
            outcome=outcome,
            members=members[:SHOWN],
            more=max(0, len(members) - SHOWN),
            here=sum(each.is_here for each in members),
            waiting=[_request(each) for each in people.get(Standing.WAITING, ())],
            taken=await self._number_of_taken(),
            keeps_passwords=isinstance(self.authenticator, PasswordLogin),
            may_sign_up=getattr(self.authenticator, "may_sign_up", False),
            usages=usages,
            is_counted=not units or any(map(view.load, usages.values())),
            memory=usage.memory(),
            processors=os.cpu_count(),
            groups=group.groups(self, {each.name for each in members if each.is_here}),
            messages=await asyncio.to_thread(group.messages, layout),
            failures=_unsolved(failures),
            disk=measured,
            environment=environment,
            own_name=self.current_user.name,
            view=view,
            command=layout.command,
            address=f"{self.request.protocol}://{self.request.host}",
        )

    async def _people(self) -> dict[Standing, list[Person]]:
        """Return the people in the file by standing; {} if the hub keeps no passwords."""
        if not isinstance(self.authenticator, PasswordLogin):
            return {}
        found: dict[Standing, list[Person]] = await self.authenticator.in_people(
            lambda people: {each: people.all(each) for each in Standing}
        )
        return found

    async def _number_of_taken(self) -> int:
        if not getattr(self.authenticator, "may_sign_up", False):
            return 0
        return int(await self.authenticator.in_people(People.number_of_taken))

    async def _members(self, people: dict[Standing, list[Person]]) -> list[Member]:
        """Return the users of the hub and the people of the file, without those who have left."""
        known = {
            each.name: each
            for standing in (Standing.APPROVED, Standing.LISTED)
            for each in people.get(standing, ())
        }
        users = {each.name: each for each in self.db.query(orm.User)}
        blocked = table.read(self.app.layout).blocked
        members = [
            self._member(each, known.get(each), users.get(each), each in blocked)
            for each in {*known, *users, *blocked, *self._named}
        ]
        # The hub's database also contains users who have left the class, and those of another kind
        # of login.
        present = {*known, *blocked, *self._named, *(each.name for each in members if each.is_here)}
        may_come = await asyncio.gather(*(self._may_come(each.name, present) for each in members))
        return [each for each, may in zip(members, may_come, strict=True) if may]

    async def _may_come(self, name: str, present: Collection[str]) -> bool:
        """Return whether somebody of this name is in the class, or may log in as people do today.

        Args:
            name: the person.
            present: who is in the class, whatever the login says.
        """
        if name in present:
            return True
        if isinstance(self.authenticator, PasswordLogin):
            return False
        if isinstance(self.authenticator, SystemAuthenticator):
            uid = await asyncio.to_thread(names.uid_of, name)
            if uid is None:
                return False
        return await is_allowed(self.authenticator, name) is not False

    @property
    def _named(self) -> set[str]:
        """The names that fragments allow."""
        named: set[str] = self.authenticator.admin_users | self.authenticator.allowed_users
        return named

    def _member(self, name: str, person: Person | None, user: Any, is_locked: bool) -> Member:
        keeps_passwords = isinstance(self.authenticator, PasswordLogin)
        return Member(
            name,
            note=person.note if person else "",
            is_admin=name in self.authenticator.admin_users or bool(user and user.admin),
            is_locked=is_locked,
            has_no_password=keeps_passwords and not (person and person.password),
            has_account_here=person is not None,
            is_removable=person is not None and name not in self._named,
            # JupyterHub also takes it for activity if others start or stop the server.
            last_seen=user.last_activity if user and not (person and person.is_new) else None,
            servers=self._servers(user) if user else (),
        )

    def _servers(self, orm_user: Any) -> Sequence[Server]:
        # JupyterHub's user objects are made only for users with a server.
        if not (orm_user in self.users or any(each.server for each in orm_user._orm_spawners)):
            return ()
        user = self.users[orm_user]
        return [
            Server(
                name,
                {"spawn": "starts", "stop": "stops"}.get(spawner.pending, spawner.pending)
                or "runs",
                f"{user.url}{name}/" if name else user.url,
                f"{spawner.unit_name}.service" if hasattr(spawner, "unit_name") else "",
            )
            for name, spawner in user.spawners.items()
            if spawner.active
        ]


def _request(person: Person) -> dict[str, Any]:
    """Return the request of a person who waits, for the template."""
    return {
        "person": person,
        "since": view.when(person.time),
        "has_account": names.uid_of(person.name) is not None,
    }


def _generations(layout: Layout) -> dict[str, Any]:
    """Return the generations of the environment, latest first, for the template."""
    generations = Generations(Place.of(layout))
    try:
        current = generations.current()
    except LittlestHubError as error:
        current, problem = 0, str(error)
    else:
        problem = ""
    found = [
        {"number": each, "is_current": each == current, "record": generations.record(each)}
        for each in reversed(generations.numbers())
    ]
    return {"problem": problem, "generations": found}


def _unsolved(failures: Sequence[Failure] | None) -> Sequence[Failure] | None:
    """Return the failed starts after which no start has succeeded; None: they are unknown."""
    if failures is None:
        return None
    return [each for each in failures if not each.is_over][:_SHOWN_FAILURES]
