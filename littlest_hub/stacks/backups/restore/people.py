"""A person's part of a backup: the home, and what in it they may read."""

from __future__ import annotations

import os
import posixpath
import pwd
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.discovery import enabled_stacks
from littlest_hub.manifest.manifest import resolve
from littlest_hub.system.restic import Node, Repository
from littlest_hub.units.names import FIRST_UID

MOST_ENTRIES = 2000
"""The most entries of a directory that are listed."""


@dataclass(frozen=True)
class Person:
    """Somebody with an account of this machine."""

    account: str
    uid: int
    gid: int
    home: str

    @classmethod
    def of(cls, account: str) -> Person:
        """Return the person of an account.

        Raises:
            LittlestHubError: there is no such account, or it is one of the system.
        """
        try:
            found = pwd.getpwnam(account)
        except (KeyError, ValueError):
            raise LittlestHubError(
                f"{account!r} has no account on this machine",
                "Make the account first, without a home directory if all of it has to come back:\n"
                f"useradd --no-create-home --shell /bin/bash {shlex.quote(account)}",
            ) from None
        # Backups have files under the paths that no link leads to.
        home = os.path.realpath(found.pw_dir)
        if found.pw_uid < FIRST_UID or home == "/" or not found.pw_dir.startswith("/"):
            raise LittlestHubError(f"{account} is an account of the system")
        return cls(account, found.pw_uid, found.pw_gid, home)

    @cached_property
    def groups(self) -> Sequence[int]:
        """The numbers of all groups of the account."""
        return os.getgrouplist(self.account, self.gid)

    def path_of(self, given: str) -> str:
        """Return the absolute path of something in the home; "" is the home itself.

        Raises:
            LittlestHubError: it is not in the home.
        """
        path = posixpath.normpath(posixpath.join(self.home, given))
        is_inside = path == self.home or path.startswith(f"{self.home}/")
        if not is_inside or "\0" in given or ".." in given.split("/"):
            raise LittlestHubError(f"{given!r} is not in {self.home}")
        return path

    def may_read(self, uid: int, gid: int, mode: int) -> bool:
        """Return whether the owner, group and permissions let the person read something."""
        return self._may(4, uid, gid, mode)

    def may_enter(self, uid: int, gid: int, mode: int) -> bool:
        """Return whether they let the person reach what is in a directory."""
        return self._may(1, uid, gid, mode)

    def _may(self, bit: int, uid: int, gid: int, mode: int) -> bool:
        if uid == self.uid:
            return True  # as owner, one can change the permissions
        return bool(mode & (bit << 3 if gid in self.groups else bit))


def account_of(layout: Layout, name: str) -> str:
    """Return the account of a user of the hub."""
    accounts: dict[str, str] = {}
    for stack in enabled_stacks(layout, layout.hub.resolve()).values():
        if stack.manifest.accounts:
            accounts |= resolve(stack.manifest.accounts)(layout)
    return accounts.get(name, name)


def above(home: str, path: str) -> list[str]:
    """Return the directories from a home to the one that contains a path, and the path itself."""
    found = [home]
    for part in path.removeprefix(home).strip("/").split("/"):
        if part:
            found.append(f"{found[-1]}/{part}")
    return found


def reached(person: Person, nodes: Mapping[str, Node], path: str) -> Node:
    """Return the entry at a path, if the person could reach and read it when it was backed up.

    Args:
        person: who asks.
        nodes: entries by path; at least those on the way.
        path: absolute, in the person's home.

    Raises:
        LittlestHubError: it is not in the backup, or not for this person.
    """
    *directories, _ = above(person.home, path)
    home = nodes.get(person.home)
    # An account of the same name may have been that of somebody else.
    if home is None or home.kind != "dir" or home.uid != person.uid:
        raise LittlestHubError("this backup contains no home directory of yours")
    for each in directories:
        node = nodes.get(each)
        if node is None or not person.may_enter(node.uid, node.gid, node.mode):
            raise LittlestHubError(_missing(path))
    found = nodes.get(path)
    if found is None or not person.may_read(found.uid, found.gid, found.mode):
        raise LittlestHubError(_missing(path))
    return found


def _missing(path: str) -> str:
    # The same in both cases: whether others have something is not told.
    return f"{posixpath.basename(path)!r} is not in this backup, or you may not read it"


def look(repository: Repository, snapshot: str, person: Person, path: str) -> dict[str, Node]:
    """Return the entries of a backup from the person's home to a path, and those in it, by path.

    Raises:
        LittlestHubError: the repository cannot be read.
    """
    return {node.path: node for node in repository.nodes(snapshot, *above(person.home, path))}


def readable(person: Person, nodes: Iterable[Node], path: str) -> list[Node]:
    """Return the entries of a directory that the person may read, directories first."""
    found = [
        node
        for node in nodes
        if posixpath.dirname(node.path) == path
        and node.kind in ("dir", "file", "symlink")
        and person.may_read(node.uid, node.gid, node.mode)
    ]
    return sorted(found, key=lambda node: (node.kind != "dir", node.name.casefold(), node.name))
