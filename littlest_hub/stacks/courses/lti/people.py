"""The people in a course of a learning platform; no input or output.

Their roles are those of the LTI Core Specification 1.3, A.2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Student, checked_login, plain_text
from littlest_hub.stacks.courses.roster.entries import Entries

MOST = 20_000
"""The most members of a course."""
_MOST_ROLES = 20
_LONGEST = 300
_MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"
# The student as whom an instructor looks at the course.
_TEST_USER = "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"


@dataclass(frozen=True)
class Member:
    """A member of the platform's course."""

    user_id: str
    status: str = "Active"
    roles: Sequence[str] = ()
    name: str = ""
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    lis_person_sourcedid: str = ""
    """The number that the student register has for them."""
    ext_user_username: str = ""

    @property
    def is_student(self) -> bool:
        """Whether they take part, and teach nothing."""
        roles = {_role(each) for each in self.roles}
        is_learner = "Learner" in roles and "Instructor" not in roles
        return self.status.lower() == "active" and is_learner and _TEST_USER not in self.roles

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> Member:
        """Return the member in a record, whoever has written it.

        Raises:
            ValueError: there is none.
        """
        if not isinstance(record, Mapping):
            raise ValueError("a member is no object")
        texts = {name: _text(record.get(name)) for name in _TEXTS}
        if not texts["user_id"]:
            raise ValueError("a member has no user_id")
        roles = record.get("roles")
        roles = list(roles[:_MOST_ROLES]) if isinstance(roles, list | tuple) else []
        texts["status"] = texts["status"] or "Active"
        return cls(**texts, roles=tuple(_text(each) for each in roles))


_TEXTS = tuple(each.name for each in fields(Member) if each.name != "roles")


def students_of(
    members: Iterable[Member], login: str, *, strips_domain: bool = False
) -> list[Student]:
    """Return the students among the members.

    Args:
        members: of the platform's course.
        login: what of a member is their login, as in `LOGINS`.
        strips_domain: logins are the parts before @.

    Raises:
        LittlestHubError: who has no login, and why.
    """
    entries = Entries("what the platform says of its students")
    for each in filter(_is_student, members):
        who = plain_text(each.name or f"{each.given_name} {each.family_name}") or each.user_id
        text = _login(each, login, strips_domain)
        if text:
            entries.add(_student(each, text), plain_text(who), "that of")
        else:
            entries.blame(f"{plain_text(who)}: the platform does not say their {login}")
    return entries.students("Let the platform share it, or connect with another --login")


def user_ids_of(
    members: Iterable[Member], login: str, *, strips_domain: bool = False
) -> dict[str, str]:
    """Return the platform's names for its students by login; those with the same login have none.

    Arguments are those of `students_of`.
    """
    found: dict[str, set[str]] = {}
    for each in filter(_is_student, members):
        with contextlib.suppress(LittlestHubError):
            name = checked_login(_login(each, login, strips_domain))
            found.setdefault(name, set()).add(each.user_id)
    return {name: next(iter(ids)) for name, ids in found.items() if len(ids) == 1}


def refuse_nobody(students: Sequence[Student], present: int) -> None:
    """Refuse a course without students if there are some here: it is rather a mistake.

    Raises:
        LittlestHubError: nobody is left.
    """
    if present and not students:
        raise LittlestHubError(
            "the platform names no active student, and all would lose the course",
            "Nothing was changed. If this is meant: a roster with a header alone, with `course"
            " roster`",
        )


def _is_student(member: Member) -> bool:
    return member.is_student


def _login(member: Member, login: str, strips_domain: bool) -> str:
    text = str(getattr(member, login))
    return text.partition("@")[0] if strips_domain else text


def _student(member: Member, login: str) -> Student:
    first, last = member.given_name, member.family_name
    if not (first or last):
        first, _, last = member.name.rpartition(" ")
    return Student(login, first, last, member.email, member.lis_person_sourcedid)


def _role(name: str) -> str:
    """Return the principal role of a role in a course; "": it is none in a course."""
    if "://" not in name:
        return name
    if not name.startswith(_MEMBERSHIP):
        return ""
    rest = name.removeprefix(_MEMBERSHIP)
    # As in membership#Learner, and in membership/Instructor#TeachingAssistant.
    return rest[1:].partition("#")[0] if rest[:1] in ("/", "#") else ""


def _text(value: object) -> str:
    return str(value)[:_LONGEST] if isinstance(value, str | int) else ""
