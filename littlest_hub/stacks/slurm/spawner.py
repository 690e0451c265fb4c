"""Servers as batch jobs of their users.

A job may wait for hours. It is recorded in the database when it is submitted, so it keeps its place
when the hub is reloaded, restarted or killed: the next hub's spawner adopts it. `start_timeout`
counts from the moment at which Slurm starts the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import maybe_future
from tornado.web import Finish

from littlest_hub.hub import spawn_options, spawn_queue
from littlest_hub.hub.launch import (
    NotStartedError,
    no_account,
    package_environment,
    server_environment,
)
from littlest_hub.hub.spawn_queue import SpawnerWithQueue
from littlest_hub.stacks.slurm import client, commands
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import Job, Phase
from littlest_hub.stacks.slurm.queue import INTERVAL_S, WAITING_INTERVAL_S, JobQueue
from littlest_hub.stacks.slurm.settings import SlurmSettings
from littlest_hub.stacks.slurm.submission import NODE_PROGRAM, log_file, script

QUEUE = JobQueue(commands.run)
"""The jobs of this hub, as Slurm knows them."""
_TELLING: set[asyncio.Task[None]] = set()
"""Tasks that log why jobs have ended; nothing else refers to them."""
STOP_TIMEOUT_S = 60
"""Time in which a job has to end after scancel; KillWait= of slurm.conf(5) is 30 s."""


class SlurmSpawner(SpawnerWithQueue, SlurmSettings, Spawner):  # type: ignore[misc]
    """Submits a job for each server; configured as c.SlurmSpawner."""

    server: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.job: str = getattr(self, "job", "")
        self.reported: asyncio.Future[int] | None = None
        """The future of the port that the job reports; None: no report is expected."""
        self.shown: Job | None = None
        """The job, as the last query has shown it."""
        self._is_queued = False
        self._told = ""
        """The job whose end is in the journal."""

    # --- state

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.job:
            state["job"] = self.job
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.job = str(state.get("job") or begun(state).get("job") or "")
        if self.job:
            QUEUE.watch(self.job)

    def clear_state(self) -> None:
        super().clear_state()
        self.job, self.shown, self._entry, self._is_queued = "", None, None, False

    def _save_begun(self, **more: Any) -> None:
        """Record the job, so that the next hub adopts it if its server is not ready before."""
        # The job keeps its token, of which the database otherwise has only a hash.
        kept = {"job": self.job, "api_token": self.api_token, **more}
        self._save_waiting({**self.get_state(), spawn_queue.SURVIVES: kept})

    def _save_waiting(self, state: dict[str, Any]) -> None:
        """Record that the server has yet to start, with the choice of its user."""
        assert self._entry
        chosen = spawn_options.storable(self.user_options)
        self.orm_spawner.state = spawn_queue.waiting_state(state, self._entry, chosen)
        self.user.db.commit()

    # --- JupyterHub's interface

    @property
    def is_waiting(self) -> bool:
        """Whether the next hub may go on with the start, which waits for the hub or the cluster."""
        return self._is_queued or super().is_waiting

    def leave_to_next_hub(self) -> None:
        """Make the next hub submit the job if this hub has not."""
        if self._entry and self._entry.is_waiting and not begun(self.orm_spawner.state):
            self._save_waiting({})

    async def run_pre_spawn_hook(self) -> None:
        """Run the hook, submit the job or adopt the one of an earlier hub, and wait until it runs.

        Raises:
            NotStartedError: Slurm refuses the job, or the job ended while it waited.
        """
        # Without a limit: the cluster has its own queue. The hub's is closed during a reload.
        entry = self._join_queue(0)
        earlier = begun(self.orm_spawner.state)
        self._is_queued = bool(earlier)
        try:
            await entry.turn.wait()
            # Made before the job, which may report as soon as it runs.
            self.reported = asyncio.get_running_loop().create_future()
            if not await self._adopt(earlier):
                self._is_queued = False
                await maybe_future(super().run_pre_spawn_hook())
                await self._submit()
            self._is_queued = True
            await self._wait_until_running()
        except asyncio.CancelledError:
            # JupyterHub takes a spawner with a server on record and nothing pending for ready.
            self.server = None
            self.job = self.job or str(earlier.get("job", ""))
            await asyncio.shield(self._cancel())
            raise
        finally:
            self._is_queued = False

    async def start(self) -> tuple[str, int]:
        """Wait until the server in the job listens, and return its address and port.

        Raises:
            NotStartedError: the job ended before that.
        """
        assert self.reported
        while not self.reported.done():
            await asyncio.wait([self.reported], timeout=WAITING_INTERVAL_S)
            if not self.reported.done():
                await self._look_at_running()
        # The report itself says that it runs.
        job = await self._look_at_running(INTERVAL_S)
        self.reported = None
        return self._address_of(job), self.port

    def report(self, port: int) -> None:
        """Accept the port at which the server listens, as the job reports it."""
        assert self.reported
        self.port = port
        self._save_begun(port=port)
        self.reported.set_result(port)

    async def poll(self) -> int | None:
        """Return None while the job runs or may run, otherwise an exit code."""
        if not self.job:
            return 0
        try:
            job = await QUEUE.look(self.job)
        except SlurmError as error:
            self.log.warning("Job %s is taken to be running: %s", self.job, error)
            return None
        if job is None or job.phase is Phase.ENDED:
            # JupyterHub asks several times before it forgets the server.
            if self._told != self.job:
                telling = asyncio.create_task(_tell(self.log, self._log_name, self.job, job))
                _TELLING.add(telling)
                telling.add_done_callback(_TELLING.discard)
            self._told = self.job
            QUEUE.forget(self.job)
            return 0 if job and job.state == "COMPLETED" else 1
        if self._is_elsewhere(job):
            self.log.warning("Job %s was moved, or put back into the queue", self.job)
            await self._cancel()
            return 1
        return None

    def _address_of(self, job: Job) -> str:
        # In lower case, as in the database, where the name is part of a URL.
        return str(self.node_address.format(node=job.node)).lower()

    def _is_elsewhere(self, job: Job) -> bool:
        """Return whether a job has left the node of its server, where others may take the port."""
        if not (self.server and self.server.ip):
            return False
        if job.phase is Phase.RUNNING:
            return bool(self.server.ip != self._address_of(job))
        return job.phase is Phase.WAITING

    async def stop(self, now: bool = False) -> None:
        """Cancel the job, and wait until it has ended.

        Raises:
            RuntimeError: the job has not ended within `STOP_TIMEOUT_S`.
        """
        if not self.job:
            return
        is_canceled = await self._cancel()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while True:
            with contextlib.suppress(SlurmError):
                job = await QUEUE.look(self.job, age_s=1)
                if job is None or job.phase is Phase.ENDED:
                    break
            if time.monotonic() > deadline:
                raise RuntimeError(f"job {self.job} has not ended {STOP_TIMEOUT_S} s after scancel")
            await asyncio.sleep(1)
            is_canceled = is_canceled or await self._cancel()
        QUEUE.forget(self.job)
        self.job = ""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        yielded = ""
        # JupyterHub stops asking when the server has started or failed.
        while True:
            message, percent = self._message()
            if message and message != yielded:
                yield {"progress": percent, "message": message}
                yielded = message
            if spawn_queue.QUEUE.is_closed:
                raise Finish  # the page reconnects, to the next hub
            await asyncio.sleep(1)

    def _message(self) -> tuple[str, int]:
        if self.shown:
            return self.shown.progress()
        return ("The job is submitted", 5) if self.job else ("", 0)

    # --- the job

    async def _adopt(self, earlier: Mapping[str, Any]) -> bool:
        """Go on with the job of an earlier hub, if it has not ended; return whether it goes on."""
        if not earlier:
            return False
        number = str(earlier["job"])
        job = await _seen(self.log, number, WAITING_INTERVAL_S)
        if job is None or job.phase is Phase.ENDED:
            QUEUE.forget(number)
            return False
        self.log.info("Job %s of %s is still there", job.number, self._log_name)
        self.job, self.api_token, self.shown = job.number, str(earlier["api_token"]), job
        if earlier.get("port"):
            self.report(int(earlier["port"]))
        else:
            self._save_begun()
        return True

    async def _submit(self) -> None:
        await self.look_at_cluster()
        submitting = asyncio.ensure_future(self._submission())
        try:
            self.job = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # Root's helper submits it all the same.
            with contextlib.suppress(SlurmError):
                self.job = await submitting
            raise
        except SlurmError as error:
            reason = f"Slurm does not take the job: {error}"
            raise NotStartedError(reason, is_for_people=True) from error
        QUEUE.watch(self.job)
        self._save_begun()
        self.log.info("Job %s of %s is submitted", self.job, self._log_name)

    def _submission(self) -> Coroutine[Any, Any, str]:
        """Return the request that submits the job; refuse an invalid choice before it is made."""
        request = self.request_for(self.user_options)
        account = self._account()
        programs = Path(self.python).parent
        own = {name: text for name, text in self.get_env().items() if name != "PATH"}
        environment = {
            **server_environment(account.pw_name, Path(account.pw_dir), account.pw_shell, programs),
            **package_environment(self.layout),
            **own,
        }
        text = script(environment, self._program())
        options = self.sbatch_options
        return client.submit(self.layout, account.pw_name, self.name, request, text, options)

    def _program(self) -> list[str]:
        """Return the command of the job."""
        return [self.python, "-I", "-m", NODE_PROGRAM, *self.get_args()]

    def _account(self) -> pwd.struct_passwd:
        try:
            return pwd.getpwnam(self.user.name)
        except KeyError:
            raise no_account(self.user.name) from None

    @property
    def log_file(self) -> str:
        """The file on the node to which the job writes."""
        return log_file(Path(self._account().pw_dir), self.name)

    async def _wait_until_running(self) -> None:
        """Wait until the job runs: look when it reports, and from time to time before."""
        assert self.reported
        while True:
            had_reported = self.reported.done()
            if not had_reported:
                await asyncio.wait([self.reported], timeout=WAITING_INTERVAL_S)
            ages = (INTERVAL_S, 0) if self.reported.done() else (WAITING_INTERVAL_S,)
            self.shown = job = await _seen(self.log, self.job, *ages)
            self._refuse_ended(job)
            if job and job.phase is Phase.RUNNING and job.node:
                return
            if had_reported:
                await asyncio.sleep(WAITING_INTERVAL_S)

    async def _look_at_running(self, age_s: float = WAITING_INTERVAL_S) -> Job:
        """Return the job, which has to run.

        Raises:
            NotStartedError: the job does not run any more.
        """
        self.shown = job = await _seen(self.log, self.job, age_s)
        self._refuse_ended(job)
        assert job
        if job.phase is Phase.WAITING:
            await self._cancel()
            reason = f"Job {self.job} was put back into the queue by Slurm"
            raise NotStartedError(reason, is_for_people=True)
        return job

    def _refuse_ended(self, job: Job | None) -> None:
        if job is None or job.phase is Phase.ENDED:
            # Without a node, it has printed nothing: the file is that of an earlier job.
            has_printed = job is None or job.node
            where = f". What it printed is in {self.log_file}" if has_printed else ""
            raise NotStartedError(f"Job {self.job}: {_why_ended(job)}{where}", is_for_people=True)

    async def _cancel(self) -> bool:
        """Cancel the job, and return whether Slurm has accepted that."""
        if self.job:
            try:
                await client.cancel(self.layout, self.user.name, self.job)
            except SlurmError as error:
                self.log.warning("Job %s is not canceled: %s", self.job, error)
                return False
        return True


async def _seen(
    log: Any, number: str, age_s: float = INTERVAL_S, waiting_age_s: float | None = None
) -> Job | None:
    """Return a job, and wait for Slurm's answer without a limit: a start depends on it."""
    while True:
        try:
            return await QUEUE.look(number, age_s, waiting_age_s)
        except SlurmError as error:
            log.warning("Job %s: %s", number, error)
            await asyncio.sleep(WAITING_INTERVAL_S)


async def _tell(log: Any, name: str, number: str, job: Job | None) -> None:
    """Log why a job has ended, once Slurm says it: not before its last processes have ended."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    try:
        while job and job.is_unexplained and time.monotonic() < deadline:
            await asyncio.sleep(WAITING_INTERVAL_S)
            with contextlib.suppress(SlurmError):
                # The server's end makes the queue forget the job meanwhile.
                job = await QUEUE.look(number, WAITING_INTERVAL_S) or job
    finally:
        QUEUE.forget(number)
        log.warning("Job %s of %s: %s", number, name, _why_ended(job))


def _why_ended(job: Job | None) -> str:
    return job.why_ended() if job else "Slurm does not know it any more"


def begun(state: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the record of a job whose server was not ready yet; {}: there is none."""
    found: Mapping[str, Any] = (state or {}).get(spawn_queue.SURVIVES) or {}
    return found if found.get("job") and found.get("api_token") else {}
