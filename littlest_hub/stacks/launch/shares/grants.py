"""Shares of a launched server in the hub's database: those of its configuration, and no others.

JupyterHub's own API would need a right of the owner to share with any user whose name they may
read. Here the hub gives exactly what the owner has approved, so nobody needs that right.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jupyterhub import orm

SCOPES = ("access:servers", "read:servers")
"""Use the server, and see whether it runs. Never `start:servers`: whoever has that may start the
server with options of their own, and these stay."""


def apply(db: Any, server: orm.Spawner, names: Collection[str]) -> list[str]:
    """Let these users, and nobody else, have access to a server; return names of no user.

    Args:
        db: the session of the hub's database.
        server: the server's row.
        names: of users.
    """
    people = {name: orm.User.find(db, name) for name in names}
    wanted = {user.id for user in people.values() if user is not None}
    scopes = orm.Share.apply_filter(SCOPES, server)
    for share in db.query(orm.Share).filter_by(spawner_id=server.id):
        if share.user_id not in wanted or {*share.scopes} != scopes:
            db.delete(share)
    # A code gives access to whoever has it.
    for code in db.query(orm.ShareCode).filter_by(spawner_id=server.id):
        db.delete(code)
    db.commit()
    for user in people.values():
        if user is not None:
            orm.Share.grant(db, server, user, [*scopes])
    return sorted(name for name, user in people.items() if user is None)


def withdraw(db: Any, server: orm.Spawner) -> None:
    """Take the access that `apply` has given; what somebody has given otherwise stays."""
    scopes = orm.Share.apply_filter(SCOPES, server)
    for share in db.query(orm.Share).filter_by(spawner_id=server.id):
        if {*share.scopes} == scopes:
            db.delete(share)
    db.commit()


def has_access(db: Any, server: orm.Spawner, user: orm.User) -> bool:
    """Return whether a server is shared with a user, by name."""
    share = orm.Share.find(db, server, user)
    return share is not None and {*share.scopes} >= orm.Share.apply_filter(SCOPES, server)
