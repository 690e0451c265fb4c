"""The end of a server's time: who reads of it when, and who gets more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader
from tornado.web import HTTPError
from traitlets import TraitError
from traitlets.config import Config

from littlest_hub.stacks.slurm import settings, spawner, time_limit
from littlest_hub.stacks.slurm.spawner import SlurmSpawner
from littlest_hub.stacks.slurm.time_limit import endings, notices, prolong, template_vars
from tests.unit.stacks.slurm import test_spawner
from tests.unit.stacks.slurm.test_spawner import Cluster, in_a_loop, make, started

cluster = test_spawner.cluster
WARNED = {"warn_minutes": 10, "prolong_hours": 2}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of the machine, and of what squeue prints."""
    monkeypatch.setattr(settings, "CLUSTER", settings.Cluster())
    monkeypatch.setattr(time_limit, "_TURN", asyncio.Lock())
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def ending_in(
    cluster: Cluster,
    minutes: float,
    configured: Mapping[str, Any] = WARNED,
    most: str = "8:00:00",
) -> SlurmSpawner:
    """Return a server whose job ends in some minutes, after an hour.

    Args:
        cluster: where.
        minutes: from now.
        configured: settings of the fragment.
        most: the limit of its partition.
    """
    made = make(config=Config({"SlurmSpawner": configured}))
    await started(made, cluster)
    made.user.spawners[""] = made
    assert made.ready
    (cluster.directory / "partitions").write_text(f"main|up|{most}|2|4000||main*\n")
    at = datetime.now().astimezone() + timedelta(minutes=minutes)
    await seen(cluster, f"{at:%Y-%m-%dT%H:%M:%S}")
    return made


async def seen(cluster: Cluster, end: str) -> None:
    """Let the hub see that the job ends at a time."""
    cluster.set("31", "RUNNING", end=end)
    await spawner.QUEUE.look("31", age_s=0)


def test_people_are_warned_while_there_is_time_and_not_before(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 16, {"warn_minutes": 10})
        assert await notices(made.user) == []
        at = datetime.now().astimezone() + timedelta(minutes=14)
        await seen(cluster, f"{at:%Y-%m-%dT%H:%M:%S}")
        (notice,) = await notices(made.user)
        assert notice == (
            f"Your server ends at {at:%H:%M} UTC, by the time limit of job 31. Save your work."
        )
        assert len(notice) < 140, "JupyterLab would cut it"

    in_a_loop(scenario())


def test_a_server_without_a_limit_or_that_does_not_run_ends_at_no_time(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5)
        for end in ("N/A", "Unknown", "tomorrow"):
            await seen(cluster, end)
            assert await endings(made.user) == []
        now = datetime.now().astimezone()
        await seen(cluster, f"{now:%Y-%m-%dT%H:%M:%S}")
        assert len(await endings(made.user)) == 1
        made._stop_pending = True
        assert await endings(made.user) == []

    in_a_loop(scenario())


@pytest.mark.parametrize(
    ("most", "limit"),
    [("8:00:00", "180"), ("infinite", "180"), ("1:30:00", "90"), ("1-00:00:00", "180")],
)
def test_a_server_that_is_about_to_end_gets_more_time_up_to_the_limit_of_its_partition(
    cluster: Cluster, most: str, limit: str
) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 9, most=most)
        (notice,) = await notices(made.user)
        assert notice.endswith("You may prolong it on the hub's page.")
        assert len(notice) < 140, "JupyterLab would cut it"
        await prolong(made)
        assert cluster.read("updated") == f"update JobId=31 TimeLimit={limit}\n"
        # As Slurm shows it then.
        assert await endings(made.user) == []
        with pytest.raises(HTTPError, match="not about to end"):
            await prolong(made)
        assert cluster.read("updated").count("\n") == 1

    in_a_loop(scenario())


@pytest.mark.parametrize(
    ("configured", "most"),
    [({}, "8:00:00"), (WARNED, "1:00:00"), (WARNED, "0:30:00")],
)
def test_nobody_gets_more_than_the_fragment_and_the_partition_allow(
    cluster: Cluster, configured: dict[str, Any], most: str
) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5, configured, most)
        (notice,) = await notices(made.user)
        assert notice.endswith("Save your work.")
        with pytest.raises(HTTPError, match="gets no more time"):
            await prolong(made)
        assert not (cluster.directory / "updated").exists()

    in_a_loop(scenario())


def test_without_the_limits_of_the_cluster_nobody_gets_more_time(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5)
        for text in ("slurm_load_partitions error\n", "gpu|up|infinite|2|4000||gpu*\n"):
            (cluster.directory / "partitions").write_text(text)
            settings.CLUSTER._until = float("-inf")
            with pytest.raises(HTTPError, match="gets no more time"):
                await prolong(made)
        assert not (cluster.directory / "updated").exists()

    in_a_loop(scenario())


def test_what_slurm_says_when_it_gives_no_more_time_is_what_people_read(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5)
        (cluster.directory / "denied").write_text("Access/permission denied for job 31")
        with pytest.raises(HTTPError) as refused:
            await prolong(made)
        assert refused.value.jupyterhub_message == (
            "Slurm gives no more time: Access/permission denied for job 31"
        )

    in_a_loop(scenario())


def test_two_clicks_at_once_prolong_once(cluster: Cluster) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5)
        done = await asyncio.gather(prolong(made), prolong(made), return_exceptions=True)
        assert [type(each) for each in done] == [type(None), HTTPError]
        assert cluster.read("updated").count("\n") == 1

    in_a_loop(scenario())


@pytest.mark.parametrize(("configured", "count"), [(WARNED, 1), ({}, 0)])
def test_the_page_has_a_button_only_where_it_does_something(
    cluster: Cluster, configured: dict[str, Any], count: int
) -> None:
    async def scenario() -> None:
        made = await ending_in(cluster, 5, configured)
        page = await shown_to(made.user)
        assert "the time limit of job 31. Save your work." in page
        assert page.count("<button") == page.count('action="/hub/slurm/prolong"') == count
        assert page.count('name="_xsrf" value="token"') == count
        assert "<div" not in await shown_to(None)

    in_a_loop(scenario())


async def shown_to(user: Any) -> str:
    """Return the part of the page after the login."""
    loader = FileSystemLoader(time_limit.TEMPLATES)
    pages = Environment(loader=loader, autoescape=True, enable_async=True)
    page = pages.get_template("server-endings.html")
    # JupyterHub calls functions among the variables with the user.
    variables = {name: function(user) for name, function in template_vars().items()}
    text: str = await page.render_async(base_url="/hub/", xsrf_token="token", **variables)
    return text


@pytest.mark.parametrize(
    "configured", [{"warn_minutes": 0}, {"prolong_hours": -1}, {"prolong_hours": "2"}]
)
def test_a_wrong_setting_is_refused(configured: dict[str, Any]) -> None:
    with pytest.raises(TraitError):
        make(config=Config({"SlurmSpawner": configured}))
