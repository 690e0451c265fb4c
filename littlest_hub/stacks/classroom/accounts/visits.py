"""Visits to servers of other people, for the journal and the owner's home page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jupyterhub import orm
from sqlalchemy import select

TEMPLATES = str(Path(__file__).parent / "templates")


class Visit(NamedTuple):
    """A person whose browser may open a server of another person."""

    visitor: str
    since: str
    """The time of the first visit in UTC, as text for the owner."""

    def __str__(self) -> str:
        return f"{self.visitor} has opened your server, first at {self.since}."


def of_owner(db: Any, owner: str) -> Iterator[Visit]:
    """Yield the present visits to a person's servers: those whose token still exists."""
    query = (
        db.query(orm.APIToken, orm.User)
        .join(orm.OAuthClient, orm.APIToken.client_id == orm.OAuthClient.identifier)
        .join(orm.Spawner, orm.Spawner.oauth_client_id == orm.OAuthClient.identifier)
        .join(orm.User, orm.APIToken.user_id == orm.User.id)
        .filter(orm.Spawner.user.has(orm.User.name == owner), orm.User.name != owner)
        .order_by(orm.APIToken.created)
    )
    for token, visitor in query:
        yield Visit(visitor.name, f"{token.created:%Y-%m-%d %H:%M} UTC")


def logger(app: Any) -> Callable[..., None]:
    """Return a listener of new tokens that logs who opens the server of somebody else."""

    def inserted(_: Any, connection: Any, token: Any) -> None:
        names = (
            select(orm.User.name)
            .join(orm.Spawner, orm.Spawner.user_id == orm.User.id)
            .where(orm.Spawner.oauth_client_id == token.client_id)
        )
        owner = connection.execute(names).scalar()
        is_visitor = orm.User.id == token.user_id
        visitor = connection.execute(select(orm.User.name).where(is_visitor)).scalar()
        if owner and visitor and owner != visitor:
            app.log.warning("%s opens the server of %s", visitor, owner)

    return inserted


def notices(user: Any) -> list[str]:
    """Return the visits to a user's servers, for their JupyterLab."""
    return [str(visit) for visit in of_owner(user.db, user.name)]


def template_vars() -> dict[str, Any]:
    """Return the variable `visits` of the hub's templates."""

    def for_page(user: Any) -> Callable[[], list[Visit]]:
        # JupyterHub calls this for each page; the query runs only if a page shows visits.
        return lambda: list(of_owner(user.db, user.name)) if user else []

    return {"visits": for_page}
