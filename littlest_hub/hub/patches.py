"""Patches of upstream code that hold as long as a hub runs: why, and when each can be deleted.

With another JupyterHub than `TESTED_JUPYTERHUB`, patches that fix no vulnerability are left out and
the log says so once. A fix of a vulnerability is applied to every version. If the code that the fix
replaces is gone, the hub does not start: someone has to find out first whether it is vulnerable.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jupyterhub
import jupyterhub.auth
import jupyterhub.user
import tornado.httpserver as httpserver
import tornado.tcpserver as tcpserver
from jupyterhub import orm
from jupyterhub.apihandlers import default_handlers
from jupyterhub.auth import LocalAuthenticator
from jupyterhub.handlers import login
from jupyterhub.spawner import Spawner
from jupyterhub.user import User
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from tornado.httpserver import HTTPServer

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import TESTED_JUPYTERHUB, database, handlers
from littlest_hub.hub.helper_client import HelperPamela
from littlest_hub.hub.root_hooks import add_system_user
from littlest_hub.hub.spawn_queue import is_waiting
from littlest_hub.system.addresses import addresses_of


def apply(log: Any) -> None:
    """Patch JupyterHub.

    Raises:
        LittlestHubError: the fix of a vulnerability does not fit this version of JupyterHub.
    """
    _separate_oauth_clients()
    _wrap_handlers()
    if jupyterhub.__version__ != TESTED_JUPYTERHUB:
        log.warning(
            "JupyterHub is %s; expected %s: deleting a user whose server waits to start fails,"
            " and starting the hub takes longer",
            jupyterhub.__version__,
            TESTED_JUPYTERHUB,
        )
        return
    User.delete_spawners = _cancel_waiting_and_delete_spawners
    orm.check_db_revision = _check_db_revision
    login.Template = functools.lru_cache(maxsize=16)(login.Template)


# --- CVE-2026-108752: OAuth clients that two servers share
#
# "-" separates user and server in the identifier of a server's OAuth client, and JupyterHub 6.1.1
# leaves it in the names as well: user "alice-prod" has the client of server "prod" of "alice".
# Can go with the first JupyterHub that the advisory names as fixed; see construct/advisories.yaml.


def _separate_oauth_clients() -> None:
    # `jupyterhub.user` uses this function for these identifiers only.
    if "quote" not in User._new_spawner.__code__.co_names or not hasattr(jupyterhub.user, "quote"):
        raise LittlestHubError(
            f"JupyterHub {jupyterhub.__version__} names OAuth clients in another way than"
            f" {TESTED_JUPYTERHUB}: whether CVE-2026-108752 is fixed has to be seen first",
            "Install a release of Littlest Hub that was made for it",
        )
    jupyterhub.user.quote = _quote_hyphens


def _quote_hyphens(name: str) -> str:
    """Return the name of a user or of a server as part of the identifier of an OAuth client."""
    return quote(name, safe="").replace("-", "%2D")


def keep_oauth_client(spawner: Spawner) -> None:
    """Leave a running server the OAuth client that it was started with until it starts again.

    A hub with another JupyterHub or from before the patch above may have started it; without its
    client, no one can log in to the server. Can go when identifiers no longer differ by version.
    """
    client = spawner.orm_spawner.oauth_client
    identifier = spawner.oauth_client_id
    if spawner.orm_spawner.server is None or client is None or client.identifier == identifier:
        return
    clear_state = spawner.clear_state

    def clear_state_and_client() -> None:
        # JupyterHub calls this after a server has stopped and before it starts.
        clear_state()
        spawner.oauth_client_id = identifier

    spawner.oauth_client_id = client.identifier
    spawner.clear_state = clear_state_and_client


# --- links of other sites, and options that no one declared
#
# JupyterHub 6.1.1 starts servers and logs out in answer to GET, which a link or an image of any
# site causes, and hands all options of a link or an API request to the spawner. Can go when
# JupyterHub does so only in answer to its own forms, and accepts only declared options.


def _wrap_handlers() -> None:
    for cls, name, wrap in handlers.WRAPPERS:
        upstream = getattr(cls, name, None)
        if upstream is None:
            raise LittlestHubError(
                f"JupyterHub {jupyterhub.__version__} has no {cls.__name__}.{name}, which"
                f" {TESTED_JUPYTERHUB} has: requests of other sites would not be recognized",
                "Install a release of Littlest Hub that was made for it",
            )
        setattr(cls, name, wrap(upstream))


# --- PAM and new accounts in the hub's sandbox
#
# A module of PAM that lacks a right there may let in a locked account (pam_faillock), or refuse
# everyone. No account can be created.
# Can go when JupyterHub lets an authenticator choose how PAM and useradd are called.


def use_helpers(address: str) -> None:
    """Let root's helpers call PAM, and create accounts, for every authenticator.

    Args:
        address: socket of the PAM helper.

    Raises:
        LittlestHubError: this JupyterHub calls PAM in another way.
    """
    LocalAuthenticator.add_system_user = add_system_user
    if not hasattr(jupyterhub.auth, "pamela"):
        raise LittlestHubError(f"JupyterHub {jupyterhub.__version__} calls PAM in another way")
    if jupyterhub.auth.pamela is not None:
        jupyterhub.auth.pamela = HelperPamela(address)


# --- batchspawner's API sets any attribute of a spawner
#
# batchspawner 1.3.0 lets the token of a user server set any attribute of its spawner, with the
# rights of the hub. Can go when batchspawner accepts only a port.


def replace_batchspawner_handler(handler: type) -> None:
    """Replace batchspawner's request handler.

    Raises:
        LittlestHubError: batchspawner has registered no such handler.
    """
    from batchspawner.api import BatchSpawnerAPIHandler

    paths = [path for path, each in default_handlers if each is BatchSpawnerAPIHandler]
    if not paths:
        raise LittlestHubError("this version of batchspawner has its API in another place")
    default_handlers[:] = [
        (path, handler if each is BatchSpawnerAPIHandler else each)
        for path, each in default_handlers
    ]


def quote_batchspawner_options(quoted: Callable[[Mapping[str, Any]], Mapping[str, str]]) -> None:
    """Make batchspawner 1.3.0 quote `user_options` and names of users.

    It writes options into job scripts, and names into commands, as they are.

    Raises:
        LittlestHubError: this version writes them in another way.
    """
    from batchspawner.batchspawner import BatchSpawnerBase

    get_batch_script = getattr(BatchSpawnerBase, "_get_batch_script", None)
    get_req_subvars = getattr(BatchSpawnerBase, "get_req_subvars", None)
    if get_batch_script is None or get_req_subvars is None:
        raise LittlestHubError("this version of batchspawner writes job scripts in another way")

    def get_quoted_req_subvars(self: Any) -> dict[str, Any]:
        # Part of commands that the hub itself runs in a shell.
        found: dict[str, Any] = get_req_subvars(self)
        return {**found, "username": shlex.quote(found["username"])}

    async def get_quoted_batch_script(self: Any, **variables: Any) -> Any:
        return await get_batch_script(self, **{**variables, **quoted(self.user_options)})

    BatchSpawnerBase.get_req_subvars = get_quoted_req_subvars
    BatchSpawnerBase._get_batch_script = get_quoted_batch_script


# --- a user who is deleted while their server waits to start
#
# JupyterHub has no queue of servers: it refuses to delete a user whose server is pending, and then
# lets it start. Can go when JupyterHub cancels pending spawns of users that it deletes.

_delete_spawners = User.delete_spawners


async def _cancel_waiting_and_delete_spawners(user: User) -> None:
    spawners = user.spawners.values()
    waiting = [each._spawn_future for each in spawners if is_waiting(each)]
    for spawn in waiting:
        spawn.cancel()
    if waiting:
        await asyncio.wait(waiting)
    await _delete_spawners(user)


# --- alembic is imported only to see that there is nothing to do
#
# 0.15 s and 6 MB of each hub. Can go when JupyterHub compares revisions without alembic.

_upstream_check_db_revision = orm.check_db_revision


def _check_db_revision(engine: Engine) -> None:
    # A new database has no such table.
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == database.head():
            return
    _upstream_check_db_revision(engine)


# --- the authenticator's HTML is compiled for each login page: `login.Template` in `apply`
#
# 0.15 ms of the 1.4 ms that a login page takes the hub. Can go when JupyterHub keeps what it has
# compiled.


# --- JupyterHub 6.1 has no setting for a listening socket, and none for its HTTP server
#
# Can go when it accepts an inherited one, and another server. If it binds its address in another
# way, the hub fails to start, since the address is in use, or because there is no server.


def _serves(inherited: socket.socket, address: str, port: int) -> bool:
    """Return whether a socket is to be used instead of one that tornado would bind.

    For every address too, even if it has only one: nothing else could be bound at its port.
    """
    host, number = inherited.getsockname()[:2]
    wildcards = {"", "0.0.0.0", "::"}
    if number != port:
        return False
    return {host, address} & wildcards != set() or host in (address, *addresses_of(address))


@contextlib.contextmanager
def listening_on(
    sockets: Sequence[socket.socket], server: type[HTTPServer] = HTTPServer
) -> Iterator[list[socket.socket]]:
    """Within the block, use an inherited socket where tornado would bind its address.

    Args:
        sockets: the inherited ones.
        server: the class to use for tornado's HTTP server.

    Yields:
        The sockets that are not used so far.
    """
    unused = list(sockets)
    bind_sockets = tcpserver.bind_sockets

    def take_or_bind(port: int, address: str | None = None, **kwargs: Any) -> list[socket.socket]:
        taken = [each for each in unused if _serves(each, address or "", port)]
        for each in taken:
            each.setblocking(False)
            unused.remove(each)
        return taken or bind_sockets(port, address=address, **kwargs)

    tcpserver.bind_sockets, httpserver.HTTPServer = take_or_bind, server
    try:
        yield unused
    finally:
        tcpserver.bind_sockets, httpserver.HTTPServer = bind_sockets, HTTPServer
