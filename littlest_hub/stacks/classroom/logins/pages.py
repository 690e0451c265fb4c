"""Pages of the hub on which people sign up and choose passwords."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from jupyterhub.handlers.login import LoginHandler
from tornado.web import HTTPError, authenticated

from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.forms import Form
from littlest_hub.stacks.classroom.logins import codes, names, passwords
from littlest_hub.stacks.classroom.logins.people import NOTE_LENGTH, Answer
from littlest_hub.stacks.classroom.logins.turns import BusyError, Turns

_BUSY = "Too many people do this at this moment. Try again in a minute."
_FULL = "So many requests wait that no more are taken. Ask your teacher to look at them."


class LoginPage(LoginHandler):  # type: ignore[misc]
    """JupyterHub's login page, with links to the pages of this module."""

    def render_template(self, name: str, **values: Any) -> Any:
        if name == "login.html":
            return super().render_template(
                "class-login.html",
                may_sign_up=self.authenticator.may_sign_up,
                is_chosen_at_login=self.authenticator.is_chosen_at_login,
                shortest=self.authenticator.min_password_length,
                is_saved=self.get_query_argument("saved", "") == "1",
                **values,
            )
        return super().render_template(name, **values)


class _PasswordForm(Form):
    """A form with a new password."""

    async def show(self, *, status: int = 200, **values: Any) -> None:
        await super().show(status=status, shortest=self.authenticator.min_password_length, **values)

    @property
    def turns(self) -> Turns:
        turns: Turns = self.settings.setdefault("class_turns", Turns())
        return turns

    def problems_of_new_password(self, name: str) -> dict[str, str]:
        """Return problems of a new password that was typed twice, by field."""
        password, shortest = self.field("new_password"), self.authenticator.min_password_length
        if problem := passwords.problem(password, name, shortest):
            return {"new_password": problem}
        if password != self.field("repeated_password"):
            return {"repeated_password": "The two are not the same."}
        return {}

    async def hashed(self, password: str) -> str:
        """Return the hash of a password.

        Raises:
            HTTPError: too many passwords wait to be hashed.
        """
        try:
            return await self.turns.hashed(password)
        except BusyError:
            raise HTTPError(429, _BUSY) from None


class SignUpPage(_PasswordForm):
    """The page on which people sign up. The answer never says whether a name is taken."""

    template = "class-signup.html"

    async def get(self) -> None:
        await self.show(note_length=NOTE_LENGTH)

    async def post(self) -> None:
        name = self.authenticator.normalize_username(self.field("username"))
        note = " ".join("".join(filter(str.isprintable, self.field("note"))).split())
        problems = self._problems(name, note) | self.problems_of_new_password(name)
        typed = {"username": self.field("username")[: names.LONGEST], "note": note[:NOTE_LENGTH]}
        if problems:
            await self.show(status=400, problems=problems, typed=typed, note_length=NOTE_LENGTH)
            return
        if await self._note(name, note) is Answer.FULL:
            await self.show(status=429, problems={"": _FULL}, typed=typed, note_length=NOTE_LENGTH)
            return
        await self.show(is_noted=True, typed={"username": name})

    def _problems(self, name: str, note: str) -> dict[str, str]:
        found = {}
        if not self.authenticator.validate_username(name):
            found["username"] = (
                "A name has lower-case letters without accents, digits, and _ . - only, and begins"
                " with a letter or digit, such as: maria.lopez"
            )
        if len(note) > NOTE_LENGTH:
            found["note"] = f"At most {NOTE_LENGTH} characters."
        return found

    async def _note(self, name: str, note: str) -> Answer:
        source = self.authenticator.source_of(self.request)
        try:
            self.turns.count(source)
        except BusyError:
            raise HTTPError(429, _BUSY) from None
        if await self.authenticator.in_people(lambda people: people.is_full(source)):
            return Answer.FULL
        user = self.find_user(name)
        is_taken = (user is not None and user.admin) or await self.authenticator.is_taken(name)
        hashed = await self.hashed(self.field("new_password"))
        answer: Answer = await self.authenticator.in_people(
            lambda people: people.sign_up(name, hashed, note, source, is_taken=is_taken)
        )
        self.log.info("Somebody from %s asks to be let in as %s", source, name)
        return answer


class PasswordPage(_PasswordForm):
    """The page on which a person who is logged in changes the password."""

    template = "class-password.html"

    @authenticated
    async def get(self) -> None:
        await self.show()

    @authenticated
    async def post(self) -> None:
        name = self.current_user.name
        problems = self.problems_of_new_password(name)
        if not problems:
            problems = await self._problems_of_present_password(name)
        if problems:
            await self.show(status=400, problems=problems)
            return
        hashed = await self.hashed(self.field("new_password"))
        await self.authenticator.in_people(lambda people: people.set_password(name, hashed))
        self.log.warning("%s has changed the password", name)
        # This ends all sessions that began with the former password.
        self.end_sessions(name)
        self.set_login_cookie(self.current_user)
        await self.show(is_changed=True)

    async def _problems_of_present_password(self, name: str) -> dict[str, str]:
        login = {"username": name, "password": self.field("present_password")}
        try:
            # The limits of logins count wrong passwords here, too.
            if await self.authenticator.get_authenticated_user(self, login):
                return {}
        except RefusedLoginError as error:
            if error.status_code != 403:
                return {"present_password": error.jupyterhub_message}
        return {"present_password": "This is not your password."}


class CodePage(_PasswordForm):
    """The page on which a person chooses a password with a one-time code."""

    template = "class-code.html"

    async def get(self) -> None:
        await self.show(typed={"username": self.get_query_argument("username", "")[:63]})

    async def post(self) -> None:
        name = self.authenticator.normalize_username(self.field("username"))
        digest = codes.digest(self.field("code"))
        problems = self.problems_of_new_password(name)
        if not problems:
            is_right = await self.authenticator.in_people(
                lambda people: people.has_code(name, digest)
            )
            if is_right:
                hashed = await self.hashed(self.field("new_password"))
                is_right = await self.authenticator.in_people(
                    lambda people: people.use_code(name, digest, hashed)
                )
            if not is_right:
                problems = {
                    "code": "This is no code for this name. It may have been used, or be older than"
                    " a week. Ask for another one."
                }
        if problems:
            typed = {"username": self.field("username")[: names.LONGEST]}
            await self.show(status=400, problems=problems, typed=typed)
            return
        self.log.warning("%s has chosen a password with a one-time code", name)
        self.end_sessions(name)
        query = urlencode({"username": name, "saved": 1})
        self.redirect(f"{self.hub.base_url}login?{query}", status=303)


HANDLERS: tuple[tuple[str, type], ...] = (
    ("/login", LoginPage),
    ("/change-password", PasswordPage),
    ("/one-time-code", CodePage),
)
SIGN_UP: tuple[tuple[str, type], ...] = (("/signup", SignUpPage),)
