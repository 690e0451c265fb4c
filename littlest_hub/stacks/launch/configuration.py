"""The configuration of a launch, to which somebody says yes: canonical, with an id, comparable.

A spawner gets only the id of a configuration that its owner has approved, whatever a link or the
API sends; the configuration itself is in the records of the service.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import partial
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository, server_name, volumes
from littlest_hub.stacks.launch.environment.requirements import is_name
from littlest_hub.stacks.launch.links import Form, page_of
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.shares import people
from littlest_hub.stacks.launch.volumes import Offered
from littlest_hub.stacks.launch.webdav import folder

MOST_BUILT = 50
"""The most packages that a person lets be built from their source."""
_LEAST_MEMORY_GB, _LEAST_PROCESSORS, _LEAST_HOURS = 0.25, 0.1, 0.25
_NUMBER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,4})?")


class FormError(LittlestHubError):
    """A form that describes no launch, with what is wrong by field."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = problems


@dataclass(frozen=True)
class Caps:
    """The most that a person may choose; 0: it cannot be chosen."""

    memory_gb: float = 0
    processors: float = 0
    hours: float = 0


@dataclass(frozen=True)
class Choices:
    """Further choices that one person has."""

    volumes: Offered = field(default_factory=dict)
    collaborators: int = 0
    """The most other people who may use a server."""
    may_be_temporary: bool = False
    may_be_private: bool = False
    may_have_webdav: bool = False
    may_build: bool = True
    """Whether packages may be built from their source, which runs code."""


@dataclass(frozen=True)
class Configuration:
    """A launch in all its fields, which are valid. 0 and "" stand for the hub's usual values."""

    repository: str
    ref: str = ""
    commit: str = ""
    """"": whichever the ref has at the time."""
    path: str = ""
    urlpath: str = ""
    name: str = ""
    """"": another one each time."""
    memory_mb: int = 0
    cpu_percent: int = 0
    """Percent of one processor."""
    minutes: int = 0
    """Time limit of the server."""
    as_of: str = ""
    """A date, such as 2026-05-01; "": the latest versions of packages are used."""
    built: str = ""
    """Names of packages that are built from their source, which runs code, with spaces between."""
    mounts: str = ""
    """Volumes, as `volumes.checked` writes them: "data scratch:rw"."""
    share: str = ""
    """Names of users who may use the server, with spaces between."""
    temporary: bool = False
    """Whether it runs on a copy of its own, of which nothing is left when it stops."""
    private: bool = False
    """Whether its owner has opened the repository with a name and a token; they are not in it."""
    webdav: str = ""
    """Address of the owner's WebDAV folder, which the server reads; "": it has none."""

    @property
    def opened(self) -> str:
        """The address that its owner opens with a name and a password; "": there is none."""
        return self.repository if self.private else self.webdav

    @property
    def has_volumes(self) -> bool:
        """Whether the server has a directory with volumes."""
        return bool(self.mounts or self.webdav)

    @property
    def canonical(self) -> str:
        """Its JSON, of which there is one spelling.

        A field with its usual value is left out: one that a later release adds changes no id.
        """
        given = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }
        return json.dumps(given, sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """Its name, which changes with each of its fields."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def page(self) -> str:
        """The page that opens, in a server whose root is the repository's directory."""
        if self.urlpath:
            return self.urlpath
        return f"lab/tree/{quote(self.path)}" if self.path else "lab"

    @property
    def environment_name(self) -> str:
        """The repository as HOST/PATH, by which statistics count its servers.

        Administrators, and a Prometheus that they let in, see it. So a private repository has none.
        """
        if self.private:
            return "private repositories"
        return repository.Repository(self.repository).place

    def at(self, commit: str) -> Configuration:
        """Return the same at a commit, to which its ref has been resolved.

        Raises:
            LittlestHubError: it is no full name of a commit.
        """
        if not repository.is_commit(commit):
            raise LittlestHubError(f"{commit[:80]!r} is no full name of a commit")
        return replace(self, commit=commit)

    def is_among(self, ids: Collection[str]) -> bool:
        """Return whether one of these ids names it.

        That of a configuration without a commit names it at each commit that its ref ever has.
        """
        return self.id in ids or replace(self, commit="").id in ids

    def changes(self, other: Configuration) -> tuple[str, ...]:
        """Return the fields in which another one differs, such as that of a server's last start."""
        names = (each.name for each in fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


def of_json(text: str) -> Configuration:
    """Return the configuration with this canonical JSON.

    Raises:
        LittlestHubError: it is that of another release, or damaged.
    """
    try:
        found = Configuration(**json.loads(text))
        if found.canonical == text and all(
            type(getattr(found, each.name)).__name__ == each.type for each in fields(found)
        ):
            return found
    except (ValueError, TypeError, RecursionError):
        pass
    raise LittlestHubError(f"{text[:80]!r} is no configuration that this release has written")


def of_form(
    form: Form, policy: Policy, caps: Caps, choices: Choices | None = None
) -> Configuration:
    """Return what a form asks for; its ref has not been resolved.

    Args:
        form: as somebody has filled it in.
        policy: which repositories may be launched.
        caps: the most that may be chosen.
        choices: what the person may choose besides; None: nothing.

    Raises:
        FormError: fields of it are not valid, or beyond the caps.
    """
    choices = choices or Choices()
    checks: dict[str, Callable[[str], Any]] = {
        "repo": partial(repository.parse, policy=policy),
        "ref": repository.ref_of,
        "path": repository.path_of,
        "urlpath": page_of,
        "name": server_name.checked,
        "memory_gb": partial(_number, least=_LEAST_MEMORY_GB, most=caps.memory_gb),
        "processors": partial(_number, least=_LEAST_PROCESSORS, most=caps.processors),
        "hours": partial(_number, least=_LEAST_HOURS, most=caps.hours),
        "as_of": _date,
        "built": partial(_names, may_build=choices.may_build),
        "mount": partial(volumes.checked, choice=choices.volumes),
        "temporary": partial(_is_chosen, choices.may_be_temporary, "has no temporary servers"),
        "private": partial(_is_chosen, choices.may_be_private, "launches no private repositories"),
        "share": partial(people.checked, most=choices.collaborators),
        "webdav": partial(_folder, policy=policy, is_possible=choices.may_have_webdav),
    }
    valid: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, check in checks.items():
        try:
            valid[name] = check(getattr(form, name))
        except LittlestHubError as error:
            problems[name] = error.message
    problems |= _contradictions(valid) | _contradictions_of_folder(valid)
    if problems:
        raise FormError(problems)
    return Configuration(
        repository=valid["repo"].url,
        ref=valid["ref"] or valid["repo"].ref,
        path=valid["path"],
        urlpath=valid["urlpath"],
        name=valid["name"],
        memory_mb=round(valid["memory_gb"] * 1024),
        cpu_percent=round(valid["processors"] * 100),
        minutes=round(valid["hours"] * 60),
        as_of=valid["as_of"],
        built=valid["built"],
        mounts=valid["mount"],
        share=valid["share"],
        temporary=valid["temporary"],
        private=valid["private"],
        webdav=valid["webdav"],
    )


def form_of(configuration: Configuration) -> Form:
    """Return a form that asks for a configuration, except for its commit."""
    return Form(
        repo=configuration.repository,
        ref=configuration.ref,
        path=configuration.path,
        urlpath=configuration.urlpath,
        name=configuration.name,
        memory_gb=_text(configuration.memory_mb / 1024),
        processors=_text(configuration.cpu_percent / 100),
        hours=_text(configuration.minutes / 60),
        as_of=configuration.as_of,
        built=configuration.built,
        mount=configuration.mounts,
        share=configuration.share,
        temporary="yes" if configuration.temporary else "",
        private="yes" if configuration.private else "",
        webdav=configuration.webdav,
    )


def _contradictions(valid: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with fields, each of which is valid, because of others."""
    problems: dict[str, str] = {}
    named = valid["repo"].ref if "repo" in valid else ""
    if named and valid.get("ref") and valid["ref"] != named:
        problems["ref"] = f"expected nothing, or {named}, which the repository's address names"
    if "repo" in valid and valid["repo"].doi:
        if valid.get("ref") and not repository.is_commit(valid["ref"]):
            problems["ref"] = "expected nothing: a DOI has no branches and tags"
        if valid.get("private"):
            problems["private"] = "expected nothing: only what everybody may read has a DOI here"
    if valid.get("path") and valid.get("urlpath"):
        problems["urlpath"] = "expected a file or a page, found both"
    if valid.get("share") and not valid.get("name", "-"):
        problems["name"] = "expected a name: others use this server, and find it by its name"
    if valid.get("temporary") and valid.get("share"):
        problems["share"] = "expected nobody: a temporary server is for one person"
    if valid.get("temporary") and any(
        each.is_writable for each in volumes.mounts(valid.get("mount", ""))
    ):
        problems["mount"] = "expected volumes without :rw: a temporary server changes nothing"
    return problems


def _contradictions_of_folder(valid: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with a folder, which is valid, because of other fields."""
    problems: dict[str, str] = {}
    if valid.get("webdav") and valid.get("private"):
        problems["webdav"] = "expected nothing: a launch asks for one name and password"
    elif valid.get("webdav") and valid.get("share"):
        problems["webdav"] = "expected nothing: others use this server, and would read your folder"
    return problems


def _folder(text: str, policy: Policy, *, is_possible: bool) -> str:
    """Return the address of a WebDAV folder that somebody has chosen; "" stays "".

    Raises:
        LittlestHubError: it is none, or there are none here.
    """
    if text.strip() and not is_possible:
        raise LittlestHubError("this hub opens no folders of WebDAV servers; expected nothing")
    return folder.checked(text, policy)


def _is_chosen(is_possible: bool, refusal: str, text: str) -> bool:
    """Return what somebody has chosen.

    Args:
        is_possible: whether it is to be had.
        refusal: why not: this hub …
        text: of the form.

    Raises:
        LittlestHubError: it is no answer, or not to be had.
    """
    text = text.strip()
    if text not in ("", "yes"):
        raise LittlestHubError(f"found {text[:20]!r}, expected yes or nothing")
    if text and not is_possible:
        raise LittlestHubError(f"this hub {refusal}; expected nothing")
    return bool(text)


def _text(number: float) -> str:
    return f"{number:.4f}".rstrip("0").rstrip(".") if number else ""


def _date(text: str) -> str:
    """Return a date that somebody has chosen; "" stays "".

    Raises:
        LittlestHubError: it is none.
    """
    text = text.strip()
    try:
        if text and date.fromisoformat(text).isoformat() != text:
            raise ValueError
    except ValueError:
        raise LittlestHubError(f"found {text[:20]!r}, expected a date such as 2026-05-01") from None
    return text


def _names(text: str, *, may_build: bool) -> str:
    """Return names of packages in their one spelling and order.

    Raises:
        LittlestHubError: one is none, there are too many, or none may be built.
    """
    names = text.replace(",", " ").split()
    if names and not may_build:
        raise LittlestHubError("this hub runs no code of packages; expected nothing")
    for name in names:
        if not is_name(name):
            raise LittlestHubError(f"found {name[:40]!r}, expected names of packages")
    if len(names) > MOST_BUILT:
        raise LittlestHubError(f"found {len(names)} names, expected at most {MOST_BUILT}")
    return " ".join(sorted({canonicalize_name(each) for each in names}))


def _number(text: str, least: float, most: float) -> float:
    """Return a number that somebody has chosen; 0 for ""."""
    text = text.strip()
    if not text:
        return 0
    if not most:
        raise LittlestHubError("it cannot be chosen at this hub; expected nothing")
    if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
        found = repr(text[:20])
        raise LittlestHubError(f"found {found}, expected a number from {least:g} to {most:g}")
    return float(text)
