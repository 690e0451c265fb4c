"""Pages of the hub on which people sign up, are let in, and choose passwords."""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LoginHandler
from tornado.web import HTTPError, authenticated

from littlest_hub.hub import cross_site
from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.cross_site import Site
from littlest_hub.stacks.classroom.accounts import client as accounts
from littlest_hub.stacks.classroom.logins import codes, names, passwords
from littlest_hub.stacks.classroom.logins.people import (
    NOTE_LENGTH,
    WAITING,
    Answer,
    People,
    Person,
    Standing,
)
from littlest_hub.stacks.classroom.logins.turns import BusyError, Turns

_BUSY = "Too many people do this at this moment. Try again in a minute."
_FULL = "So many requests wait that no more are taken. Ask your teacher to look at them."


class LoginPage(LoginHandler):  # type: ignore[misc]
    """JupyterHub's login page, with links to the pages here."""

    def render_template(self, name: str, **values: Any) -> Any:
        if name == "login.html":
            return super().render_template(
                "class-login.html", may_sign_up=self.authenticator.may_sign_up, **values
            )
        return super().render_template(name, **values)


class _Form(BaseHandler):  # type: ignore[misc]
    """A page with a form. A request that another site has caused changes nothing."""

    template = ""

    async def prepare(self) -> None:
        await super().prepare()
        # Beside the XSRF token: that of a browser without cookies can be guessed.
        if self.request.method == "POST" and cross_site.site(self) is Site.OTHER:
            raise HTTPError(403, "Another site has sent this form. Nothing was changed.")

    def check_xsrf_cookie(self) -> None:
        try:
            super().check_xsrf_cookie()
        except HTTPError as error:
            self.log.warning("%s", error)
            text = "Nothing was changed: this form is too old, or not of this page. Load it again."
            raise HTTPError(error.status_code, text) from None

    @property
    def turns(self) -> Turns:
        turns: Turns = self.settings.setdefault("class_turns", Turns())
        return turns

    def field(self, name: str) -> str:
        """Return what was typed into a field; "" if it was left out."""
        is_secret = name.endswith("password")
        return str(self.get_body_argument(name, "", strip=not is_secret))

    async def show(self, *, status: int = 200, **values: Any) -> None:
        """Answer with the page.

        Args:
            status: of HTTP.
            values: of the template. `problems` are texts by field; "" is of the whole form.
        """
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        html = await self.render_template(
            self.template,
            **{"problems": {}, "typed": {}, **values},
            shortest=self.authenticator.min_password_length,
        )
        self.finish(html)

    def problems_of_new_password(self, name: str) -> dict[str, str]:
        """Return what is wrong with a password that was typed twice, by field."""
        password, shortest = self.field("new_password"), self.authenticator.min_password_length
        if problem := passwords.problem(password, name, shortest):
            return {"new_password": problem}
        if password != self.field("repeated_password"):
            return {"repeated_password": "The two are not the same."}
        return {}

    async def hashed(self, password: str) -> str:
        """Return what is stored of a password.

        Raises:
            HTTPError: too many wait for that.
        """
        try:
            return await self.turns.hashed(password)
        except BusyError:
            raise HTTPError(429, _BUSY) from None

    def end_sessions(self, name: str) -> None:
        """Log a user out in all browsers."""
        if user := self.find_user(name):
            self.app.end_sessions(user.orm_user)
            self.db.commit()


class SignUpPage(_Form):
    """Somebody asks to be let in. The answer never says whether a name is taken."""

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


class PeoplePage(_Form):
    """The page of administrators with those who wait to be let in, and those who are."""

    template = "class-people.html"

    async def prepare(self) -> None:
        await super().prepare()
        # Not one that is limited to a group: everybody is on this page.
        if self.current_user and "admin:users" not in self.expanded_scopes:
            raise HTTPError(403, "Only administrators may see who is in this class.")

    @authenticated
    async def get(self) -> None:
        await self._show()

    @authenticated
    async def post(self) -> None:
        decide = {
            "approve": self._approve,
            "refuse": self._refuse,
            "reset": self._reset,
            "remove": self._remove,
            "forget": self._forget_taken,
        }.get(self.field("decision"))
        if decide is None:
            raise HTTPError(400, "The form does not say what to do.")
        await self._show(**await decide())

    async def _approve(self) -> Mapping[str, str]:
        return await self._decide(People.approve, "may log in now", "approves")

    async def _refuse(self) -> Mapping[str, str]:
        return await self._decide(People.refuse, "were refused", "refuses")

    async def _decide(self, what: Any, done: str, verb: str) -> Mapping[str, str]:
        requests = self.get_body_arguments("request", strip=False)[:WAITING]
        decided = await self.authenticator.in_people(lambda people: what(people, requests))
        if not decided:
            return {"problem": "Nobody was chosen, or somebody else has decided already."}
        self.log.warning("%s %s: %s", self.current_user.name, verb, ", ".join(decided))
        return {"done": f"{', '.join(decided)}: {done}."}

    async def _reset(self) -> Mapping[str, str]:
        name, code = await self._chosen(), codes.new()
        await self.authenticator.in_people(lambda people: people.grant(name, codes.digest(code)))
        self.end_sessions(name)
        self.log.warning("%s resets the password of %s", self.current_user.name, name)
        return {"code": code, "code_of": name}

    async def _remove(self) -> Mapping[str, str]:
        name = await self._chosen()
        if name == self.current_user.name:
            return {"problem": "You cannot remove yourself."}
        if name in self.authenticator.admin_users | self.authenticator.allowed_users:
            return {"problem": f"A fragment names {name}: littlest-hub show tells which."}
        # First: the next person of that name must not find these files.
        await accounts.leave(self.app.layout, name)
        await self.authenticator.in_people(lambda people: people.remove(name))
        await self.app.lock_out(name)
        self.log.warning("%s removes %s", self.current_user.name, name)
        return {"done": f"{name} is not in this class any more. Files stay."}

    async def _forget_taken(self) -> Mapping[str, str]:
        await self.authenticator.in_people(People.forget_taken)
        return {}

    async def _chosen(self) -> str:
        """Return the name of the person whom the form names.

        Raises:
            HTTPError: nobody of this class has it.
        """
        name = self.field("name")
        person: Person | None = await self.authenticator.in_people(lambda people: people.get(name))
        if person is None or not person.may_log_in:
            raise HTTPError(400, "Nobody of this name is in this class.")
        return name

    async def _show(self, **values: Any) -> None:
        def read(people: People) -> dict[str, Any]:
            in_class = [*people.all(Standing.APPROVED), *people.all(Standing.LISTED)]
            waiting = [
                {
                    "person": each,
                    "since": datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%d %H:%M UTC"),
                    "has_account": names.uid_of(each.name) is not None,
                }
                for each in people.all(Standing.WAITING)
            ]
            return {
                "waiting": waiting,
                "in_class": sorted(in_class, key=lambda each: each.name),
                "taken": people.number_of_taken(),
            }

        found = await self.authenticator.in_people(read)
        named = self.authenticator.admin_users | self.authenticator.allowed_users
        await self.show(**found, named=named, may_sign_up=self.authenticator.may_sign_up, **values)


class PasswordPage(_Form):
    """A person who is logged in changes their password."""

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


class CodePage(_Form):
    """Somebody chooses a password with a one-time code."""

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
        self.redirect(f"{self.hub.base_url}login?{urlencode({'username': name})}", status=303)


HANDLERS: tuple[tuple[str, type], ...] = (
    ("/login", LoginPage),
    ("/change-password", PasswordPage),
    ("/one-time-code", CodePage),
    ("/people", PeoplePage),
)
SIGN_UP: tuple[tuple[str, type], ...] = (("/signup", SignUpPage),)
