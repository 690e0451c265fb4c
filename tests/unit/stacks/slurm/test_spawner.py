"""A server as a job: submitted, waiting, running, lost; with commands that answer as Slurm does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socketserver
import stat
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Hub, Server
from jupyterhub.user import User
from tornado.web import HTTPError
from traitlets import TraitError
from traitlets.config import Config

from littlest_hub.hub import spawn_queue
from littlest_hub.hub.launch import NotStartedError
from littlest_hub.hub.spawn_queue import SpawnQueue
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.slurm import client, commands, helper, settings, spawner
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.queue import JobQueue
from littlest_hub.stacks.slurm.spawner import SlurmSpawner

ME = pwd.getpwuid(os.getuid()).pw_name
# Jobs are files: their first line is what squeue prints of them.
COMMANDS = {
    "runuser": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "sbatch": (
        "[ -e refuse ] && { cat refuse >&2; exit 1; }\n"
        'echo "$@" >arguments; cat >script; number=$(($(cat number) + 1)); echo $number >number\n'
        'echo "$number|PENDING|n/a|N/A|N/A|main|1:00:00|Priority" >.new\n'
        "mv .new job-$number; echo $number"
    ),
    "squeue": (
        '[ -e away ] && { echo "Unable to contact slurm controller" >&2; exit 1; }\n'
        'echo "$@" >asked\n'
        'cat job-* 2>/dev/null || { echo "Invalid job id specified" >&2; exit 1; }'
    ),
    "scancel": (
        "for last; do :; done\n"
        'echo "$last|CANCELLED|c1|N/A|N/A|main|1:00:00|None" >.gone; mv .gone job-$last'
    ),
    "sinfo": 'cat partitions || { echo "sinfo: error" >&2; exit 1; }',
    "scontrol": (
        "[ -e denied ] && { cat denied >&2; exit 1; }\n"
        'echo "$@" >>updated; number=${2#JobId=}\n'
        'echo "$number|RUNNING|c1|N/A|2099-01-01T00:00:00|main|1:00:00|None" >job-$number'
    ),
}


class Cluster:
    """A directory with commands of Slurm's names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "number").write_text("30")
        for name, script in COMMANDS.items():
            self.program(name, script)

    def program(self, name: str, script: str) -> None:
        program = self.directory / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncd {self.directory}\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def set(self, number: str, state: str, node: str = "c1", end: str = "N/A") -> None:
        # A query may read it at the same moment.
        new = self.directory / ".set"
        new.write_text(f"{number}|{state}|{node}|N/A|{end}|main|1:00:00|None\n")
        new.rename(self.directory / f"job-{number}")

    def state(self, number: str) -> str:
        return (self.directory / f"job-{number}").read_text().split("|")[1]

    def jobs(self) -> list[str]:
        return sorted(each.name for each in self.directory.glob("job-*"))

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()


class Helper(socketserver.BaseRequestHandler):
    """Root's helper, as systemd starts it for each connection, with the rights of this process."""

    def handle(self) -> None:
        chunks = iter(lambda: self.request.recv(65536), b"")
        layout: Layout = self.server.layout  # type: ignore[attr-defined]
        with self.request.makefile("w") as hub:
            helper.serve(layout, b"".join(chunks), hub)


@contextlib.contextmanager
def serving(address: Path, layout: Layout) -> Iterator[None]:
    """Answer requests at a socket."""
    with socketserver.ThreadingUnixStreamServer(str(address), Helper) as server:
        server.layout = layout  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    (layout.fragments / "60-mine.py").write_text("c.SlurmSpawner.prolong_hours = 2\n")
    monkeypatch.setattr(client, "address_of", lambda _: tmp_path / "helper")
    # The account of this process may be one of the system's.
    monkeypatch.setattr("littlest_hub.helpers.hooks.FIRST_UID", 0)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(spawner, "QUEUE", JobQueue(commands.run))
    monkeypatch.setattr(settings, "CLUSTER", settings.Cluster())
    monkeypatch.setattr(spawner, "WAITING_INTERVAL_S", 0.01)
    monkeypatch.setattr("littlest_hub.stacks.slurm.queue.WAITING_INTERVAL_S", 0.01)
    monkeypatch.setattr("littlest_hub.stacks.slurm.queue.SPACING_S", 0.01)
    monkeypatch.setattr("littlest_hub.stacks.slurm.queue.MAX_PAUSE_S", 0.01)
    monkeypatch.setattr(spawn_queue, "QUEUE", SpawnQueue())
    with serving(tmp_path / "helper", layout):
        yield Cluster(tmp_path)


def make(user: Any = None, config: Config | None = None) -> SlurmSpawner:
    """Return a spawner as JupyterHub makes it when a server is to start."""
    if user is None:
        db = orm.new_session_factory("sqlite:///:memory:")()
        row = orm.User(name=ME)
        # The client of the tokens of the hub's own pages.
        client = orm.OAuthClient(identifier="jupyterhub")
        db.add_all([row, orm.Spawner(name="", user=row), client])
        db.commit()
        user = User(row, {"config": config or Config()})
    made = user._new_spawner(
        "", spawner_class=SlurmSpawner, hub=Hub(), layout=Layout(DEFAULT_BASE), python="/python3"
    )
    assert isinstance(made, SlurmSpawner)
    made.clear_state()
    made.api_token, made.user_options = "a-secret", {}
    made._start_pending = True
    return made


async def until_submitted(made: SlurmSpawner) -> asyncio.Task[None]:
    waiting = asyncio.create_task(made.run_pre_spawn_hook())
    while not made.job and not waiting.done():
        await asyncio.sleep(0.01)
    return waiting


async def killed(made: SlurmSpawner, waiting: asyncio.Task[None]) -> None:
    """End a spawner's work as the end of the hub's process does: the job stays."""
    made.job = ""  # there is nothing that it could cancel
    waiting.cancel()
    await asyncio.wait([waiting])
    if spawner.QUEUE._query:
        await spawner.QUEUE._query
    # The next hub knows no answer of this one's, however young.
    spawner.QUEUE = JobQueue(commands.run)


def in_a_loop(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(what, 60))


async def started(made: SlurmSpawner, cluster: Cluster, node: str = "c1") -> tuple[str, int]:
    """Start a server that listens at port 4321, and record it as JupyterHub does."""
    waiting = await until_submitted(made)
    cluster.set(made.job, "RUNNING", node)
    await waiting
    starting = asyncio.create_task(made.start())
    await asyncio.sleep(0)
    made.report(4321)
    host, port = await starting
    made.server = Server(
        orm_server=orm.Server(
            proto="http", ip=host, port=port, base_url="/user/", cookie_name="name"
        )
    )
    made.orm_spawner.state = made.get_state()
    made._start_pending = False
    return host, port


def test_a_job_waits_runs_and_reports_its_port(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        waiting = await until_submitted(made)
        assert made.is_waiting, "a hub that is replaced does not wait for the cluster"
        progress = [event async for event in _first(made.progress())]
        assert "Job 31 waits in the queue" in progress[0]["message"]
        cluster.set("31", "RUNNING")
        await waiting
        assert not made.is_waiting
        starting = asyncio.create_task(made.start())
        await asyncio.sleep(0.05)
        assert not starting.done(), "it waits for the port"
        made.report(4321)
        assert await starting == ("c1", 4321)
        assert await made.poll() is None

    in_a_loop(scenario())


def test_a_server_that_reports_is_ready_without_waiting_for_the_next_look(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(spawner, "WAITING_INTERVAL_S", 3600)
        asked = cluster.directory / "asked"
        made = make()
        waiting = await until_submitted(made)
        cluster.set("31", "RUNNING")
        await asyncio.sleep(0.05)
        assert not asked.exists(), "nobody gains from a look before the job can run"
        made.report(4321)
        await waiting
        asked.unlink()
        assert await made.start() == ("c1", 4321)
        assert not asked.exists(), "the answer after the report has its node"

    in_a_loop(scenario())


def test_a_report_from_elsewhere_does_not_start_a_server_whose_job_waits(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        waiting = await until_submitted(made)
        made.report(4321)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        cluster.set("31", "RUNNING")
        await waiting
        assert await made.start() == ("c1", 4321)

    in_a_loop(scenario())


async def _first(events: Any) -> Any:
    async for event in events:
        if "submitted" not in event["message"]:
            yield event
            return


def test_the_token_is_in_the_script_and_in_no_argument(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        made.environment = {"GREETING": "it's $HOME\n`id`"}
        waiting = await until_submitted(made)
        arguments, script = cluster.read("arguments"), cluster.read("script")
        assert "a-secret" not in arguments
        assert "export JUPYTERHUB_API_TOKEN=a-secret\n" in script
        assert "export GREETING='it'\"'\"'s $HOME\n`id`'\n" in script
        assert script.endswith("exec /python3 -I -m littlest_hub.stacks.slurm.node\n")
        assert "--no-requeue" in arguments
        waiting.cancel()
        await asyncio.wait([waiting])

    in_a_loop(scenario())


def test_a_server_finds_the_programs_of_its_release_where_the_node_has_them(
    cluster: Cluster,
) -> None:
    async def scenario() -> None:
        made = make()
        made.python = "/software/hub/bin/python3"
        waiting = await until_submitted(made)
        assert "export PATH=/software/hub/bin:" in cluster.read("script")
        waiting.cancel()
        await asyncio.wait([waiting])

    in_a_loop(scenario())


def test_what_slurm_says_when_it_refuses_a_job_is_what_people_read(cluster: Cluster) -> None:
    async def scenario() -> None:
        refusal = "sbatch: error: Batch job submission failed: Invalid partition name specified"
        (cluster.directory / "refuse").write_text(refusal)
        with pytest.raises(NotStartedError, match="Invalid partition name specified"):
            await make().run_pre_spawn_hook()
        assert cluster.jobs() == []

    in_a_loop(scenario())


def test_an_option_out_of_its_limits_submits_nothing(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make(config=Config({"SlurmSpawner": {"partitions": {"main": {"hours": 8}}}}))
        made.user_options = {"hours": "9"}
        with pytest.raises(HTTPError, match="hours: expected a number"):
            await made.run_pre_spawn_hook()
        assert cluster.jobs() == []

    in_a_loop(scenario())


def test_more_than_the_cluster_has_is_refused_before_slurm_would_let_it_wait(
    cluster: Cluster,
) -> None:
    async def scenario() -> None:
        (cluster.directory / "partitions").write_text("main|up|1:00:00|2|4000||main*\n")
        limits = {"main": {"hours": 8}, "gpu": {"gpus": 1}}
        config = Config({"SlurmSpawner": {"partitions": limits}})
        for chosen, said in (
            ({"hours": "2"}, "hours: expected a number from 0.02 to 1"),
            ({"processors": "3"}, "processors: expected a whole number from 1 to 2"),
            ({"partition": "gpu"}, "partition: expected one of main"),
        ):
            made = make(config=config)
            made.user_options = chosen
            with pytest.raises(HTTPError, match=said):
                await made.run_pre_spawn_hook()
        assert cluster.jobs() == []

    in_a_loop(scenario())


def test_people_who_come_at_once_ask_slurm_once_also_if_it_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def fails(command: list[str]) -> str:
        asked.append(command)
        await asyncio.sleep(0)
        raise SlurmError("no answer", is_silent=True)

    async def scenario() -> None:
        monkeypatch.setattr(commands, "run", fails)
        crowd = [settings.CLUSTER.partitions() for _ in range(200)]
        found = await asyncio.gather(*crowd, return_exceptions=True)
        assert {str(each) for each in found} == {"no answer"}
        assert len(asked) == 1

    in_a_loop(scenario())


@pytest.mark.parametrize("has_reported", [False, True])
def test_the_next_hub_adopts_a_job_with_its_token_and_place(
    cluster: Cluster, has_reported: bool
) -> None:
    async def scenario() -> None:
        made = make()
        db = made.user.db
        made.api_token = token = made.user.orm_user.new_api_token()
        waiting = await until_submitted(made)
        if has_reported:
            cluster.set("31", "RUNNING")
            await waiting
            made.report(4321)
        await killed(made, waiting)
        (interrupted,) = spawn_queue.take_interrupted(db)
        assert interrupted.user == ME
        assert orm.APIToken.find(db, token), "the job has it"
        assert spawn_queue.take_interrupted(db) == [interrupted], "this hub may fail too"
        next_one = make(made.user)
        next_one.api_token = "another"
        resumed = asyncio.create_task(next_one.run_pre_spawn_hook())
        cluster.set("31", "RUNNING")
        await resumed
        assert cluster.jobs() == ["job-31"], "no second job"
        assert (next_one.job, next_one.api_token) == ("31", token)
        starting = asyncio.create_task(next_one.start())
        if not has_reported:
            await asyncio.sleep(0)
            next_one.report(4321)
        assert await starting == ("c1", 4321)

    in_a_loop(scenario())


def test_a_hub_that_ends_leaves_what_it_has_not_submitted_to_the_next(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        spawn_queue.QUEUE.close()
        waiting = asyncio.create_task(made.run_pre_spawn_hook())
        await asyncio.sleep(0)
        made.leave_to_next_hub()
        waiting.cancel()
        await asyncio.wait([waiting])
        (interrupted,) = spawn_queue.take_interrupted(made.user.db)
        assert (interrupted.user, interrupted.has_begun) == (ME, False)
        assert cluster.jobs() == []

    in_a_loop(scenario())


def test_a_job_that_ended_meanwhile_is_submitted_again(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        made.api_token = made.user.orm_user.new_api_token()
        await killed(made, await until_submitted(made))
        spawn_queue.take_interrupted(made.user.db)
        cluster.set("31", "CANCELLED")
        next_one = make(made.user)
        waiting = await until_submitted(next_one)
        assert next_one.job == "32"
        waiting.cancel()
        await asyncio.wait([waiting])

    in_a_loop(scenario())


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "COMPLETED"])
def test_a_job_that_ends_before_its_server_listens_names_its_log(
    cluster: Cluster, state: str
) -> None:
    async def scenario() -> None:
        made = make()
        waiting = await until_submitted(made)
        cluster.set("31", "RUNNING")
        await waiting
        starting = asyncio.create_task(made.start())
        await asyncio.sleep(0.02)
        cluster.set("31", state)
        with pytest.raises(NotStartedError, match=r"Job 31: .*\.jupyterhub\.log") as raised:
            await starting
        assert "Job 31: " in raised.value.jupyterhub_html_message  # shown at once

    in_a_loop(scenario())


def test_a_job_that_is_canceled_before_it_had_a_node_names_no_log(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        waiting = await until_submitted(made)
        cluster.set("31", "CANCELLED", node="n/a")
        with pytest.raises(NotStartedError) as raised:
            await waiting
        assert raised.value.jupyterhub_message == "Job 31: somebody cancelled it, or Slurm did"

    in_a_loop(scenario())


def test_the_end_of_a_job_is_in_the_journal_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    async def scenario() -> None:
        made = make()
        monkeypatch.setattr(made.log, "warning", lambda *words: said.append(words))
        made.job = "31"
        cluster.set("31", "TIMEOUT")
        assert [await made.poll() for _ in range(3)] == [1, 1, 1]
        await asyncio.gather(*spawner._TELLING)

    in_a_loop(scenario())
    assert said == [("Job %s of %s: %s", "31", ME, "its time limit was reached")]


def test_the_hub_notices_an_end_at_once_and_logs_its_reason_when_slurm_says_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    async def scenario() -> None:
        made = make()
        monkeypatch.setattr(made.log, "warning", lambda *words: said.append(words))
        made.job = "31"
        cluster.program("scancel", "true")
        cluster.set("31", "COMPLETING")
        assert await made.poll() == 1
        await made.stop()
        assert not said
        cluster.set("31", "PREEMPTED")
        await asyncio.gather(*spawner._TELLING)

    in_a_loop(scenario())
    reason = "Slurm gave its resources to a job of higher priority"
    assert said == [("Job %s of %s: %s", "31", ME, reason)]


@pytest.mark.parametrize(
    ("state", "node", "code"),
    [
        ("RUNNING", "c1", None),
        ("SUSPENDED", "c1", None),
        ("HIBERNATING", "c1", None),
        ("TIMEOUT", "c1", 1),
        ("NODE_FAIL", "c1", 1),
        ("COMPLETED", "c1", 0),
        # After its node has failed, an administrator has put it back into the queue.
        ("PENDING", "n/a", 1),
        ("RUNNING", "c2", 1),
    ],
)
def test_the_hub_knows_whether_a_server_is_where_its_route_leads(
    cluster: Cluster, state: str, node: str, code: int | None
) -> None:
    async def scenario() -> None:
        made = make()
        await started(made, cluster)
        cluster.set("31", state, node)
        spawner.QUEUE._asked_at = float("-inf")
        assert await made.poll() == code
        if state in ("PENDING", "RUNNING") and code:
            assert cluster.state("31") == "CANCELLED", "no orphan"

    in_a_loop(scenario())


def test_a_job_that_takes_its_time_to_end_is_canceled_until_slurm_accepts_it_and_not_again(
    cluster: Cluster,
) -> None:
    async def scenario() -> None:
        made = make()
        await started(made, cluster)
        # Refuses the first time; the job has ended when it is asked about the third time.
        cluster.program("scancel", "echo >>tries; [ $(wc -l <tries) -gt 1 ]")
        ended = "31|CANCELLED|c1|N/A|N/A|main|1:00:00|None"
        ask = f"echo >>asks; [ $(wc -l <asks) -gt 2 ] && echo '{ended}' >job-31; cat job-31"
        cluster.program("squeue", ask)
        await made.stop()
        assert cluster.read("tries").count("\n") == 2
        assert cluster.read("asks").count("\n") == 3

    in_a_loop(scenario())


def test_a_controller_that_is_away_stops_no_server(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        await started(made, cluster)
        (cluster.directory / "away").touch()
        spawner.QUEUE._asked_at = float("-inf")
        assert await made.poll() is None
        (cluster.directory / "away").unlink()
        await made.stop()
        assert cluster.state("31") == "CANCELLED"
        assert made.job == ""
        assert await made.poll() == 0

    in_a_loop(scenario())


def test_a_server_that_is_canceled_while_it_waits_leaves_no_job(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        waiting = await until_submitted(made)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert cluster.state("31") == "CANCELLED"

    in_a_loop(scenario())


def test_a_restarted_hub_finds_the_job_of_a_server_that_runs(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = make()
        await started(made, cluster)
        state = json.loads(json.dumps(made.orm_spawner.state))
        found = make(made.user)
        found.load_state(state)
        assert found.job == "31"
        assert await found.poll() is None

    in_a_loop(scenario())


@pytest.mark.parametrize(
    "partitions", [{"main; id": {}}, {"main": {"days": 1}}, {"main": {"hours": "8"}}]
)
def test_a_wrong_partition_is_refused_with_the_line_of_the_fragment(
    partitions: dict[str, Any],
) -> None:
    with pytest.raises(TraitError):
        make(config=Config({"SlurmSpawner": {"partitions": partitions}}))
