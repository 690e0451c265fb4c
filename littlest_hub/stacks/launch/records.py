"""Records of launches: what a person has approved, launched, and typed.

They are files, not a database: the spawner reads them as another user, who cannot write. A reader
of SQLite needs the right to write if a write was interrupted, and would hand a file of strangers to
a large parser. Here an approved configuration is a file whose name is the hash of its content. Each
file is replaced in one step.

    people/OWNER/owner           whose directory it is; OWNER is a hash of the name
    people/OWNER/approved/ID     an approved configuration and its environment, for the spawner
    people/OWNER/state.json      everything else, for the service

A name that the hub removes, and gives to somebody else later, inherits nothing: the records have
the time at which the user came to the hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Configuration, of_json
from littlest_hub.stacks.launch.links import Form
from littlest_hub.system.files import remove_tree, write

MOST_APPROVED, MOST_LAUNCHES, MOST_BEGUN, MOST_UNASKED = 200, 100, 20, 200
"""The most that are kept of a person, the latest."""
NEW_S = 60
"""Time within which JupyterHub has a server that starts."""
BEGUN_S = 24 * 3600
"""Time for which the page of a launch can be opened again."""
_LONGEST_NAME, _LIMIT_BYTES = 255, 1 << 18
_PEOPLE, _OWNER, _APPROVED, _STATE = "people", "owner", "approved", "state.json"
_ID = re.compile(r"[0-9a-f]{64}")
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approved:
    """A configuration to which its owner has said yes."""

    configuration: Configuration
    environment: str = ""
    """The key of its environment; "": it has not been built."""
    removed: tuple[str, ...] = ()
    """People from whom the owner has taken access since."""
    order: str = ""
    """The id of the order of its environment, without a lock; "": there is none."""

    @property
    def people(self) -> list[str]:
        """People who may use the server besides its owner."""
        return [name for name in self.configuration.share.split() if name not in self.removed]


@dataclass(frozen=True)
class Begun:
    """A launch that a person has begun, under a name that nobody can guess."""

    configuration: str
    """Its id."""
    server: str
    time_s: int
    restarts: bool = False
    """Whether the person wants the server to be stopped first if it runs."""
    is_started: bool = False
    """Whether its server has been started, which happens once."""


def checked_id(value: object) -> str:
    """Return the id of a configuration; also a function for `c.RequestPolicy.user_options`.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, list) and len(value) == 1:
        (value,) = value  # of a form
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("expected the id of an approved configuration: 64 hexadecimal digits")
    return value


def digest_of(owner: str, since: str) -> str:
    """Return what stands for a person in caches, and for nobody who gets the name later.

    Args:
        owner: the name of the person at the hub.
        since: when the hub has added the person, as JupyterHub's API says it.
    """
    return hashlib.sha256(json.dumps([owner, since]).encode()).hexdigest()


def approved(directory: Path, owner: str, id: str) -> Approved:
    """Return a configuration that its owner has approved, for the spawner.

    The directory belongs to the service, whose user has no rights. So this follows no link, and
    believes nothing.

    Raises:
        LittlestHubError: there is none, or it is damaged.
    """
    try:
        text = _read(directory, _PEOPLE, _name(owner), _APPROVED, checked_id(id))
        record = json.loads(text)
        environment = record["environment"]
        removed = tuple(str(name) for name in record.get("removed", ()))
        key = environment and checked_id(environment)
        order = record.get("order", "")
        found = Approved(
            of_json(record["configuration"]), key, removed, order and checked_id(order)
        )
    except FileNotFoundError:
        raise LittlestHubError(f"{owner} has approved no configuration {id}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LittlestHubError(
            f"the record of the configuration {str(id)[:64]!r}: {error}"
        ) from error
    if found.configuration.id != id:
        raise LittlestHubError(f"the record {id} contains {found.configuration.id}")
    return found


def kept_environments(directory: Path) -> frozenset[str]:
    """Return the keys of the environments with which servers were last started.

    It is for the service's own user, or root.
    """
    return frozenset({each.environment for each in _last_started(directory)} - {""})


def kept_orders(directory: Path) -> frozenset[str]:
    """Return the ids of the orders of these environments."""
    return frozenset({each.order for each in _last_started(directory)} - {""})


def _last_started(directory: Path) -> Iterator[Approved]:
    for name in _people(directory):
        try:
            owner = json.loads(_read(directory, _PEOPLE, name, _OWNER))["name"]
            launches = _state(_read(directory, _PEOPLE, name, _STATE))["launches"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for launch in launches.values():
            with contextlib.suppress(LittlestHubError):
                yield approved(directory, owner, launch["configuration"])


class Records:
    """The records of one person, which the service writes.

    Args:
        directory: of the records of all.
        owner: the name of the person at the hub.
        since: when the hub has added the person.

    Raises:
        LittlestHubError: that is no name.
    """

    def __init__(self, directory: Path, owner: str, since: str) -> None:
        self._directory, self._owner = directory, owner
        self._place = directory / _PEOPLE / _name(owner)
        whose = json.dumps({"name": owner, "since": since})
        if self._place.exists() and self._text(_OWNER) != whose:
            remove_tree(self._place)
        write(self._place / _OWNER, whose)
        (self._place / _APPROVED).mkdir(exist_ok=True)

    # --- approved configurations

    def approve(
        self,
        configuration: Configuration,
        environment: str | None = None,
        *,
        order: str = "",
        is_asked: bool = False,
    ) -> str:
        """Record that the person has said yes, and return the id.

        Args:
            configuration: what has been approved.
            environment: the key of its environment; None: what it was before, if it was.
            order: the id of the order of that environment; "": there is none.
            is_asked: the person has been asked just now, and so lets everybody in again whom the
                configuration names.
        """
        id = configuration.id
        before = Approved(configuration)
        with contextlib.suppress(LittlestHubError):
            before = self.approved(id)
        if environment is None:
            environment, order = before.environment, before.order
        removed = () if is_asked else before.removed
        self._write(Approved(configuration, environment, removed, order))
        self._forget_old()
        return id

    def remove(self, id: str, name: str) -> None:
        """Record that somebody may not use a server any more, and that nothing starts unasked.

        Raises:
            LittlestHubError: the configuration has not been approved.
        """
        before = self.approved(id)
        self._write(replace(before, removed=(*before.removed, name)))
        gone = {id, replace(before.configuration, commit="").id}
        with self._changed() as state:
            state["unasked"] = [each for each in state["unasked"] if each not in gone]

    def _write(self, approved: Approved) -> None:
        record: dict[str, Any] = {
            "configuration": approved.configuration.canonical,
            "environment": approved.environment,
        }
        if approved.removed:
            record["removed"] = [*approved.removed]
        if approved.order:
            record["order"] = approved.order
        write(self._place / _APPROVED / approved.configuration.id, json.dumps(record))

    def approved(self, id: str) -> Approved:
        """Return a configuration that the person has approved.

        Raises:
            LittlestHubError: there is none.
        """
        return approved(self._directory, self._owner, id)

    def _forget_old(self) -> None:
        state = self._state()
        used = {each["configuration"] for each in (*state["launches"].values(), *_begun(state))}
        files = sorted((self._place / _APPROVED).iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[: max(0, len(files) - MOST_APPROVED)]:
            if file.name not in used:
                file.unlink(missing_ok=True)

    # --- what the person does not want to be asked again

    @property
    def unasked(self) -> tuple[str, ...]:
        """Ids of configurations about which the person does not want to be asked again."""
        return tuple(self._state()["unasked"])

    def do_not_ask(self, id: str) -> None:
        with self._changed() as state:
            others = [each for each in state["unasked"] if each != id]
            state["unasked"] = [*others, checked_id(id)][-MOST_UNASKED:]

    def ask_again(self) -> None:
        """Forget all of them."""
        with self._changed() as state:
            state["unasked"] = []

    # --- launches

    def begin(self, id: str, server: str, *, restarts: bool = False) -> str:
        """Record that the person launches something, and return the name of the launch."""
        name = secrets.token_hex(16)
        with self._changed() as state:
            latest = sorted(state["begun"].items(), key=lambda item: item[1]["time_s"])
            kept = dict(latest[-MOST_BEGUN + 1 :])
            begun = Begun(checked_id(id), server, int(time.time()), restarts)
            state["begun"] = {**kept, name: asdict(begun)}
        return name

    def begun(self, name: str) -> Begun | None:
        """Return a launch; None: there is none, or it is too old."""
        found = self._state()["begun"].get(name)
        return Begun(**found) if found and found["time_s"] > time.time() - BEGUN_S else None

    def start(self, name: str) -> bool:
        """Record that the server of a launch starts; return False if it did before."""
        with self._changed() as state:
            begun = state["begun"].get(name)
            if begun is None or begun["is_started"]:
                return False
            begun["is_started"] = True
            launches = {n: each for n, each in state["launches"].items() if n != begun["server"]}
            started = {"configuration": begun["configuration"], "time_s": int(time.time())}
            launches[begun["server"]] = started
            state["launches"] = dict(list(launches.items())[-MOST_LAUNCHES:])
        return True

    @property
    def launches(self) -> Mapping[str, str]:
        """Ids of the configurations with which servers were last started, by server."""
        return {n: each["configuration"] for n, each in self._state()["launches"].items()}

    def keep(self, servers: Collection[str]) -> None:
        """Forget the launches of servers that the person does not have any more."""
        new_s = time.time() - NEW_S
        launches = self._state()["launches"]
        kept = {n: e for n, e in launches.items() if n in servers or e["time_s"] > new_s}
        if kept != launches:
            with self._changed() as state:
                state["launches"] = kept

    # --- the form

    @property
    def typed(self) -> Form:
        """The form as the person has launched it last."""
        typed = self._state()["typed"]
        return Form(**{each.name: typed.get(each.name, "") for each in fields(Form)})

    def remember(self, form: Form) -> None:
        with self._changed() as state:
            state["typed"] = asdict(form)

    # --- the file

    def _text(self, name: str) -> str:
        """Return the text of a file of the person's; "": there is none that can be read."""
        with contextlib.suppress(OSError, ValueError):
            return _read(self._directory, _PEOPLE, self._place.name, name)
        return ""

    def _state(self) -> dict[str, Any]:
        return _state(self._text(_STATE))

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        state = self._state()
        yield state
        write(self._place / _STATE, json.dumps(state, indent=1), 0o600)


def _state(text: str) -> dict[str, Any]:
    """Return what a state.json contains; nothing if it is damaged: then people are asked again."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        state = json.loads(text)
        for each in (*state["unasked"], *(launch["configuration"] for launch in _begun(state))):
            checked_id(each)
        for launch in state["launches"].values():
            checked_id(launch["configuration"])
            int(launch["time_s"])
        for launch in _begun(state):
            int(Begun(**launch).time_s)
        if all(isinstance(each, str) for each in state["typed"].values()):
            return {name: state[name] for name in ("unasked", "begun", "launches", "typed")}
    if text:
        _log.warning("a damaged %s counts as empty", _STATE)
    return {"unasked": [], "begun": {}, "launches": {}, "typed": {}}


def _begun(state: Mapping[str, Any]) -> Collection[dict[str, Any]]:
    begun: dict[str, dict[str, Any]] = state["begun"]
    return begun.values()


def _name(owner: str) -> str:
    """Return the name of a person's directory, whatever characters the person's name has.

    Raises:
        LittlestHubError: it cannot be the name of a user of the hub.
    """
    try:
        name = owner.encode()
    except UnicodeEncodeError:
        name = b""
    if not 0 < len(name) <= _LONGEST_NAME:
        raise LittlestHubError(f"{owner[:40]!r} is no name of a user")
    return hashlib.sha256(name).hexdigest()


def _people(directory: Path) -> list[str]:
    """Return the names of the directories of people."""
    with contextlib.suppress(OSError):
        places = (directory / _PEOPLE).iterdir()
        return [each.name for each in places if _ID.fullmatch(each.name)]
    return []


def _read(directory: Path, *names: str) -> str:
    """Return the text of a file below the directory of the records, and follow no link to it.

    Raises:
        OSError, ValueError: it cannot be read, or is no such file.
    """
    with contextlib.ExitStack() as opened:
        place = os.open(directory, _READ | os.O_DIRECTORY)
        opened.callback(os.close, place)
        for name in names[:-1]:
            place = os.open(name, _READ | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            opened.callback(os.close, place)
        descriptor = os.open(names[-1], _READ | os.O_NOFOLLOW, dir_fd=place)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no regular file")
            data = file.read(_LIMIT_BYTES + 1)
    if len(data) > _LIMIT_BYTES:
        raise ValueError(f"it has more than {_LIMIT_BYTES} bytes")
    return data.decode()
