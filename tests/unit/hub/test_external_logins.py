"""Logins at another web site: names, addresses, and who may stay without logging in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
from tornado.web import HTTPError
from traitlets.config import Config

from littlest_hub.hub.access import is_allowed
from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.external_logins import accepted_name, require_https
from littlest_hub.hub.limited_login import limited
from littlest_hub.hub.login_limits import LoginLimits
from tests.capabilities import need_modules

pytestmark = pytest.mark.unit

PROVIDERS = ("GitHubAuthenticator", "GoogleAuthenticator", "OIDCAuthenticator")


def made(name: str, settings: Mapping[str, object]) -> Any:
    need_modules("oauthenticator")
    cls = getattr(import_module("littlest_hub.hub.oauth"), name)
    return cls(config=Config(Authenticator=settings))


@pytest.mark.parametrize("name", ["Alice", "alicE", "\N{KELVIN SIGN}im", "ädele", 7, None, ["a"]])
def test_another_spelling_is_not_another_person(name: object) -> None:
    with pytest.raises(RefusedLoginError, match="another spelling"):
        accepted_name(name, ignores_case=False)


def test_where_case_does_not_matter_a_name_is_in_lower_case() -> None:
    assert accepted_name("Alice", ignores_case=True) == "alice"
    assert accepted_name("alice", ignores_case=False) == "alice"
    with pytest.raises(RefusedLoginError):
        accepted_name("\N{KELVIN SIGN}im", ignores_case=True)


@pytest.mark.parametrize(
    "url",
    ["http://hub.example.org/hub", "http://10.0.0.7:8000/", "http://localhost.example.org/", ""],
)
def test_a_login_without_https_is_refused(url: str) -> None:
    with pytest.raises(RefusedLoginError, match="enable https"):
        require_https(url)


@pytest.mark.parametrize(
    "url", ["https://hub.example.org/", "http://localhost:8000/", "http://[::1]/"]
)
def test_a_login_with_https_or_on_this_machine_goes_on(url: str) -> None:
    require_https(url)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_user_whom_the_fragments_name_no_more_may_not_stay(name: str) -> None:
    authenticator = made(name, {"allowed_users": {"ada"}, "admin_users": {"chief"}})
    assert asyncio.run(is_allowed(authenticator, "ada")) is True
    assert asyncio.run(is_allowed(authenticator, "chief")) is True
    assert asyncio.run(is_allowed(authenticator, "eve")) is False
    everyone = made(name, {"allow_all": True, "blocked_users": {"eve"}})
    assert asyncio.run(is_allowed(everyone, "ada")) is True
    assert asyncio.run(is_allowed(everyone, "eve")) is False


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("GitHubAuthenticator", {"allowed_organizations": {"school"}}),
        ("GoogleAuthenticator", {"allowed_google_groups": {"example.org": {"class"}}}),
        ("OIDCAuthenticator", {"manage_groups": True, "allowed_groups": {"class"}}),
        ("OIDCAuthenticator", {"allowed_scopes": ["class"], "scope": ["class"]}),
    ],
)
def test_only_a_login_tells_who_is_in_a_group(name: str, settings: Mapping[str, object]) -> None:
    assert asyncio.run(is_allowed(made(name, settings), "eve")) is None


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_administrator_whom_the_fragments_name_no_more_is_none(name: str) -> None:
    authenticator = made(name, {"admin_users": {"chief"}})
    assert authenticator.knows_administrators
    assert authenticator.is_admin(None, {"name": "chief"}) is True
    assert authenticator.is_admin(None, {"name": "former"}) is False
    by_group = made(name, {"manage_groups": True})
    assert not by_group.knows_administrators
    assert by_group.is_admin(None, {"name": "former"}) is None


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("GoogleAuthenticator", {"email": "ada@example.org"}),
        ("GoogleAuthenticator", {"email": "ada@example.org", "verified_email": False}),
        ("OIDCAuthenticator", {"email": "ada@example.org", "email_verified": False}),
    ],
)
def test_an_address_that_the_provider_has_not_verified_is_no_name(
    name: str, claims: Mapping[str, object]
) -> None:
    authenticator = made(name, {"allow_all": True, "username_claim": "email"})
    with pytest.raises(RefusedLoginError, match="does not know whether your address is yours"):
        authenticator.user_info_to_username(dict(claims))


def test_a_teacher_s_launch_tells_the_addresses_of_roster_and_gradebook() -> None:
    need_modules("ltiauthenticator")
    services_of = import_module("littlest_hub.hub.lti").services_of
    spec = "https://purl.imsglobal.org/spec"
    members = {"context_memberships_url": "https://x.org/7/members"}
    claims: dict[str, object] = {
        f"{spec}/lti/claim/roles": ["http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"],
        f"{spec}/lti/claim/deployment_id": "3",
        f"{spec}/lti-nrps/claim/namesroleservice": members,
        f"{spec}/lti-ags/claim/endpoint": {"lineitems": "https://x.org/7/items?type=3\x1b[m;id"},
    }
    assert services_of(claims) == (
        "--members-url=https://x.org/7/members '--grades-url=https://x.org/7/items?type=3[m;id'"
        " --deployment-id=3"
    )
    learner = ["http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"]
    assert services_of({**claims, f"{spec}/lti/claim/roles": learner}) == ""
    odd = {f"{spec}/lti-nrps/claim/namesroleservice": 7, f"{spec}/lti-ags/claim/endpoint": []}
    assert services_of({**claims, **odd}) == ""
    assert services_of({}) == ""


class Launch:
    """A launch of a teacher, as the handler of launches sees it."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.log = self
        self.name = "ada"

    def info(self, text: str, *values: object) -> None:
        self.logged.append(text % values)

    def decode_and_validate_launch_request(self) -> dict[str, object]:
        spec = "https://purl.imsglobal.org/spec"
        members = {"context_memberships_url": "https://x.org/7/members"}
        roles = ["http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"]
        return {
            f"{spec}/lti/claim/roles": roles,
            f"{spec}/lti-nrps/claim/namesroleservice": members,
        }

    async def login_user(self, claims: object) -> Launch:
        return self

    async def redirect_to_next_url(self, user: object) -> None:
        self.logged.append("goes on")


def test_the_journal_has_the_addresses_of_a_teacher_s_launch() -> None:
    need_modules("ltiauthenticator")
    launch = Launch()
    asyncio.run(import_module("littlest_hub.hub.lti")._LoginEnd.post(launch))
    line = "ada came from a course of the platform: --members-url=https://x.org/7/members"
    assert launch.logged == [line, "goes on"]


IMPORT = """
import sys
import littlest_hub.hub.app, littlest_hub.hub.config, littlest_hub.hub.secret_files
kinds = ("oauthenticator", "ldapauthenticator", "ldap3", "ltiauthenticator", "tmpauthenticator")
print(sorted({*kinds, "firstuseauthenticator", "jwt"} & sys.modules.keys()))
"""


def test_a_hub_imports_no_kind_of_login_that_no_fragment_names() -> None:
    need_modules("oauthenticator", "ldapauthenticator", "ltiauthenticator", "tmpauthenticator")
    command = [sys.executable, "-c", IMPORT]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


class Request:
    """The request that ends a login."""

    remote_ip = "10.0.0.7"


class Handler:
    """The handler of that request."""

    request = Request()
    name_elsewhere = "eve"


class Elsewhere:
    """An authenticator at which someone has logged in whom no fragment allows."""

    login_service = "GitHub"

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.log = self

    def warning(self, text: str, *values: object) -> None:
        self.logged.append(text % values)

    def normalize_username(self, name: str) -> str:
        return name

    def validate_username(self, name: str) -> bool:
        return True

    async def get_authenticated_user(self, handler: Any, data: Any) -> None:
        return None


def test_a_stranger_is_told_the_name_and_the_journal_the_reason() -> None:
    authenticator = Elsewhere()
    log_in = limited(authenticator, LoginLimits(), lambda request: "10.0.0.7")
    with pytest.raises(HTTPError) as refused:
        asyncio.run(log_in(Handler(), None))  # type: ignore[arg-type]
    assert refused.value.status_code == 403
    assert "You are eve at GitHub, but may not use this hub" in str(refused.value)
    (line,) = authenticator.logged
    assert line == "Login of 'eve' from 10.0.0.7 refused: no fragment lets this user log in"
