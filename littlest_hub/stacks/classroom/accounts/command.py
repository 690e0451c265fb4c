"""Commands of the class stack about people and their accounts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.classroom.accounts import offboarding, settings, table
from littlest_hub.stacks.classroom.logins import names


def add(commands: Verbs) -> None:
    """Add these commands to those of `littlest-hub class`."""
    people = verbs.add(
        commands,
        "people",
        _people,
        "list the accounts that were made, and who is locked or gone",
        "List the accounts that the hub has made, who is locked, and who is gone.",
    )
    people.add_argument("--json", action="store_true", help="print JSON")
    remove = verbs.add(
        commands,
        "remove",
        _remove,
        "lock, archive or delete the account of somebody who leaves",
        "End sessions and servers of somebody who leaves, and let nobody log in under the name"
        " until `unlock`. A later user of that name never gets the files.",
    )
    _add_name(remove)
    how = remove.add_mutually_exclusive_group(required=True)
    for word, text in (
        ("lock", "keep the account and all files; `unlock` undoes it"),
        ("archive", "put the files into an archive that only root reads, remove the account"),
        ("delete", "delete the account and its home directory"),
    ):
        how.add_argument(f"--{word}", action="store_const", dest="how", const=word, help=text)
    _add_name(
        verbs.add(
            commands,
            "unlock",
            partial(_change, offboarding.unlock),
            "let somebody log in under a locked name again",
        )
    )
    _add_name(
        verbs.add(
            commands,
            "keep",
            partial(_change, offboarding.keep),
            "give a user of the hub who was removed, and added again, the account as before",
        )
    )


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name in the hub")


def _change(
    change: Callable[[Layout, str], str], layout: Layout, options: argparse.Namespace
) -> int:
    return _print(change(layout, _login(layout, options.name)))


def _remove(layout: Layout, options: argparse.Namespace) -> int:
    login = _login(layout, options.name)
    if options.how == "lock":
        return _print(offboarding.lock(layout, login))
    is_kept = options.how == "archive"
    return _print(offboarding.remove(layout, login, is_kept=is_kept))


def _login(layout: Layout, name: str) -> str:
    """Return the login that is meant by a name; another spelling is not another person."""
    found = table.read(layout)
    is_known = name in found.accounts or name in found.blocked
    return name if is_known else names.canonical(name)


def _people(layout: Layout, options: argparse.Namespace) -> int:
    found = table.read(layout)
    named = settings.read(layout).account_names
    people = [
        {
            "login": login,
            "account": each.name,
            "uid": each.uid,
            "home": each.home,
            "since": each.since,
            "groups": list(each.groups),
            "is_locked": login in found.blocked,
            "is_complete": each.stage == table.READY,
            "is_used": named.get(login, each.name) == each.name,
        }
        for login, each in sorted(found.accounts.items())
    ]
    former = [
        {"login": e.login, "account": e.name, "uid": e.uid, "until": e.until, "archive": e.archive}
        for e in found.former
    ]
    if options.json:
        locked = sorted(found.blocked)
        print(json.dumps({"people": people, "locked": locked, "former": former}, indent=1))
        return 0
    for each in people:
        state = _state(each)
        print(f"{each['login']:30} {each['account']:31} {each['uid']:<6} {state}".rstrip())
    if not people:
        print("No account was made yet.")
    for gone in former:
        what = f"files in {gone['archive']}" if gone["archive"] else "deleted"
        print(f"{gone['login']:30} until {gone['until']}; {what}")
    others = found.blocked - found.accounts.keys() - {each.login for each in found.former}
    for login in sorted(others):
        print(f"{login:30} locked, without an account of the hub's")
    return 0


def _state(person: Mapping[str, Any]) -> str:
    if person["is_locked"]:
        return "locked"
    if not person["is_used"]:
        return "not used: ACCOUNT_NAMES gives another account"
    return "" if person["is_complete"] else "not complete yet"


def _print(text: str) -> int:
    print(text)
    return 0
