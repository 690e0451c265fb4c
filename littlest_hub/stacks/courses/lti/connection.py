"""The learning platform of a course, and its addresses, as values; no input or output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from littlest_hub.errors import LittlestHubError

# Its text is sent unchanged, so nothing has to be read a second time in another way.
_ADDRESS = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<target>/[!-\"$-;=?-\[\]-~]*)?",
    re.IGNORECASE,
)
_LONGEST = 2000
_WORD = re.compile(r"[!-~]{1,255}")
LOGINS = ("email", "user_id", "lis_person_sourcedid", "ext_user_username")
"""Claims about a person that can be a login; the last one is Moodle's."""


class Address(NamedTuple):
    """An address of https."""

    host: str
    port: int
    target: str
    """Path and query."""

    def __str__(self) -> str:
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{self.host}{port}{self.target}"

    @classmethod
    def parse(cls, text: str, what: str) -> Address:
        """Return an address.

        Raises:
            LittlestHubError: it is none of https, or contains a name, a password or a fragment.
        """
        found = _ADDRESS.fullmatch(text) if len(text) <= _LONGEST else None
        port = int(found["port"] or 443) if found else 0
        if found is None or not 0 < port < 1 << 16:
            raise LittlestHubError(
                f"{what} {text[:200]!r}: expected an address that begins with https://, without a"
                " name, a password and #"
            )
        return cls(found["host"].lower(), port, found["target"] or "/")

    def follow(self, text: str, what: str) -> Address:
        """Return an address to which an answer from here leads.

        Raises:
            LittlestHubError: it is none, or on another host: the access token must not get there.
        """
        found = Address.parse(urljoin(str(self), text), what)
        if (found.host, found.port) != (self.host, self.port):
            raise LittlestHubError(f"{what} is {found}, and not at {self.host}")
        return found

    def below(self, name: str) -> Address:
        """Return the address of something that belongs to what is here."""
        path, mark, query = self.target.partition("?")
        return self._replace(target=f"{path.rstrip('/')}/{name}{mark}{query}")

    def asking(self, **parameters: str) -> Address:
        """Return the address with more parameters."""
        more = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
        return self._replace(target=f"{self.target}{'&' if '?' in self.target else '?'}{more}")


@dataclass(frozen=True)
class Connection:
    """The platform of a course, as an administrator names it."""

    client_id: str
    token_url: str
    members_url: str
    grades_url: str = ""
    """The list of columns of the platform's gradebook; "": no grades are sent."""
    deployment_id: str = ""
    audience: str = ""
    """Whom the signed statement is for; "": the token_url."""
    login: str = "email"
    """The claim about a person there that is their login here."""
    strips_domain: bool = False
    """Logins are the parts before @."""

    def checked(self) -> Connection:
        """Return it.

        Raises:
            LittlestHubError: a value cannot be used.
        """
        Address.parse(self.token_url, "the token URL")
        Address.parse(self.members_url, "the members URL")
        if self.grades_url:
            Address.parse(self.grades_url, "the grades URL")
        words = {"client ID": self.client_id, "deployment ID": self.deployment_id or "-"}
        for name, value in {**words, "audience": self.audience or "-"}.items():
            if not _WORD.fullmatch(value):
                raise LittlestHubError(
                    f"the {name} {value[:80]!r}: expected at most 255 letters, digits and signs,"
                    " without spaces"
                )
        if self.login not in LOGINS:
            raise LittlestHubError(f"{self.login[:80]!r}: expected one of {', '.join(LOGINS)}")
        return self

    def is_another_gradebook(self, other: Connection) -> bool:
        """Return whether grades that were sent to one are not in that of the other."""
        return (self.grades_url, self.client_id) != (other.grades_url, other.client_id)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Connection:
        """Return the connection in a record.

        Raises:
            TypeError: it is none.
            LittlestHubError: a value cannot be used.
        """
        return cls(**record).checked()
