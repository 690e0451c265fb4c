"""Logins with the passwords of an LDAP directory: ldapauthenticator's class, made safe."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPBindError, LDAPException
from ldapauthenticator import LDAPAuthenticator
from ldapauthenticator.ldapauthenticator import TlsStrategy
from traitlets import Integer, default

from littlest_hub.hub.authenticator import RefusedLoginError


class DirectoryAuthenticator(LDAPAuthenticator):  # type: ignore[misc]
    """Users of an LDAP directory. Its settings are upstream's (`c.LDAPAuthenticator`).

    Different here: the directory's certificate is verified, the hub serves others while it waits,
    and waits no longer than `timeout_s`.
    """

    timeout_s = Integer(10, help="Seconds to wait for an answer of the directory.").tag(config=True)

    @default("group_attributes")
    def _no_group_attributes(self) -> list[str]:
        # Only whether a group is found counts; not every directory knows the attributes of
        # upstream's default.
        return [ldap3.NO_ATTRIBUTES]

    async def authenticate(self, handler: Any, data: Mapping[str, Any]) -> Any:
        # Directories ignore case: the hub's name is the one that the directory is asked for.
        typed = {**data, "username": data["username"].lower()}
        try:
            # Upstream waits for the network without letting others run.
            return await asyncio.to_thread(asyncio.run, super().authenticate(handler, typed))
        except (LDAPException, OSError) as error:
            self.log.error("The directory %s does not answer: %s", self.server_address, error)
            raise RefusedLoginError(
                "The directory with the passwords does not answer. Try again in a minute.",
                503,
            ) from None

    def resolve_username(self, username_supplied_by_user: str) -> tuple[Any, Any]:
        name, dn = super().resolve_username(username_supplied_by_user)
        # Upstream uses it as a template.
        return name, dn and dn.replace("{", "{{").replace("}", "}}")

    def get_connection(self, userdn: str | None, password: str | None) -> Any:
        """Return a connection bound to a user, or None if the directory refuses the password.

        Raises:
            LDAPException: there is no connection, or none that can be trusted.
        """
        has_tls_first = self.tls_strategy is TlsStrategy.before_bind
        server = ldap3.Server(
            self.server_address,
            port=self.server_port,
            use_ssl=self.tls_strategy is TlsStrategy.on_connect,
            # ldap3's own default accepts every certificate.
            tls=ldap3.Tls(**{"validate": ssl.CERT_REQUIRED, **self.tls_kwargs}),
            connect_timeout=self.timeout_s,
        )
        bind = ldap3.AUTO_BIND_TLS_BEFORE_BIND if has_tls_first else ldap3.AUTO_BIND_NO_TLS
        try:
            return ldap3.Connection(
                server,
                user=userdn,
                password=password,
                auto_bind=bind,
                # Upstream's filter for groups names attributes that not every directory knows.
                check_names=False,
                receive_timeout=self.timeout_s,
            )
        except LDAPBindError:
            return None
