"""`littlest-hub class import-tljh`: shows the import from TLJH, or carries it out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.check import check_fragments
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.table import Account
from littlest_hub.stacks.classroom.fragment import FRAGMENT as STACK_FRAGMENT
from littlest_hub.stacks.classroom.tljh import tree
from littlest_hub.stacks.classroom.tljh.convert import Converted, convert
from littlest_hub.stacks.classroom.tljh.tree import Tree
from littlest_hub.system.files import new_file

FRAGMENT = "61-from-tljh.py"
_SUDOERS = Path("/etc/sudoers.d/jupyterhub-admins")


def add(commands: Verbs) -> None:
    """Add this command to those of `littlest-hub class`."""
    parser = verbs.add(
        commands,
        "import-tljh",
        _run,
        "take over users, accounts, settings and packages of The Littlest JupyterHub",
        "Show what becomes of the configuration of The Littlest JupyterHub, of the accounts that it"
        " has made, and of the packages in its environment. With --yes, do it: write a fragment and"
        " a list of packages, and let people keep their accounts. Homes, and TLJH itself, are not"
        " changed.",
    )
    parser.add_argument(
        "directory", metavar="DIRECTORY", nargs="?", type=Path, default=Path("/opt/tljh")
    )
    parser.add_argument("--yes", action="store_true", help="do it, instead of only showing it")


def requirements_file(layout: Layout) -> Path:
    """Return the list of packages, for `littlest-hub environment import`."""
    return table.directory(layout).parent / "from-tljh.txt"


def _run(layout: Layout, options: argparse.Namespace) -> int:
    found = tree.read(options.directory)
    converted = convert(found.config)
    file = layout.on_disk(layout.fragments) / FRAGMENT
    text = _text(options.directory, converted)
    print(f"{options.directory / 'config/config.yaml'}:")
    for key, what in converted.report:
        print(f"  {key}: {what}")
    accounts = _new_accounts(layout, found)
    print(f"Accounts that people keep, with their homes: {len(accounts)}")
    for login, account in sorted(accounts.items()):
        print(f"  {login}: {account.name}, {account.home}")
    print(f"Packages that somebody asked for: {len(found.packages)}")
    for line in _remaining(layout, found, converted):
        print(f"To do: {line}")
    if not options.yes:
        print(f"\n{file} would be:\n\n{text}\nNothing is changed. To do it, add --yes.")
        return 0
    _write(layout, file, text, accounts, tree.requirements(found.packages))
    print(f"Written: {file}, {requirements_file(layout)}")
    print(f"Apply it: {as_typed(f'systemctl reload {layout.hub_service}')}")
    return 0


def _text(directory: Path, converted: Converted) -> str:
    head = [f"# Taken over from The Littlest JupyterHub in {directory}; yours from now on."]
    return "\n".join([*head, *converted.lines]) + "\n"


def _new_accounts(layout: Layout, found: Tree) -> dict[str, Account]:
    """Return the accounts of TLJH that are not in the table yet."""
    known = table.read(layout)
    return {
        login: Account(account.pw_name, account.pw_uid, account.pw_dir)
        for login, account in found.accounts().items()
        if login not in known.accounts and not known.is_taken(account.pw_name)
    }


def _remaining(layout: Layout, found: Tree, converted: Converted) -> Iterator[str]:
    settings = fragment.read(layout)
    if settings.login != converted.login:
        yield f'LOGIN = "{converted.login}" in {STACK_FRAGMENT}, where it is "{settings.login}"'
    if settings.account_prefix != tree.PREFIX:
        yield f'ACCOUNT_PREFIX = "{tree.PREFIX}" in {STACK_FRAGMENT}, for new people'
    for path in found.fragments:
        yield f"look at {path}, which is Python and not converted"
    if found.packages:
        yield f"{layout.command} environment import {requirements_file(layout)}"
    if _SUDOERS.exists():
        yield f"rm {_SUDOERS}: administrators of TLJH keep sudo with it"
    yield "systemctl disable --now jupyterhub traefik, which are TLJH"


def _write(
    layout: Layout, file: Path, text: str, accounts: Mapping[str, Account], packages: str
) -> None:
    with new_file(file) as out:
        out.write(text.encode())
    file.chmod(0o644)
    try:
        report = check_fragments(layout)
        if report.errors:
            raise LittlestHubError("\n".join(map(str, report.errors)), "Nothing is changed")
        with table.changing(layout):
            found = table.read(layout)
            for login, account in accounts.items():
                found = found.with_account(login, account)
            table.save(layout, found)
        requirements_file(layout).write_text(packages)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
