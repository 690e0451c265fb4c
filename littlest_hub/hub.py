"""JupyterHub as a systemd service that can be reloaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tornado.tcpserver as tcpserver
from jupyterhub.app import JupyterHub
from jupyterhub.log import CoroutineLogFormatter
from tornado.web import Application, RequestHandler
from traitlets import Any as AnyTrait
from traitlets.config import Config

from littlest_hub.config import Surroundings, load
from littlest_hub.database import prepare
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.systemd import FIRST_INHERITED, inherited_sockets, notify

PENDING_TIMEOUT_S = 60
"""How long a reload waits for servers that are starting or stopping."""
REQUESTS_TIMEOUT_S = 2
"""How long it then waits for requests that are being answered."""
RELOAD_TIMEOUT_S = 150
"""How long a reload may take at all; less than TimeoutStartSec= of the unit."""


def serve(layout: Layout) -> None:
    """Run the hub; what the unit starts. Returns when it is told to stop.

    Raises:
        LittlestHubError: a fragment fails.
    """
    inherited = [each.duplicate() for each in inherited_sockets()]
    address = inherited[0].getsockname()[:2] if inherited else None
    config = load(layout, Surroundings.of_unit(hub=address))
    if done := prepare(layout):
        print(done, flush=True)
    LittlestHub.instance(loaded=config, inherited=inherited, service_of=layout)
    LittlestHub.launch_instance([])


def reload(layout: Layout, pid: int) -> None:
    """Have the hub `pid` take over a new configuration; returns when the new hub answers.

    Raises:
        LittlestHubError: the new hub does not come up.
    """
    before = _readiness(layout.readiness)
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while _readiness(layout.readiness) == before:
        if not Path(f"/proc/{pid}").exists():
            reason = "the hub did not start again with this configuration"
        elif time.monotonic() > deadline:
            reason = f"the hub did not answer within {RELOAD_TIMEOUT_S} s"
        else:
            time.sleep(0.05)
            continue
        raise LittlestHubError(f"Reload failed: {reason}", f"See: journalctl -u {layout.instance}")


class _Application(Application):  # type: ignore[misc]
    """Knows which requests are being answered."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.answering: weakref.WeakSet[Any] = weakref.WeakSet()

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        self.answering.add(request)
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: RequestHandler) -> None:
        self.answering.discard(handler.request)
        super().log_request(handler)


class _JournalFormatter(CoroutineLogFormatter):  # type: ignore[misc]
    """Prefixes each line with its priority, for `journalctl -p err` (sd-daemon(3))."""

    _PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4))

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        priority = next((p for threshold, p in self._PRIORITIES if level >= threshold), 6)
        text = str(super().format(record))
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class LittlestHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub with the configuration, the sockets and the reload of ours."""

    name = "jupyterhub"
    loaded = AnyTrait(help="the configuration, complete")
    inherited = AnyTrait((), help="listening sockets that systemd holds")
    service_of = AnyTrait(help="layout whose service this is; None in the foreground")
    on_ready = AnyTrait(help="called when this hub answers")

    _log_formatter_cls = (
        _JournalFormatter if "JOURNAL_STREAM" in os.environ else CoroutineLogFormatter
    )
    _reloading = False

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        config: Config = self.loaded
        self.update_config(config)

    def init_tornado_application(self) -> None:
        self.tornado_application = _Application(self.handlers, **self.tornado_settings)

    async def start(self) -> None:
        with _taking_over(self.inherited) as rest:
            await super().start()
        self.http_server.add_sockets(rest)
        if self.service_of:
            self.service_of.readiness.write_text(f"{os.getpid()} {time.monotonic_ns()}\n")
        notify("READY=1", f"STATUS=JupyterHub answers at {self.hub.bind_url}")
        if self.on_ready:
            self.on_ready()

    def init_signal(self) -> None:
        super().init_signal()
        # In the foreground it is the terminal that went away.
        hangup = self.reload if self.service_of else self.shutdown_cancel_tasks
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: asyncio.ensure_future(hangup())
        )

    async def reload(self) -> None:
        """Become a new hub in the same process, without losing a request or a server.

        New requests wait in the kernel's queue of the socket that systemd holds.
        """
        if self._reloading:
            return
        self._reloading = True
        notify("RELOADING=1", "STATUS=Reloading: waiting for servers that start or stop")
        # From now on the proxy opens a new connection for each request, so that none is under way
        # on an old one when we close it.
        self.http_server.conn_params.no_keep_alive = True
        # A starting server asks the hub, so keep on answering until none does.
        await self._settle(self._is_spawning, PENDING_TIMEOUT_S)
        self.http_server.stop()
        # What was accepted a moment ago has yet to be read.
        await asyncio.sleep(0.05)
        await self._settle(lambda: len(self.tornado_application.answering) > 0, REQUESTS_TIMEOUT_S)
        notify("STATUS=Reloading: starting anew")
        try:
            await self.cleanup()
        finally:
            # Through the `hub` link: it may lead to another release by now.
            python = str(self.service_of.hub / "bin" / "python3")
            for index, _ in enumerate(self.inherited):
                os.set_inheritable(FIRST_INHERITED + index, True)
            os.execv(python, [python, *sys.orig_argv[1:]])

    def _is_spawning(self) -> bool:
        return any(s.pending for user in self.users.values() for s in user.spawners.values())

    async def _settle(self, is_busy: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while is_busy() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def _taking_over(inherited: Sequence[socket.socket]) -> Iterator[list[socket.socket]]:
    """While JupyterHub binds its address: give it the inherited socket bound there already.

    Yields those that it did not ask for. JupyterHub 6.1 has no setting for a socket.
    """
    rest = list(inherited)
    bind_sockets = tcpserver.bind_sockets

    def take_or_bind(port: int, address: str | None = None, **kwargs: Any) -> list[socket.socket]:
        asked = [s for s in rest if s.getsockname()[:2] == (address, port)]
        for taken in asked:
            taken.setblocking(False)
            rest.remove(taken)
        return asked or bind_sockets(port, address=address, **kwargs)

    tcpserver.bind_sockets = take_or_bind
    try:
        yield rest
    finally:
        tcpserver.bind_sockets = bind_sockets


def _readiness(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
