"""Logins from a learning platform (LTI 1.3): ltiauthenticator's class, made safe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from shlex import quote
from typing import Any

from ltiauthenticator.lti13.auth import LTI13Authenticator
from ltiauthenticator.lti13.constants import LTI13_CUSTOM_CLAIM
from ltiauthenticator.lti13.error import InvalidAudienceError, LoginError, ValidationError
from ltiauthenticator.lti13.handlers import LTI13CallbackHandler, LTI13LoginInitHandler
from tornado.web import HTTPError
from traitlets import Bool

from littlest_hub.hub.external_logins import ExternalLogin, accepted_name, require_https

_CLAIM = "https://purl.imsglobal.org/spec/"


class _LoginBegin(LTI13LoginInitHandler):  # type: ignore[misc]
    def _set_oauth_cookie(self, key: str, value: str) -> None:
        # The platform's form comes back from another site, for which browsers send other cookies
        # never, or only for two minutes. SameSite=None needs HTTPS.
        is_https = self.authenticator.get_uri_scheme(self.request) == "https"
        options = {"samesite": "None", "secure": True} if is_https else {}
        self._set_cookie(key, value, expires_days=1, encrypted=True, **options)


class _LoginEnd(LTI13CallbackHandler):  # type: ignore[misc]
    async def post(self) -> None:
        try:
            # It fetches the platform's keys; upstream lets nobody else run meanwhile.
            claims = await asyncio.to_thread(self.decode_and_validate_launch_request)
            user = await self.login_user(claims)
        except InvalidAudienceError as error:
            raise HTTPError(401, str(error)) from None
        except (ValidationError, LoginError) as error:
            raise HTTPError(400, str(error)) from None
        if user is None:
            raise HTTPError(403, "you may not use this hub")
        if said := services_of(claims):
            self.log.info("%s came from a course of the platform: %s", user.name, said)
        await self.redirect_to_next_url(user)


def services_of(claims: Mapping[str, Any]) -> str:
    """Return the addresses that a platform tells a teacher's launch, for the journal; "": none.

    They are options of `littlest-hub course lti connect`, and give nobody access by themselves.
    """
    roles = claims.get(f"{_CLAIM}lti/claim/roles")
    if not isinstance(roles, list) or not any("#Instructor" in str(each) for each in roles):
        return ""
    members = _of(claims, "lti-nrps/claim/namesroleservice").get("context_memberships_url")
    grades = _of(claims, "lti-ags/claim/endpoint").get("lineitems")
    options = {
        "members-url": members,
        "grades-url": grades,
        "deployment-id": claims.get(f"{_CLAIM}lti/claim/deployment_id"),
    }
    if not (members or grades):
        return ""
    # As a shell reads them again, and without characters that terminals obey.
    words = (f"--{key}={value}" for key, value in options.items() if isinstance(value, str))
    return " ".join(quote("".join(filter(str.isprintable, each))[:2000]) for each in words)


def _of(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = claims.get(f"{_CLAIM}{name}")
    return found if isinstance(found, Mapping) else {}


class LearningPlatformAuthenticator(ExternalLogin, LTI13Authenticator):  # type: ignore[misc]
    """Users whom a learning platform sends. Its settings are upstream's (`c.LTI13Authenticator`).

    Different here: a login needs HTTPS, no two people share a name, and the hub serves others while
    it fetches the platform's keys.
    """

    login_handler = _LoginBegin
    callback_handler = _LoginEnd

    ignores_case = Bool(
        False,
        help='The platform takes "Alice" and "alice" for the same person; both are alice here.',
    ).tag(config=True)

    def get_username(self, token: dict[str, Any]) -> str:
        key = self.username_key
        is_custom = key.startswith("custom_")
        claims = token.get(LTI13_CUSTOM_CLAIM) or {} if is_custom else token
        name = claims.get(key.removeprefix("custom_") if is_custom else key)
        if not name:
            # Upstream would take another claim, whose values may be other people's names.
            raise LoginError(f"the learning platform does not say who you are ({key})")
        ignores_case = self.ignores_case or key == "email"
        return accepted_name(name, ignores_case=ignores_case)

    def get_uri_scheme(self, request: Any) -> str:
        scheme: str = super().get_uri_scheme(request)
        if self.uri_scheme == "auto":
            require_https(f"{scheme}://{request.host}")
        return scheme
