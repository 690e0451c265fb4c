"""Actions for the decisions that an administrator takes on the page."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm
from tornado.web import HTTPError

from littlest_hub.errors import with_sudo
from littlest_hub.hub.forms import Form
from littlest_hub.stacks.classroom.accounts import client as accounts
from littlest_hub.stacks.classroom.accounts import hub as hub_accounts
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.client import NoAccountError
from littlest_hub.stacks.classroom.environment import client as environment
from littlest_hub.stacks.classroom.environment.client import NotSwitchedError
from littlest_hub.stacks.classroom.logins import codes, names
from littlest_hub.stacks.classroom.logins.authenticators import PasswordLogin
from littlest_hub.stacks.classroom.logins.people import WAITING, People
from littlest_hub.stacks.classroom.page import group


@dataclass(frozen=True)
class Outcome:
    """The answer of the page to a decision."""

    done: str = ""
    problem: str = ""
    code: str = ""
    """A one-time code, which is shown once."""
    code_of: str = ""


class Decisions:
    """Carries out the decision in the form of a request.

    Args:
        page: the request; an administrator has sent it.
    """

    def __init__(self, page: Form) -> None:
        self._page = page
        self._app: Any = page.app
        self._authenticator: Any = page.authenticator
        self._actor = str(page.current_user.name)

    async def take(self, decision: str) -> Outcome:
        """Carry out a decision.

        Raises:
            HTTPError: the decision is unknown, or concerns nobody in this class.
        """
        decide = self._possible().get(decision)
        if decide is None:
            raise HTTPError(400, "The form does not say what to do.")
        try:
            return await decide()
        except (NoAccountError, NotSwitchedError) as error:
            return Outcome(problem=error.jupyterhub_message)

    def _possible(self) -> dict[str, Callable[[], Awaitable[Outcome]]]:
        found: dict[str, Callable[[], Awaitable[Outcome]]] = {
            "lock": self._lock,
            "unlock": self._unlock,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "switch": self._switch,
            "start_group": self._start_group,
            "tell": self._tell,
            "withdraw": self._withdraw,
        }
        if isinstance(self._authenticator, PasswordLogin):
            found["reset"] = self._reset
            if self._authenticator.may_sign_up:
                found |= {
                    "approve": self._approve,
                    "refuse": self._refuse,
                    "forget": self._forget_taken,
                    "add": self._add,
                    "remove": self._remove,
                }
        return found

    def _log(self, verb: str, what: str) -> None:
        self._page.log.warning("%s %s %s", self._actor, verb, what)

    # --- who is in the class

    async def _approve(self) -> Outcome:
        return await self._decide(People.approve, "may log in now", "approves")

    async def _refuse(self) -> Outcome:
        return await self._decide(People.refuse, "were refused", "refuses")

    async def _decide(self, what: Any, done: str, verb: str) -> Outcome:
        requests = self._page.get_body_arguments("request", strip=False)[:WAITING]
        decided = await self._authenticator.in_people(lambda people: what(people, requests))
        if not decided:
            return Outcome(problem="Nobody was chosen, or somebody else has decided already.")
        self._log(verb, ", ".join(decided))
        return Outcome(f"{', '.join(decided)}: {done}.")

    async def _forget_taken(self) -> Outcome:
        await self._authenticator.in_people(People.forget_taken)
        return Outcome()

    async def _add(self) -> Outcome:
        name = self._authenticator.normalize_username(self._page.field("new_name"))
        if not self._authenticator.validate_username(name) or names.is_of_the_system(name):
            return Outcome(
                problem="A name has lower-case letters without accents, digits, and _ . - only,"
                " such as maria.lopez, and is none of the system."
            )
        if name in table.read(self._app.layout).blocked:
            return Outcome(problem=f"{name} is locked out: unlock {name} instead.")
        person = await self._authenticator.in_people(lambda people: people.get(name))
        if person is not None:
            how = "is in this class already" if person.may_log_in else "waits to be let in"
            return Outcome(problem=f"{name} {how}.")
        return await self._grant(name, "adds")

    async def _reset(self) -> Outcome:
        name = await self._person()
        outcome = await self._grant(name, "resets the password of")
        self._page.end_sessions(name)
        return outcome

    async def _grant(self, name: str, verb: str) -> Outcome:
        code = codes.new()
        await self._authenticator.in_people(lambda people: people.grant(name, codes.digest(code)))
        self._log(verb, name)
        return Outcome(code=code, code_of=name)

    async def _remove(self) -> Outcome:
        name = await self._person()
        if name == self._actor:
            return Outcome(problem="You cannot remove yourself.")
        if name in self._authenticator.admin_users | self._authenticator.allowed_users:
            return Outcome(problem=f"A fragment names {name}: littlest-hub show tells which.")
        # The account comes first: the next person of that name must not find its files.
        await accounts.leave(self._app.layout, name)
        await self._authenticator.in_people(lambda people: people.remove(name))
        await self._app.lock_out(name)
        self._log("removes", name)
        keep = with_sudo(f"{self._app.layout.command} class keep {shlex.quote(name)}")
        return Outcome(
            f"{name} is not in this class any more. Files stay. To undo it: add {name} again, and"
            f" if there are files: {keep}"
        )

    async def _person(self) -> str:
        """Return the name in the form, which is that of a person of this class.

        Raises:
            HTTPError: nobody of this class has the name.
        """
        name, person = self._page.field("name"), None
        if isinstance(self._authenticator, PasswordLogin):
            person = await self._authenticator.in_people(lambda people: people.get(name))
        if person is None or not person.may_log_in:
            raise HTTPError(400, "Nobody of this name is in this class.")
        return name

    # --- who may log in at present

    async def _lock(self) -> Outcome:
        name = await self._name()
        user = self._page.find_user(name)
        if name == self._actor:
            return Outcome(problem="You cannot lock yourself out.")
        if name in self._authenticator.admin_users or (user is not None and user.admin):
            return Outcome(problem=f"{name} administers the hub. Let somebody change that first.")
        await hub_accounts.set_locked(self._app, name, is_locked=True)
        self._log("locks out", name)
        return Outcome(f"{name} cannot log in, and has no session and no server. Files stay.")

    async def _unlock(self) -> Outcome:
        name = await self._name()
        await hub_accounts.set_locked(self._app, name, is_locked=False)
        self._log("unlocks", name)
        return Outcome(f"{name} may log in again.")

    async def _name(self) -> str:
        """Return the name in the form, which is that of somebody on the page.

        It need not be a user of the hub: people become users at their first login.

        Raises:
            HTTPError: nobody has the name.
        """
        name = self._page.field("name")
        named = self._authenticator.admin_users | self._authenticator.allowed_users
        if name in named | table.read(self._app.layout).blocked or self._page.find_user(name):
            return name
        return await self._person()

    # --- servers

    async def _stop(self) -> Outcome:
        problem = await self._end_server()
        return Outcome(problem=problem) if problem else Outcome(f"{self._server_text} has stopped.")

    async def _restart(self) -> Outcome:
        problem = await self._end_server()
        return Outcome(problem=problem) if problem else await self._start()

    async def _start(self) -> Outcome:
        user, server = self._user(), self._page.field("server")
        spawner = user.spawners.get(server)
        if spawner is None or not spawner.active:
            try:
                await self._page.spawn_single_user(user, server)
            except HTTPError as error:
                reason = group.reason_of(error)
                return Outcome(problem=f"{self._server_text} did not start: {reason}")
            self._log("starts the server of", user.name)
        return Outcome(f"{self._server_text} is starting, or runs.")

    async def _end_server(self) -> str:
        """Stop the server that the form names; return why it has not stopped yet, or ""."""
        user, server = self._user(), self._page.field("server")
        if server not in user.spawners or not user.spawners[server].active:
            return ""
        spawner = user.spawners[server]
        if spawner.pending:
            return f"{self._server_text} is busy ({spawner.pending}). Try again in a moment."
        await self._page.stop_single_user(user, server)
        if spawner.pending:
            return f"{self._server_text} takes long to stop. Try again in a moment."
        self._log("stops the server of", user.name)
        return ""

    def _user(self) -> Any:
        """Return the user whose name is in the form.

        Raises:
            HTTPError: the hub has no such user, or the user has no such server.
        """
        user = self._page.find_user(self._page.field("name"))
        if user is None or self._page.field("server") not in ("", *user.orm_spawners):
            raise HTTPError(400, "The hub has no such server.")
        return user

    @property
    def _server_text(self) -> str:
        name, server = self._page.field("name"), self._page.field("server")
        return f"The server {server} of {name}" if server else f"The server of {name}"

    # --- groups

    async def _start_group(self) -> Outcome:
        found = self._group()
        blocked = table.read(self._app.layout).blocked
        number = await group.start(self._page, found, blocked)
        self._log("starts servers of the group", found.name)
        if not number:
            return Outcome(f"All members of {found.name} who may log in have a server.")
        start = "1 server starts" if number == 1 else f"{number} servers start, a few at a time"
        return Outcome(f"{found.name}: {start}. Look again to see how many are there.")

    async def _tell(self) -> Outcome:
        found, text = self._group(), " ".join(self._page.field("message").split())
        if not text or len(text) > group.LONGEST or not text.isprintable():
            return Outcome(problem=f"A message has 1 to {group.LONGEST} characters.")
        message = group.Message(found.name, text, self._actor, int(time.time()))
        await asyncio.to_thread(group.tell, self._app.layout, message)
        self._log("writes to the group", found.name)
        return Outcome(
            f"Members of {found.name} see the message: within 5 minutes in JupyterLab, and on"
            " the hub's home page, for 12 hours."
        )

    async def _withdraw(self) -> Outcome:
        name = self._page.field("group")
        number = await asyncio.to_thread(group.withdraw, self._app.layout, name)
        self._log("withdraws messages to the group", name)
        return Outcome(f"Messages to {name}: {number} withdrawn.")

    def _group(self) -> orm.Group:
        """Return the group in the form.

        Raises:
            HTTPError: the hub has no such group.
        """
        found = orm.Group.find(self._page.db, self._page.field("group"))
        if found is None:
            raise HTTPError(400, "The hub has no such group.")
        return found

    # --- the environment

    async def _switch(self) -> Outcome:
        before, now = await environment.switch(self._app.layout, self._page.field("generation"))
        self._log("switches the environment to generation", str(now))
        return Outcome(
            f"The environment is generation {now}; it was {before}. Kernels have it when they are"
            " started: those that run keep what they have."
        )
