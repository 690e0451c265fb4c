"""Root's helper for the page: what is in the backups of a person, and restoring it.

systemd starts an instance for each connection, and only the page's service can connect. A request
is words with a NUL between each: a verb, the base URL of the hub, the token that the hub has given
the service for a visitor, and what is asked for. The reply is lines of JSON; the last one is the
result, or has a "refusal".

The token says who it is: the helper asks the hub. A service that is taken over can do this only for
those who visit it meanwhile. It gets names of files and never their contents, which are written to
the person's own home directory.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.helpers.hooks import no_user
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.repository import choice
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.restore import people
from littlest_hub.stacks.backups.restore.people import MOST_ENTRIES, Person
from littlest_hub.stacks.backups.restore.source import Count, Source
from littlest_hub.stacks.backups.settings import STACK
from littlest_hub.system.restic import Repository, Snapshot
from littlest_hub.units.ports import address_of

LIMIT_BYTES = 1 << 16
HUB_TIMEOUT_S = 30
_BASE = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){0,8}/")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
_ID = re.compile(r"[0-9a-f]{64}")
_SCOPE = f"access:services!service={STACK}"
Reply = dict[str, Any]


class Verb(StrEnum):
    """Kinds of requests."""

    DATES = "dates"
    LIST = "list"
    RESTORE = "restore"


def main() -> None:
    """Answer the request on standard input."""
    request = sys.stdin.buffer.read(LIMIT_BYTES + 1)

    def tell(reply: Reply) -> None:
        print(json.dumps(reply), flush=True)

    tell(answer(installation.of_this_release(), request, tell))


def answer(layout: Layout, request: bytes, tell: Callable[[Reply], None]) -> Reply:
    """Return the last line of the reply; `tell` sends those before.

    Raises:
        BrokenPipeError: nobody waits for it any more.
    """
    try:
        if len(request) > LIMIT_BYTES:
            raise LittlestHubError("no such request")
        verb, base, token, *words = request.decode().split("\0")
        return _done(layout, verb, visitor(layout, base, token), words, tell)
    except (UnicodeDecodeError, ValueError):
        return {"refusal": "no such request"}
    except LittlestHubError as error:
        print(error, file=sys.stderr)
        return {"refusal": error.message.partition("\nrestic:")[0]}


def visitor(layout: Layout, base: str, token: str) -> Person:
    """Return the person whom the hub has given a token for the page.

    Raises:
        LittlestHubError: the hub knows no such token, or the person has no account.
    """
    address = address_of(layout, layout.hub_socket)
    if not (_BASE.fullmatch(base) and _TOKEN.fullmatch(token) and address):
        raise LittlestHubError("no such request")
    connection = http.client.HTTPConnection(*address, timeout=HUB_TIMEOUT_S)
    try:
        headers = {"Authorization": f"token {token}", "Accept": "application/json"}
        connection.request("GET", f"{base}hub/api/user", headers=headers)
        response = connection.getresponse()
        found = json.loads(response.read()) if response.status == 200 else {}
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LittlestHubError(f"the hub does not say who you are: {error}") from error
    finally:
        connection.close()
    name = found.get("name") if isinstance(found, dict) else None
    may_visit = isinstance(name, str) and _SCOPE in found.get("scopes", ())
    if not may_visit or found.get("kind") != "user":
        raise LittlestHubError("the hub does not know you any more; log in again")
    account = people.account_of(layout, str(name))
    if refusal := no_user(account, layout.users_group if layout.hub_user else None):
        raise LittlestHubError(f"{account} {refusal}")
    return Person.of(account)


def _done(
    layout: Layout,
    verb: str,
    person: Person,
    words: Sequence[str],
    tell: Callable[[Reply], None],
) -> Reply:
    """Carry out a request, and return the result.

    Raises:
        LittlestHubError: it is refused, or failed.
    """
    settings = fragment.read(layout)
    if not settings.people_restore:
        raise LittlestHubError("the administrator has not opened this page: PEOPLE_RESTORE = False")
    place = Place.of(layout)
    repository = place.repository(settings)
    # Those of this machine alone: on another one, the same name may be somebody else.
    snapshots = choice.of_this_machine(repository.snapshots(layout.instance))
    match verb, words:
        case Verb.DATES, []:
            return {"dates": [{"id": each.id, "time": each.time} for each in snapshots]}
        case Verb.LIST, [snapshot, path]:
            return _listing(repository, _one(snapshots, snapshot), person, path)
        case Verb.RESTORE, [snapshot, path]:
            chosen = _one(snapshots, snapshot)
            source = _source(repository, place, chosen, person, path)
            print(f"restoring {path!r} of {chosen.id[:8]} for {person.account}", file=sys.stderr)
            where, count = source.restored(lambda so_far: tell(_numbers(so_far)))
            return {"place": where, **_numbers(count)}
    raise LittlestHubError("no such request")


def _one(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    for each in snapshots:
        if _ID.fullmatch(wanted) and each.id == wanted:
            return each
    raise LittlestHubError("that backup is not there any more; choose another one")


def _listing(repository: Repository, snapshot: Snapshot, person: Person, given: str) -> Reply:
    path = person.path_of(given)
    nodes = people.look(repository, snapshot.id, person, path)
    if people.reached(person, nodes, path).kind != "dir":
        raise LittlestHubError(f"{given!r} is no folder")
    found = people.readable(person, nodes.values(), path)
    entries = [
        {"name": e.name, "kind": e.kind, "size": e.size_bytes, "time": e.mtime}
        for e in found[:MOST_ENTRIES]
    ]
    return {"entries": entries, "more": max(0, len(found) - MOST_ENTRIES)}


def _source(
    repository: Repository, place: Place, snapshot: Snapshot, person: Person, given: str
) -> Source:
    path = person.path_of(given)
    node = people.reached(person, people.look(repository, snapshot.id, person, path), path)
    if node.kind not in ("dir", "file"):
        raise LittlestHubError(f"{given!r} is a link; restore the folder that contains it")
    return Source(repository, place, snapshot, node, person)


def _numbers(count: Count) -> Reply:
    return {"files": count.files, "bytes": count.size_bytes, "left_out": count.left_out}


if __name__ == "__main__":
    main()
