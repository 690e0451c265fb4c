"""Logins with passwords that the hub keeps: chosen at the first login, or when signing up."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jupyterhub.auth import Authenticator
from traitlets import Bool, Integer, Unicode, default

from littlest_hub import installation
from littlest_hub.hub.access import is_allowed
from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.login_limits import network
from littlest_hub.stacks.classroom.logins import names, passwords
from littlest_hub.stacks.classroom.logins.people import People, Person, Standing, file_of

T = TypeVar("T")


class PasswordLogin(Authenticator):  # type: ignore[misc]
    """An authenticator that keeps passwords itself."""

    min_password_length = Integer(
        8, min=8, help="How many characters a new password has at least."
    ).tag(config=True)

    file = Unicode(help="The file with the people; below the stack's directory.")

    may_sign_up = False
    """Whether people can sign up on a page of the hub."""
    is_chosen_at_login = False
    """Whether people choose their passwords at their first login."""
    knows_administrators = True
    """Whether fragments alone name the administrators (`littlest_hub.hub.access`)."""

    @default("file")
    def _file_of_the_stack(self) -> str:
        return str(file_of(installation.of_this_release()))

    @property
    def people(self) -> People:
        return People(Path(self.file))

    async def in_people(self, use: Callable[[People], T]) -> T:
        """Return the result of a function of the file; it runs in a thread.

        Raises:
            RefusedLoginError: the file cannot be used; the journal says why.
        """
        try:
            return await asyncio.to_thread(use, self.people)
        except (sqlite3.Error, OSError) as error:
            self.log.error("%s cannot be used: %s; see: littlest-hub doctor", self.file, error)
            raise RefusedLoginError(
                "The hub cannot use its file of people. Its administrator finds the reason with:"
                " littlest-hub doctor",
                503,
            ) from None

    def normalize_username(self, username: str) -> str:
        # Another spelling of a name is not another person.
        return str(super().normalize_username(names.canonical(username)))

    def validate_username(self, username: str) -> bool:
        return names.is_name(username) and bool(super().validate_username(username))

    async def authenticate(self, handler: Any, data: Mapping[str, Any]) -> str | None:
        name, password = self.normalize_username(data["username"]), str(data["password"])
        if too_long := passwords.length_problem(password):
            raise RefusedLoginError(too_long)
        person = None
        if self.validate_username(name):
            person = await self.in_people(lambda people: people.get(name))
        stored = person.password if person else None
        is_right = await asyncio.to_thread(passwords.is_right, password, stored)
        return await self.outcome(name, password, person, is_right=is_right)

    async def outcome(
        self, name: str, password: str, person: Person | None, *, is_right: bool
    ) -> str | None:
        """Return the name of the person who has logged in; None: the login failed.

        Args:
            name: the canonical name.
            password: as typed.
            person: the person of this name; None: the file has none.
            is_right: whether the password is that of the person.

        Raises:
            RefusedLoginError: the login failed, and the person may know why.
        """
        return name if person and person.may_log_in and is_right else None

    async def delete_user(self, user: Any) -> None:
        """Delete a user with the password, which a later user of this name must not have."""
        super().delete_user(user)
        await self.in_people(lambda people: people.remove(user.name))

    async def is_taken(self, name: str) -> bool:
        """Return whether nobody may sign up with a name, apart from names in the file."""
        if name in self.admin_users or name in self.blocked_users:
            return True
        return await asyncio.to_thread(names.is_of_the_system, name)

    def source_of(self, request: Any) -> str:
        """Return the network that a request comes from."""
        return network(str(request.remote_ip))

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        from littlest_hub.stacks.classroom.logins import pages

        return [*pages.HANDLERS, *(pages.SIGN_UP if self.may_sign_up else ())]


class FirstUse(PasswordLogin):
    """Lets in people whom the fragments allow; each chooses a password at the first login.

    Administrators choose a password with a one-time code, because a stranger may be faster.
    """

    is_chosen_at_login = True

    async def outcome(
        self, name: str, password: str, person: Person | None, *, is_right: bool
    ) -> str | None:
        if person and person.may_log_in:
            return name if is_right else None
        # Checked before anything is stored; after the login, JupyterHub checks it again.
        if not self.validate_username(name) or name in self.admin_users:
            return None
        if await is_allowed(self, name) is not True:
            return None
        if problem := passwords.problem(password, name, self.min_password_length):
            raise RefusedLoginError(f"You choose your password now. {problem}")
        hashed = await asyncio.to_thread(passwords.hashed, password)
        is_chosen = await self.in_people(lambda people: people.choose_first_password(name, hashed))
        if not is_chosen:
            return None  # somebody else was faster
        self.log.warning("%s has logged in for the first time, and chosen a password", name)
        return name


class SignUp(PasswordLogin):
    """Lets in those who sign up, once an administrator has approved them."""

    may_sign_up = True
    any_allow_config = Bool(True, help="People are let in on a page of the hub.").tag(config=True)

    async def outcome(
        self, name: str, password: str, person: Person | None, *, is_right: bool
    ) -> str | None:
        if person and is_right and not person.may_log_in:
            raise RefusedLoginError("Your request has not been approved yet. Ask your teacher.")
        return await super().outcome(name, password, person, is_right=is_right)

    async def check_allowed(self, username: str, authentication: Any = None) -> bool:
        if super().check_allowed(username, authentication):
            return True
        person = await self.in_people(lambda people: people.get(username))
        return person is not None and person.standing is Standing.APPROVED
