"""Logins at GitHub, at Google, and at any OpenID Connect provider: oauthenticator's classes.

Their settings are upstream's. Different here: a login needs HTTPS, no two people share a name, a
provider that fails is named in one sentence, and a user whom the fragments name no more is out at
the next reload.
"""

from __future__ import annotations

from typing import Any

from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.github import GitHubOAuthenticator
from oauthenticator.google import GoogleOAuthenticator
from oauthenticator.oauth2 import OAuthenticator
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError
from traitlets import Bool

from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.hub.external_logins import ExternalLogin, accepted_name, require_https


class _Provider(ExternalLogin, OAuthenticator):  # type: ignore[misc]
    ignores_case = True
    """Whether the provider takes "Alice" and "alice" for the same person."""

    @property
    def knows_administrators(self) -> bool:
        return not self.manage_groups

    def _requires_manage_groups(self, change: Any) -> None:
        """Replace upstream's observer, which refuses settings of groups that are set one by one.

        Without `manage_groups`, they let no one in.
        """

    async def authenticate(self, handler: Any, data: Any = None, **options: Any) -> Any:
        try:
            return await super().authenticate(handler, data, **options)
        except HTTPError as error:
            if error.status_code < 500:
                raise
            reason: object = error.log_message or error
        except (HTTPClientError, OSError, ValueError, LookupError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
        self.log.error("%s has not completed a login: %s", self.login_service, reason)
        raise RefusedLoginError(
            f"{self.login_service} has not completed your login. Try again; if that does not help,"
            " the hub's journal has the reason.",
            502,
        )

    def user_info_to_username(self, user_info: Any) -> str:
        name = super().user_info_to_username(user_info)
        return accepted_name(name, ignores_case=self.ignores_case)

    def get_callback_url(self, handler: Any = None) -> str:
        url: str = super().get_callback_url(handler)
        if not self.oauth_callback_url:
            require_https(url)
        return url

    async def check_allowed(self, username: str, auth_model: Any) -> Any:
        # Without a login, upstream lets everybody in.
        return await super().check_allowed(username, self.known_of(username, auth_model))


class GitHubAuthenticator(_Provider, GitHubOAuthenticator):  # type: ignore[misc]
    """Users of GitHub, or of a GitHub server of one's own."""


class GoogleAuthenticator(_Provider, GoogleOAuthenticator):  # type: ignore[misc]
    """Users of Google, or of the domains of an organization there."""

    @property
    def knows_administrators(self) -> bool:
        return super().knows_administrators and not self.admin_google_groups

    def user_info_to_username(self, user_info: Any) -> str:
        # Upstream does not look if `allow_all` is set.
        if not user_info.get("verified_email"):
            raise RefusedLoginError("Google does not know whether your address is yours.")
        return super().user_info_to_username(user_info)

    def check_blocked_users(self, username: str, auth_model: Any) -> bool:
        if auth_model is None:
            return username not in self.blocked_users
        return bool(super().check_blocked_users(username, auth_model))

    async def check_allowed(self, username: str, auth_model: Any) -> Any:
        known = self.known_of(username, auth_model)
        if known is not auth_model and not self.allowed_google_groups:
            # Upstream reads the address first, which only a login has.
            return await OAuthenticator.check_allowed(self, username, known)
        return await super().check_allowed(username, known)


class OIDCAuthenticator(_Provider, GenericOAuthenticator):  # type: ignore[misc]
    """Users of an OpenID Connect provider."""

    ignores_case = Bool(
        False,
        help='The provider takes "Alice" and "alice" for the same person; both are alice here.',
    ).tag(config=True)

    def user_info_to_username(self, user_info: Any) -> str:
        if self.username_claim == "email" and user_info.get("email_verified") is False:
            raise RefusedLoginError(
                f"{self.login_service} does not know whether your address is yours."
            )
        return super().user_info_to_username(user_info)
