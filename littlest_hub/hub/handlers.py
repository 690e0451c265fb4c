"""JupyterHub's request handlers, protected against other sites and against undeclared options.

`patches` puts each function here around the method of JupyterHub that its docstring names, so that
subclasses of authenticators are protected too.
"""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.handlers.base import BaseHandler, UserUrlHandler
from jupyterhub.handlers.login import LoginHandler, LogoutHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import needs_scope
from tornado.web import HTTPError

from littlest_hub.hub import cross_site
from littlest_hub.hub.cross_site import Site
from littlest_hub.hub.spawn_options import FormOptions

Method = Callable[..., Any]


# --- starting a server


def spawn_page(upstream: Method) -> Method:
    """Wrap `SpawnHandler._get`: show a button to other sites, and drop undeclared options."""

    @needs_scope("servers")
    async def show_button(
        self: Any, user_name: str, server_name: str = "", display_name: str = ""
    ) -> None:
        user = self.find_user(user_name)
        cross_site.set_site_cookie(self)
        html = await self.render_template(
            "not_running.html",
            user=user,
            auth_state=await user.get_auth_state(),
            server_name=server_name,
            spawn_url=cross_site.without_options(self.request.uri, self.hub.base_url),
        )
        self.finish(html)

    @wraps(upstream)
    async def get(self: Any, user_name: str, server_name: str, display_name: str) -> None:
        shown = {
            "user_name": user_name,
            "server_name": server_name,
            "display_name": display_name,
        }
        user = self.find_user(user_name)
        if user and not cross_site.is_own(self) and not _is_active(user, server_name):
            await show_button(self, **shown)
            return
        self.request.query_arguments = _declared_arguments(self)
        await upstream(self, **shown)

    return get


def _declared_arguments(self: Any) -> dict[str, list[bytes]]:
    """Return the arguments of a request without undeclared options.

    Raises:
        HTTPError: the value of an option does not have its declared type.
    """
    policy = self.settings["request_policy"]
    found = {}
    for name, values in self.request.query_arguments.items():
        option = name.removeprefix("opt-")
        if option in policy.user_options:
            policy.accepted({option: [value.decode() for value in values]})
            found[f"opt-{option}"] = values
        elif name in ("next", "display_name"):
            found[name] = values
    return found


def _is_active(user: Any, server_name: str) -> bool:
    return server_name in user.orm_spawners and user.spawners[server_name].active


def form_options(upstream: Method) -> Method:
    """Wrap `SpawnHandler._wrap_spawn_single_user`: mark what a fragment's form has led to."""

    @wraps(upstream)
    async def wrap_spawn(self: Any, *arguments: Any) -> Any:
        # user, server_name, display_name, spawner, pending_url, options
        spawner, options = arguments[3], (*arguments, None)[5]
        is_form = self.request.method == "POST" and isinstance(options, dict)
        if is_form and await spawner.get_options_form():
            arguments = (*arguments[:5], FormOptions(options))
        return await upstream(self, *arguments)

    return wrap_spawn


def spawn(upstream: Method) -> Method:
    """Wrap `BaseHandler.spawn_single_user`: only accepted options, new or stored ones."""

    @wraps(upstream)
    async def spawn_single_user(
        self: Any,
        user: Any,
        server_name: str = "",
        display_name: str = "",
        options: dict[str, Any] | None = None,
    ) -> Any:
        policy = self.settings["request_policy"]
        if options is None:
            row = user.orm_spawners.get(server_name)
            accepted = policy.still_accepted((row.user_options if row else None) or {})
        else:
            accepted = policy.accepted(options)
        return await upstream(self, user, server_name, display_name, accepted)

    return spawn_single_user


def page_of_a_stopped_server(upstream: Method) -> Method:
    """Wrap `UserUrlHandler.render_template`: it may contain a script that starts the server."""

    @wraps(upstream)
    def render_template(self: Any, name: str, *args: Any, **values: Any) -> Any:
        if not cross_site.is_own(self):
            values.pop("implicit_spawn_seconds", None)
        return upstream(self, name, *args, **values)

    return render_template


# --- logging in and out


def logout_page(upstream: Method) -> Method:
    """Wrap `LogoutHandler.get`: show a button to other sites."""

    @wraps(upstream)
    async def get(self: Any) -> None:
        if cross_site.is_own(self):
            await upstream(self)
            return
        cross_site.set_site_cookie(self)
        self.finish(await self.render_template("confirm_logout.html"))

    return get


def login_form(upstream: Method) -> Method:
    """Wrap `LoginHandler.post`.

    The token of a browser without cookies is predictable for those who share its address.
    """

    @wraps(upstream)
    async def post(self: Any) -> None:
        if cross_site.site(self) is Site.OTHER:
            raise HTTPError(403, cross_site.refusal(self.request.headers, self.request.host))
        await upstream(self)

    return post


def login(upstream: Callable[..., Awaitable[Any]]) -> Method:
    """Wrap `BaseHandler.login_user`: let `redirect` know that the browser has just logged in."""

    @wraps(upstream)
    async def login_user(self: Any, data: Any = None) -> Any:
        user = await upstream(self, data)
        self.has_logged_in = user is not None
        return user

    return login_user


def login_cookie(upstream: Method) -> Method:
    """Wrap `BaseHandler.set_login_cookie`: another site cannot exchange the account."""

    @wraps(upstream)
    def set_login_cookie(self: Any, user: Any) -> None:
        if self.request.method == "POST" and cross_site.site(self) is Site.OTHER:
            # Browsers send no cookies with it: `redirect` goes on to `login_page`, which sees them.
            self.ticket_for = user.name
            return
        if not (cross_site.is_own(self) or cross_site.has_begun_login(self)):
            _refuse_exchange(self, user)
        upstream(self, user)
        cross_site.set_site_cookie(self)

    return set_login_cookie


def login_page(upstream: Method) -> Method:
    """Wrap `LoginHandler.get`: it also completes a login that another site's form began."""

    @wraps(upstream)
    async def get(self: Any) -> None:
        name = cross_site.name_on_ticket(self)
        user = self.find_user(name) if name else None
        if user is None:
            await upstream(self)
            return
        _refuse_exchange(self, user)
        self.set_login_cookie(user)
        self.redirect(self.get_next_url(user))

    return get


def _refuse_exchange(self: Any, user: Any) -> None:
    current = self.get_current_user_cookie()
    if current is not None and current.name != user.name:
        raise HTTPError(
            403,
            f"Another site asks to log you in as {user.name}, but you are logged in as"
            f" {current.name}. Log out first, then try again.",
        )


# --- going on to another page


def redirect(upstream: Method) -> Method:
    """Wrap `BaseHandler.redirect`: drop options of other sites, and mark logins that begin here."""

    @wraps(upstream)
    def redirect(self: Any, url: str, *args: Any, **options: Any) -> None:
        url = cross_site.accepted_address(self, url)
        if url.startswith(f"{self.settings['login_url']}?"):
            cross_site.remember_options(self)
        # A POST is the launch of a learning platform: the authenticator has verified its signature.
        # Every browser says which site has sent a POST; a program that is none does not.
        ticket_for = getattr(self, "ticket_for", None)
        has_logged_in = getattr(self, "has_logged_in", False)
        is_back = cross_site.has_begun_login(self) and not cross_site.is_own(self)
        if _is_elsewhere(self, url):
            cross_site.login_begins(self)
        elif ticket_for is not None or (has_logged_in and is_back):
            cross_site.continue_here(self, url, ticket_for=ticket_for)
            return
        upstream(self, url, *args, **options)

    return redirect


def _is_elsewhere(self: Any, url: str) -> bool:
    host = urlsplit(url).netloc.lower()
    is_subdomain = self.subdomain_host and f".{host}".endswith(f".{self.domain}")
    return host not in {"", *cross_site.hosts(self)} and not is_subdomain


def next_url(upstream: Method) -> Method:
    """Wrap `BaseHandler._validate_next_url`: pages link to it, so drop options of other sites."""

    @wraps(upstream)
    def validate(self: Any, url: str) -> str:
        return cross_site.accepted_address(self, upstream(self, url))

    return validate


WRAPPERS: tuple[tuple[type, str, Callable[[Method], Method]], ...] = (
    (SpawnHandler, "_get", spawn_page),
    (SpawnHandler, "_wrap_spawn_single_user", form_options),
    (BaseHandler, "spawn_single_user", spawn),
    (UserUrlHandler, "render_template", page_of_a_stopped_server),
    (LogoutHandler, "get", logout_page),
    (LoginHandler, "get", login_page),
    (LoginHandler, "post", login_form),
    (BaseHandler, "login_user", login),
    (BaseHandler, "set_login_cookie", login_cookie),
    (BaseHandler, "redirect", redirect),
    (BaseHandler, "_validate_next_url", next_url),
)
"""Class, method, and the function that wraps it."""
