"""One-time codes that root issues: `class token`, and the last messages of `enable class`."""

from __future__ import annotations

import argparse
import shlex
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from littlest_hub.errors import LittlestHubError, as_typed, with_sudo
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.classroom.accounts import settings
from littlest_hub.stacks.classroom.logins import codes, names
from littlest_hub.stacks.classroom.logins.people import People, file_of
from littlest_hub.unprivileged.privileges import run_as_hub_user

_LIST_BYTES = 1 << 16
"""The longest list of names: a thousand of the longest ones."""


def add(commands: Verbs) -> None:
    """Add `token` to the commands of a parser."""
    parser = verbs.add(
        commands,
        "token",
        _token,
        "let each NAME choose a password, with a code that is valid once and for a week",
        "Let each NAME choose a password, with a code that is valid once and for a week. An earlier"
        " password is void. Of several names, each is printed on a line with its code. The exit"
        " code is 1 if one of them is no login name; the others get their codes.",
    )
    text = "a login name; `-`: read names from standard input, one per line"
    parser.add_argument("names", metavar="NAME", nargs="+", help=text)


def after_enable(layout: Layout, stack: EnabledStack, *, has_servers: bool) -> Iterator[str]:
    """Yield the steps of the administrators' first login, and the effects on those who work.

    Args:
        layout: the installation.
        stack: this stack, as it was enabled.
        has_servers: whether user servers run.
    """
    yield from _first_logins(layout, stack)
    if has_servers:
        yield "Servers that run get the environment when their users restart them."
    if stack.answers["login"] != "system" and not layout.hub_user:
        yield (
            "People work as accounts that are made for them, with empty homes: alice as"
            " jupyter-alice. To let somebody keep an account, see ACCOUNT_NAMES in 60-class.py."
        )


def _first_logins(layout: Layout, stack: EnabledStack) -> Iterator[str]:
    if stack.answers["login"] not in ("first-use", "sign-up"):
        return
    admin = stack.answers["admin"]
    if not admin:
        yield f"Each administrator gets in with a code: {layout.command} class token NAME"
    elif not _has_password(layout, admin):
        yield how_to_use(admin, new_code(layout, admin))


def new_code(layout: Layout, name: str) -> str:
    """Return a new one-time code of a person.

    Raises:
        LittlestHubError: the name is no login name, or the file cannot be used.
    """
    canonical = names.canonical(name)
    if problem := _problem(name):
        raise LittlestHubError(problem)
    code = codes.new()

    def grant() -> None:
        _people(layout).grant(canonical, codes.digest(code))

    _in_people(layout, grant)
    return code


def how_to_use(name: str, code: str) -> str:
    """Return instructions for a person who gets a code."""
    return (
        f"{names.canonical(name)} chooses a password at /hub/one-time-code of the hub, once and"
        f" within a week, with this code:\n  {code}"
    )


def _problem(name: str) -> str:
    """Return why nobody can have a name, or ""."""
    is_name = names.is_name(names.canonical(name))
    return "" if is_name else f"{name!r} is no login name; expected one such as maria.lopez"


def _token(layout: Layout, options: argparse.Namespace) -> int:
    is_list = len(options.names) > 1 or options.names == ["-"]
    _refuse_without_passwords(layout, "NAME" if is_list else options.names[0])
    if is_list:
        return _tokens(layout, _listed(options.names))
    name = names.canonical(options.names[0])
    is_known = _is_known(layout, name)
    print(how_to_use(name, new_code(layout, name)))
    if not is_known:
        wrong = f"{layout.command} class remove {name} --lock"
        print(f"{name} is new to the hub. If that is not the name you meant: {wrong}")
    return 0


def _tokens(layout: Layout, listed: Sequence[str]) -> int:
    """Print each name with its code; what is for the teacher alone is no part of that list."""
    for name in listed:
        if problem := _problem(name):
            print(problem, file=sys.stderr)
    found = list(dict.fromkeys(names.canonical(each) for each in listed if not _problem(each)))
    width = max(map(len, found), default=0)
    known = []
    for name in found:
        if _is_known(layout, name):
            known.append(name)
        # Printed at once: without the code, nobody can choose a password any more.
        print(f"{name:{width}}  {new_code(layout, name)}", flush=True)
    if found:
        where = "/hub/one-time-code of the hub, once and within a week"
        print(f"Each chooses a password with the code, at {where}.", file=sys.stderr)
    if known:
        print(f"Known before; earlier passwords are void: {', '.join(known)}", file=sys.stderr)
    return 1 if any(map(_problem, listed)) else 0


def _listed(typed: Sequence[str]) -> list[str]:
    """Return the names of a command line, in which `-` stands for those on standard input.

    Raises:
        LittlestHubError: there are none, or so many that it is no list of people.
    """
    found: list[str] = []
    for each in typed:
        found += _read_names() if each == "-" else [each]
    if not found:
        raise LittlestHubError("standard input has no names; expected one per line")
    return found


def _read_names() -> list[str]:
    content = sys.stdin.buffer.read(_LIST_BYTES + 1)
    if len(content) > _LIST_BYTES:
        raise LittlestHubError(f"standard input has more than {_LIST_BYTES} bytes of names")
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _is_known(layout: Layout, name: str) -> bool:
    if not names.is_name(name):
        return False
    return bool(_in_people(layout, lambda: _people(layout).get(name) is not None))


def _refuse_without_passwords(layout: Layout, name: str) -> None:
    login = settings.read(layout).login
    if login == settings.SYSTEM:
        passwd = as_typed(f"passwd {shlex.quote(name)}")
        raise LittlestHubError(
            f"LOGIN = {login!r}: people have the passwords of their accounts, without a code",
            f"For another password: {passwd}",
        )
    if login == settings.OTHER:
        raise LittlestHubError(f"LOGIN = {login!r}: people log in elsewhere, without a code")


def _has_password(layout: Layout, name: str) -> bool:
    def has_password() -> bool:
        person = _people(layout).get(name)
        return person is not None and person.may_log_in and person.password is not None

    return bool(_in_people(layout, has_password))


def _in_people(layout: Layout, use: Any) -> Any:
    try:
        return run_as_hub_user(layout, use)
    except (sqlite3.Error, OSError) as error:
        raise LittlestHubError(
            f"{file_of(layout)} cannot be used: {error}", with_sudo(f"{layout.command} doctor")
        ) from error


def _people(layout: Layout) -> People:
    return People(layout.on_disk(file_of(layout)))
