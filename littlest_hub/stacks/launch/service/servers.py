"""The servers of one person at JupyterHub, read, started and stopped with that person's token.

The service has no rights over anybody's servers. JupyterHub's REST API: its documentation,
"JupyterHub REST API", `/users/{name}/servers/{server_name}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.settings import OPTION

_TIMEOUT_S = 30
"""More than the 10 s after which JupyterHub answers that a server is still starting."""
_STOP_S = 90
_POLL_S = 0.25
_MOST_SHARED = 200
"""The most servers of others that are listed."""


@dataclass(frozen=True)
class Server:
    """A server of the person, running or not."""

    name: str
    url: str
    is_ready: bool
    is_active: bool
    """Whether it runs, starts, or stops."""
    configuration: str
    """The id with which it was started last; "": it was not launched."""

    @classmethod
    def of_json(cls, model: Mapping[str, Any]) -> Server:
        """Return a server as JupyterHub describes it."""
        configuration = ""
        with contextlib.suppress(ValueError):
            configuration = checked_id((model["user_options"] or {}).get(OPTION))
        return cls(
            str(model["name"]),
            str(model["url"]),
            bool(model["ready"]),
            not model["stopped"],
            configuration,
        )


@dataclass(frozen=True)
class Person:
    """A person at JupyterHub."""

    since: str
    """Time at which the hub added the person."""
    servers: Mapping[str, Server]
    groups: tuple[str, ...] = ()
    is_admin: bool = False


@dataclass(frozen=True)
class GroupVolume:
    """A volume of a group, as the hub describes it to a person."""

    name: str
    group: str
    owner: str
    is_offered: bool
    """Whether the person may have it in a server."""
    may_write: bool
    is_written_by_all: bool
    """Whether all members of the group may write."""
    may_delete: bool
    members: tuple[str, ...] = ()
    """Members of the group, for those who may delete it."""
    others: int = 0
    """The number of further members."""


@dataclass(frozen=True)
class GroupVolumes:
    """The volumes of groups that a person sees."""

    volumes: tuple[GroupVolume, ...] = ()
    groups: tuple[str, ...] = ()
    """Groups for which the person may make one."""
    most: int = 0
    """The most that the person may make."""

    @classmethod
    def of_json(cls, model: Mapping[str, Any]) -> GroupVolumes:
        """Return what the hub has answered."""
        found = [
            GroupVolume(**{**each, "members": tuple(each["members"])}) for each in model["volumes"]
        ]
        return cls(tuple(found), tuple(model["groups"]), int(model["most"]))

    @property
    def offered(self) -> dict[str, bool]:
        """The volumes that the person may choose: whether they may write."""
        return {each.name: each.may_write for each in self.volumes if each.is_offered}


class HubRefusalError(LittlestHubError):
    """The refusal of a request by JupyterHub.

    Args:
        said: its message.
    """

    def __init__(self, said: str) -> None:
        super().__init__(f"JupyterHub refuses: {said}")
        self.said = said


class Servers:
    """The servers of a person.

    Args:
        api_url: the address of JupyterHub's API.
        name: of the person.
        token: the person's token.
    """

    def __init__(self, api_url: str, name: str, token: str) -> None:
        self._api = api_url
        self._name = quote(name, safe="@")
        self._user = f"{api_url}/users/{self._name}"
        self._token = token
        self._starts: set[asyncio.Task[Any]] = set()

    async def person(self) -> Person:
        """Return who the person is, and all servers.

        Raises:
            LittlestHubError: JupyterHub does not tell.
        """
        model = await self._request("GET", "?include_stopped_servers=1")
        # JupyterHub leaves out fields that the token may not read.
        if "created" not in model or "servers" not in model:
            raise LittlestHubError(
                "JupyterHub does not let this service read your servers",
                "Log out of the hub and in again; if that does not help, ask the administrator",
            )
        servers = {name: Server.of_json(each) for name, each in model["servers"].items()}
        groups = tuple(str(each) for each in model.get("groups", ()))
        return Person(str(model["created"]), servers, groups, bool(model.get("admin")))

    async def start(self, name: str, configuration: str) -> None:
        """Start a server, and return as soon as JupyterHub has a page that shows how it starts.

        Args:
            name: the server, which does not run.
            configuration: the id of an approved configuration.

        Raises:
            LittlestHubError: JupyterHub refuses.
        """
        body = {"user_options": {OPTION: checked_id(configuration)}}
        # JupyterHub answers late, and starts the server even if nobody waits for the answer.
        request = asyncio.create_task(self._request("POST", self._path(name), body))
        self._starts.add(request)
        request.add_done_callback(self._starts.discard)
        while not request.done():
            await asyncio.wait([request], timeout=_POLL_S)
            if not request.done():
                server = (await self.person()).servers.get(name)
                if server and server.is_active:
                    request.add_done_callback(_retrieve)
                    return
        request.result()

    async def shared_with(self) -> list[tuple[str, str]]:
        """Return the servers of others that the person may use: owner and name.

        Raises:
            LittlestHubError: JupyterHub does not tell.
        """
        model = await self._request("GET", f"/shared?limit={_MOST_SHARED}")
        shares = model["items"] if isinstance(model, dict) else model
        servers = (each["server"] for each in shares)
        return sorted((str(each["user"]["name"]), str(each["name"])) for each in servers)

    async def apply_shares(self, name: str) -> None:
        """Let the hub give and take access to a server as the records say.

        Raises:
            LittlestHubError: it does not answer.
        """
        path = f"/launch-shares/{self._name}/{quote(name, safe='')}"
        await self._request("POST", path, {}, self._api)

    async def keep_access(self, name: str, configuration: str, access: Credentials) -> None:
        """Let the hub keep a name and a password for the next start of a server.

        Args:
            name: the server.
            configuration: the id with which it is going to be started.
            access: what its owner has typed for their folder.

        Raises:
            LittlestHubError: the hub refuses.
        """
        path = f"/launch-webdav/{self._name}/{quote(name, safe='')}"
        body = {
            "configuration": checked_id(configuration),
            "user": access.user,
            "password": access.password,
        }
        await self._request("POST", path, body, self._api)

    async def group_volumes(self) -> GroupVolumes:
        """Return the volumes of groups that the person sees.

        Raises:
            LittlestHubError: the hub does not tell.
        """
        model = await self._request("GET", f"/launch-volumes/{self._name}", base=self._api)
        try:
            return GroupVolumes.of_json(model)
        except (TypeError, KeyError, ValueError) as error:
            raise LittlestHubError("JupyterHub does not tell which volumes there are") from error

    async def make_volume(self, group: str, name: str, *, is_written_by_all: bool) -> None:
        """Make a volume for a group.

        Raises:
            LittlestHubError: the hub refuses.
        """
        body = {"group": group, "name": name, "is_written_by_all": is_written_by_all}
        await self._request("POST", f"/launch-volumes/{self._name}", body, self._api)

    async def delete_volume(self, name: str) -> None:
        """Delete a volume of a group.

        Raises:
            LittlestHubError: the hub refuses.
        """
        path = f"/launch-volumes/{self._name}/{quote(name, safe='')}"
        await self._request("DELETE", path, base=self._api)

    async def delete(self, name: str) -> None:
        """Delete a server that has stopped.

        Raises:
            LittlestHubError: JupyterHub refuses.
        """
        await self._request("DELETE", self._path(name), {"remove": True})

    async def stop(self, name: str) -> None:
        """Stop a server, and wait until it has stopped.

        Raises:
            LittlestHubError: JupyterHub refuses, or it takes too long.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                # JupyterHub refuses to stop one that still starts.
                server = await self._when(name, lambda each: each.is_ready or not each.is_active)
                if server and server.is_active:
                    await self._request("DELETE", self._path(name))
                    await self._when(name, lambda each: not each.is_active)
                return
        raise LittlestHubError(f"the server {name} did not stop within {_STOP_S} s")

    async def _when(self, name: str, is_so: Callable[[Server], bool]) -> Server | None:
        """Return a server as soon as something is so, or None once there is no such server."""
        while True:
            server = (await self.person()).servers.get(name)
            if server is None or is_so(server):
                return server
            await asyncio.sleep(_POLL_S)

    def _path(self, name: str) -> str:
        return f"/servers/{quote(name, safe='')}"

    async def _request(self, method: str, path: str, body: object = None, base: str = "") -> Any:
        try:
            # The shared client makes requests wait for ten others, and JupyterHub says only after
            # ten seconds that a server is still starting.
            with contextlib.closing(AsyncHTTPClient(force_instance=True)) as client:
                answer = await client.fetch(
                    (base or self._user) + path,
                    method=method,
                    # A body of DELETE says that the server is removed.
                    allow_nonstandard_methods=True,
                    headers={"Authorization": f"token {self._token}"},
                    body=json.dumps(body) if body is not None else None,
                    request_timeout=_TIMEOUT_S,
                    follow_redirects=False,
                )
            is_json = answer.headers.get("Content-Type", "").startswith("application/json")
            return json.loads(answer.body) if is_json and answer.body else {}
        except HTTPClientError as error:
            raise HubRefusalError(_message(error)) from error
        except (OSError, ValueError) as error:
            raise LittlestHubError("JupyterHub does not answer; try again in a moment") from error


def _message(error: HTTPClientError) -> str:
    """Return what JupyterHub has said."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        return str(json.loads(error.response.body)["message"])[:500]
    return str(error)


def _retrieve(request: asyncio.Task[Any]) -> None:
    """Take note of an answer for which nobody waits: JupyterHub's page shows what went wrong."""
    if not request.cancelled():
        request.exception()
