"""JupyterHub's services: one that fails does not take the hub away, and is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.objects import Server
from jupyterhub.services.service import Service

from littlest_hub.hub.control import one_line
from littlest_hub.system import processes

START_TIMEOUT_S = 10
"""Time that a starting hub waits for all of its services together."""
INTERRUPT_S, TERM_S, KILL_S = 10, 5, 5
"""Time in which a service has to end after each signal. JupyterHub waits for a minute, and takes no
setting; meanwhile the next hub waits."""
RETRY_MIN_S, RETRY_MAX_S = 2, 300
SERVICES_FAIL = "without service "
"""Beginning of the list of failed services in the unit's status, from which `doctor` reads it."""
ON_DEMAND = "littlest_hub_on_demand"
"""A service whose `info` has this is started by the first request, and so not asked before."""
WATCH_S = 5
"""Time that a service without a URL has to run to count as started."""


class ServiceKeeper:
    """The services of one hub, started and kept running.

    JupyterHub exits if one of its services does not start, and waits for each in turn.

    Args:
        log: the hub's logger.
        on_change: function to call when `failures` has changed.
    """

    def __init__(self, log: Any, on_change: Callable[[], None]) -> None:
        self.failures: dict[str, str] = {}
        """Reasons why services do not work, by name."""
        self._log = log
        self._on_change = on_change
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadline: float | None = None

    async def start(self, service: Service, ssl_context: Any) -> None:
        """Start a service, and return when it works or when waiting any longer delays the hub."""
        if self._deadline is None:
            self._deadline = time.monotonic() + START_TIMEOUT_S
        is_started = asyncio.Event()
        service._proc_stopped = lambda: self._on_end(service, ssl_context)
        self._keep(service, ssl_context, is_started)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_started.wait(), max(0, self._deadline - time.monotonic()))

    def summary(self) -> str:
        """Return which services do not work, and why; "": all of them work."""
        reasons = [f"{name} ({reason})" for name, reason in self.failures.items()]
        return f"{SERVICES_FAIL}{', '.join(reasons)}" if reasons else ""

    async def stop(self, services: Iterable[Service]) -> None:
        """Stop services, and start none any more."""
        for task in self._tasks.values():
            task.cancel()
        managed = [service for service in services if service.managed]
        await asyncio.gather(*(service.stop() for service in managed), return_exceptions=True)

    def _keep(self, service: Service, ssl_context: Any, attempted: asyncio.Event) -> None:
        coroutine = self._start(service, ssl_context, attempted)
        self._tasks[service.name] = asyncio.ensure_future(coroutine)

    async def _start(self, service: Service, ssl_context: Any, attempted: asyncio.Event) -> None:
        retry_s = RETRY_MIN_S
        while reason := await self._failure(service, ssl_context, attempted):
            self._report(service.name, reason)
            self._log.error("Service %s: %s; next attempt in %d s", service.name, reason, retry_s)
            attempted.set()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)
        self._report(service.name, "")
        attempted.set()

    async def _failure(self, service: Service, ssl_context: Any, attempted: asyncio.Event) -> str:
        """Start a service if it does not run; return why it does not work; "": it does."""
        spawner = service.spawner
        if service.managed and (spawner is None or await spawner.poll() is not None):
            try:
                await service.start()
                limits = service.spawner
                limits.interrupt_timeout, limits.term_timeout = INTERRUPT_S, TERM_S
                limits.kill_timeout = KILL_S
            except Exception as error:
                return one_line(error)
        if service.info.get(ON_DEMAND):
            return ""
        if service.url:
            server = Server.from_orm(service.orm.server)
            works = server.wait_up(http=True, timeout=service.timeout, ssl_context=ssl_context)
        else:
            attempted.set()
            works = asyncio.sleep(WATCH_S)
        working = asyncio.ensure_future(works)
        try:
            while not working.done():
                await asyncio.wait([working], timeout=0.2)
                if service.managed and (status := await service.spawner.poll()) is not None:
                    # Otherwise its end would start it a second time.
                    service.spawner.stop_polling()
                    return f"exited with status {status}"
            await working
        except TimeoutError:
            return f"does not answer at {service.url} within {service.timeout} s"
        except Exception as error:
            return one_line(error)
        finally:
            working.cancel()
        return ""

    def _on_end(self, service: Service, ssl_context: Any) -> None:
        """Start a service again that has ended; JupyterHub looks every 30 s."""
        task = self._tasks[service.name]
        status = service.proc.returncode
        self._log.error("Service %s exited with status %s", service.name, status)
        if task.done() and not task.cancelled():
            self._report(service.name, f"exited with status {status}")
            self._keep(service, ssl_context, asyncio.Event())

    def _report(self, name: str, reason: str) -> None:
        if reason != self.failures.get(name, ""):
            self.failures.pop(name, None)
            if reason:
                self.failures[name] = reason
            self._on_change()


class HubWithServices(JupyterHub):  # type: ignore[misc]
    """JupyterHub whose regular look at services does not start those on demand."""

    log: Any
    _service_map: Mapping[str, Service]

    async def check_services_health(self) -> None:
        for service in self._service_map.values():
            if not service.url or service.info.get(ON_DEMAND):
                continue
            try:
                server = Server.from_orm(service.orm.server)
                await server.wait_up(timeout=service.timeout, http=True)
            except TimeoutError:
                self.log.warning("Service %s does not answer at %s", service.name, service.url)


def end_orphaned_services() -> None:
    """End the services of a hub that was killed, but not user servers that it forked."""
    own_cgroup = processes.cgroup(os.getpid())
    for pid in processes.process_ids():
        is_orphan = processes.parent(pid) == 1 and processes.cgroup(pid) == own_cgroup
        if is_orphan and "JUPYTERHUB_SERVICE_NAME" in processes.variables(pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
