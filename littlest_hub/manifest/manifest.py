"""The manifest of a stack: one record with everything that enabling it adds."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout, PackageSet

ENTRY_POINTS = "littlest_hub.stacks"
"""Entry point group of manifests in packages of the hub set."""

# It becomes part of names of units and paths.
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,15}")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_MODULE = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*")
_FRAGMENT = re.compile(r"\d\d-[a-z0-9-]+\.py")
_REFERENCE = re.compile(r"[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")
# User servers are units named INSTANCE.user-NAME, checks are INSTANCE.check-…, and the hub's own
# units have these suffixes.
_RESERVED = ("user", "check", "service", "socket")
_NAMED = 10
"""The most servers that are named in one line."""


@dataclass(frozen=True)
class Question:
    """A question that `enable` asks; its answer becomes the value of a variable in a fragment."""

    key: str
    """KEY of `--set KEY=VALUE`. A line `KEY = "…"` of a fragment, in capitals, gets the answer."""
    text: str
    """The question, without a question mark: "Group whose members may write announcements"."""
    default: str
    pattern: str
    """Regular expression that the whole answer matches."""
    expected: str
    """The same in words for people: "the name of a group, or nothing"."""

    @property
    def variable(self) -> str:
        """The variable in the fragment."""
        return self.key.upper()

    def refuse(self, answer: str) -> None:
        """Refuse an answer that does not match.

        Raises:
            LittlestHubError: what was expected.
        """
        if not (answer.isprintable() and re.fullmatch(self.pattern, answer)):
            raise LittlestHubError(f"{self.key}={answer!r}: expected {self.expected}")


@dataclass(frozen=True)
class Elsewhere:
    """User servers that a stack has started on other machines, as the hub has them on record."""

    names: Sequence[str]
    """Names for people: "alice (job 12)"."""
    end: Callable[[], str]
    """Ends them, and returns why some of them may go on; "": none of them does."""

    def __str__(self) -> str:
        more = len(self.names) - _NAMED
        named = ", ".join(self.names[:_NAMED])
        return f"{named} and {more} more" if more > 0 else named


@dataclass(frozen=True)
class Manifest:
    """The parts of a stack. Reading it imports nothing of the stack but the manifest itself.

    A reference is the text "MODULE:FUNCTION"; the function is imported when it is needed.
    """

    name: str
    title: str
    """One line for `list`."""
    fragments: tuple[str, ...] = ()
    """Its ready fragments: "55-announce.py", with drop-ins of the hub's unit beside them, such as
    "55-announce.conf". Those of our stacks are in jupyterhub_config.d/; those of others in the
    directory fragments/ of their package."""
    packages: Mapping[PackageSet, tuple[str, ...]] = field(default_factory=dict)
    """Requirements by set, as `packages add` takes them."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Programs of the machine without which `enable` refuses, each with the command that installs
    it: {"git": "apt install git"}."""
    questions: tuple[Question, ...] = ()
    one_of: tuple[str, ...] = ()
    """Keys of questions, of which one at least needs an answer that is not empty."""
    service: str = ""
    """A name below /services/ for which the stack has a service of its own, with a port on loopback
    and a token; "": none. See `littlest_hub.manifest.enabled.service`."""
    units: str = ""
    """Reference to a function of the layout and the enabled stack, which returns its units
    (`littlest_hub.units.unit.Unit`); their names begin with `stack_unit`."""
    foreground: str = ""
    """The module of a program that does, beside a hub in the foreground (`littlest-hub run`), what
    the units do elsewhere. The hub starts it as the entry of the service in its configuration says,
    through `littlest_hub.service`; "": a stack with units needs systemd."""
    check: tuple[str, ...] = ()
    """References to rules: functions as in `littlest_hub.check.rules`."""
    doctor: tuple[str, ...] = ()
    """References to probes: functions as in `littlest_hub.doctor`."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """Commands by name: `littlest-hub NAME …` runs the function that the reference names, of the
    layout and the remaining arguments; it returns an exit code."""
    before_enable: str = ""
    """Reference to a function of the layout and the answers by key, which `enable` calls before it
    changes anything. It tries what the answers name, such as a server, and changes nothing; if they
    are of no use, it raises `LittlestHubError`."""
    after_enable: str = ""
    """Reference to a function of the layout and the enabled stack, which `enable` calls at its end;
    it returns lines for people: what they do next."""
    after_disable: str = ""
    """Reference to a function of the layout, which `disable` and `uninstall` call at their end: it
    removes what the stack can make again, and its system users, and returns lines for people."""
    elsewhere: str = ""
    """Reference to a function of the layout, which returns the servers of the stack on other
    machines (`Elsewhere`); `disable` and `uninstall` end them, after a question."""
    accounts: str = ""
    """Reference to a function of the layout, which returns the account of each user whose account
    has another name."""
    ends: str = ""
    """An effect of `disable` on people, in words: "log out …"; "": nobody notices."""
    leaves: str = ""
    """The data that stays in its directory of state/ after `disable`, for people; "": nothing."""
    backs_up: bool = False
    """Whether the stack backs up the hub: `doctor` then asks for no other backups."""
    page: str = ""
    """Its page in docs/; the same for its tests, in the tiers of tests/."""
    tests: tuple[str, ...] = ()

    def servers_elsewhere(self, layout: Layout) -> Elsewhere | None:
        """Return the servers of the stack on other machines; None: it never starts any there.

        Raises:
            LittlestHubError: the function that knows them cannot be imported.
        """
        found: Elsewhere | None = resolve(self.elsewhere)(layout) if self.elsewhere else None
        return found

    def clean_up(self, layout: Layout) -> list[str]:
        """Remove what the stack can make again, and its system users; return lines for people.

        Raises:
            LittlestHubError: something cannot be removed.
        """
        return list(resolve(self.after_disable)(layout)) if self.after_disable else []

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the manifest itself."""
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED:
            yield f"name {self.name!r}: expected at most 16 lower-case letters and digits"
        if not self.title or not self.title.isprintable():
            yield f"title {self.title!r}: expected one line"
        for fragment in self.fragments:
            if not _FRAGMENT.fullmatch(fragment):
                yield f"fragment {fragment!r}: expected a name such as 55-announce.py"
        if self.service not in ("", self.name):
            yield f"service {self.service!r}: expected {self.name!r} or nothing"
        if self.foreground and not (self.service and _MODULE.fullmatch(self.foreground)):
            yield f"foreground {self.foreground!r}: expected a module, and a service"
        yield from self._wrong_functions()
        for question in self.questions:
            yield from _problems_of(question)
        keys = [question.key for question in self.questions]
        if len(keys) != len(set(keys)):
            yield f"questions {keys}: expected each key once"

    def _wrong_functions(self) -> Iterator[str]:
        references = (
            *(self.units, self.before_enable, self.after_enable, self.after_disable),
            *(self.elsewhere, self.accounts),
            *self.commands.values(),
        )
        for reference in filter(None, (*references, *self.check, *self.doctor)):
            if not _REFERENCE.fullmatch(reference):
                yield f"reference {reference!r}: expected MODULE:FUNCTION"
        for command in self.commands:
            if not _COMMAND.fullmatch(command):
                yield f"command {command!r}: expected lower-case letters, digits and dashes"


def _problems_of(question: Question) -> Iterator[str]:
    if not _KEY.fullmatch(question.key):
        yield f"question {question.key!r}: expected a key of lower-case letters, digits and _"
    try:
        question.refuse(question.default)
    except (LittlestHubError, re.error) as error:
        yield f"question {question.key!r}: its default is no answer: {error}"


def resolve(reference: str) -> Any:
    """Import the function that a reference of a manifest names.

    Raises:
        LittlestHubError: there is none.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever a module of others does
        raise LittlestHubError(f"{reference} of a stack cannot be imported: {error}") from error
