"""Samples are taken whatever happens to the hub, the database, and the clock."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.stats.requests_of_sampler import is_of_interest as is_logged
from littlest_hub.stacks.stats.sampler import metrics
from littlest_hub.stacks.stats.sampler.program import STATUS, Sampler, Status
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.reading import Figures

NOON = 1_795_000_000
BUCKETS = (1, 2.5, 5, float("inf"))


class Counters:
    """The metrics of a process of the hub, made by the library that JupyterHub uses."""

    def __init__(self, began_s: float) -> None:
        self._registry = CollectorRegistry()
        self._spawns = Histogram(
            "server_spawn_duration_seconds",
            "",
            ["status", "reason"],
            namespace="jupyterhub",
            buckets=BUCKETS,
            registry=self._registry,
        )
        Gauge("process_start_time_seconds", "", registry=self._registry).set(began_s)
        self.waiting = Gauge("littlest_hub_waiting_servers", "", registry=self._registry)

    def start(self, duration_s: float, status: str = "success", reason: str = "") -> None:
        self._spawns.labels(status=status, reason=reason).observe(duration_s)

    def text(self) -> str:
        return generate_latest(self._registry).decode()


@dataclass
class StandIn:
    """The hub's answers."""

    base: str = "/"
    counters: Counters = field(default_factory=lambda: Counters(1.0))
    people: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, Any]] | None = field(default_factory=list)
    environments: Any = field(default_factory=dict)
    is_down: bool = False
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, str]:
        """Return status and text of what is at a path; the location, if it redirects."""
        place, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if self.is_down:
            return 503, ""
        if not place.startswith(f"{self.base}hub/"):
            return 302, f"{self.base}hub{path}"
        inside = place.removeprefix(f"{self.base}hub/")
        self.requests.append(inside)
        if inside == "metrics":
            return 200, self.counters.text()
        known: dict[str, Callable[[], Any]] = {
            "api/users": lambda: self._users(query),
            "api/services/stats": lambda: {"name": "stats", "info": self.info},
            "api/stats/failures": lambda: {"failures": self.failures},
            "api/stats/environments": lambda: {"environments": self.environments},
        }
        return (200, json.dumps(known[inside]())) if inside in known else (404, "")

    def _users(self, query: dict[str, list[str]]) -> dict[str, Any]:
        found = [each for each in self.people if "state" not in query or each["servers"]]
        offset, limit = int(query["offset"][0]), min(int(query["limit"][0]), 2)
        rest = len(found) > offset + limit
        following = {"offset": offset + limit, "limit": limit, "url": "x"} if rest else None
        return {"items": found[offset : offset + limit], "_pagination": {"next": following}}


def user(name: str, *groups: str, ready: int = 0, starting: int = 0) -> dict[str, Any]:
    servers = {
        f"s{number}": {"name": f"s{number}", "ready": number < ready}
        for number in range(ready + starting)
    }
    activity = "2026-11-18T09:06:00.000000Z"
    about = {"name": name, "created": "2026-01-01", "groups": [*groups], "servers": servers}
    return {**about, "last_activity": activity}


@pytest.fixture
def hub() -> StandIn:
    return StandIn()


@pytest.fixture
def client(hub: StandIn) -> Iterator[HubClient]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = hub.answer(self.path)
            if self.headers["Authorization"] != "token secret":
                status = 403
            self.send_response(status)
            if status == 302:
                self.send_header("Location", text)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield HubClient(f"127.0.0.1:{server.server_port}", "secret")
        server.shutdown()


@pytest.fixture
def sampler(client: HubClient, tmp_path: Path) -> Iterator[Sampler]:
    found = Sampler(client, Layout(Path("/opt/no-such-hub")), tmp_path)
    yield found
    stop = threading.Event()
    stop.set()
    found.run(stop)


def counts(directory: Path, table: str = "minute") -> list[tuple[int, int]]:
    """Return time since noon, and servers, of all that was counted."""
    with closing(database.open_to_read(directory)) as connection:
        found = Figures(connection).counts(table, None, 0, NOON * 2, 0)
    return [(each.time_s - NOON // 60 * 60, each.servers) for each in found]


def status(directory: Path) -> Status:
    return Status.from_text((directory / STATUS).read_text())


def test_all_people_are_counted_however_many_pages_the_answer_has(
    hub: StandIn, sampler: Sampler, tmp_path: Path
) -> None:
    hub.people = [user(f"person{number}", "class", ready=1) for number in range(7)]
    hub.people.append(user("waiting", starting=1))
    hub.counters.waiting.set(3)
    assert sampler.step(NOON, 0)
    with closing(database.open_to_read(tmp_path)) as connection:
        (found,) = Figures(connection).counts("hour", None, 0, NOON * 2, 0)
        assert (found.servers, found.starting, found.waiting, found.people) == (7, 1, 3, 7)
        # These servers are no units of this machine.
        assert (found.memory_bytes, found.cpu_ms) == (None, None)
    assert status(tmp_path) == Status(NOON, NOON, 60, "")


def test_a_hub_below_another_path_is_found_also_when_the_path_changes(
    hub: StandIn, client: HubClient
) -> None:
    hub.info = {"every_s": 30}
    for base in ("/", "/jupyter/", "/a/b/"):
        hub.base = base
        if base != "/":
            with pytest.raises(LittlestHubError, match="the hub answers"):
                client.get_json("api/services/stats")
        assert client.get_json("api/services/stats")["info"] == {"every_s": 30}


def test_a_hub_that_is_down_leaves_a_gap_and_is_said_once(
    hub: StandIn, sampler: Sampler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.people = [user("ada", ready=1)]
    assert sampler.step(NOON, 0)
    hub.is_down = True
    assert not sampler.step(NOON + 60, 60)
    assert not sampler.step(NOON + 120, 120)
    assert status(tmp_path).problem == "the hub answers 503 to api/services/stats"
    assert status(tmp_path).sampled_s == NOON
    hub.is_down = False
    assert sampler.step(NOON + 180, 180)
    offsets = [each for each, _ in counts(tmp_path)]
    assert [each - offsets[0] for each in offsets] == [0, 180]
    printed = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in printed] == ["no sample:", "samples ar"]


def test_a_gap_does_not_count_as_time_of_servers(
    hub: StandIn, sampler: Sampler, tmp_path: Path
) -> None:
    hub.people = [user("ada", ready=1)]
    for now_s in (0, 60, 4000):
        assert sampler.step(NOON + now_s, now_s)
    with closing(database.open_to_read(tmp_path)) as connection:
        (ada,) = Figures(connection).people("day", None, 0, NOON * 2)
    assert ada.server_s == 180


def test_a_clock_that_jumps_loses_no_sample(hub: StandIn, sampler: Sampler, tmp_path: Path) -> None:
    hub.people = [user("ada", ready=1)]
    for now_s, time_s in ((0, NOON), (60, NOON - 86400), (120, NOON + 9 * 86400), (180, NOON)):
        assert sampler.step(time_s, now_s)
    assert [servers for _, servers in counts(tmp_path)] == [1, 1, 1]


def test_starts_are_counted_once_also_over_restarts_of_hub_and_sampler(
    hub: StandIn, client: HubClient, tmp_path: Path
) -> None:
    def step(at_s: int, sampler: Sampler) -> None:
        assert sampler.step(NOON + at_s, at_s)

    def ended() -> dict[tuple[str, float], int]:
        with closing(database.open_to_read(tmp_path)) as connection:
            found = Figures(connection).starts(0, NOON * 2)
        return {(each.status, each.up_to_s): each.number for each in found}

    layout = Layout(Path("/opt/no-such-hub"))
    first = Sampler(client, layout, tmp_path)
    hub.counters.start(0.5)  # before anything was counted
    step(0, first)
    hub.counters.start(0.5)
    hub.counters.start(3)
    step(60, first)
    assert ended() == {("success", 1): 1, ("success", 5): 1}
    second = Sampler(client, layout, tmp_path)
    hub.counters.start(0.6)
    step(120, second)
    assert ended() == {("success", 1): 2, ("success", 5): 1}
    hub.counters = Counters(2.0)
    hub.counters.start(99)
    hub.counters.start(2, "error", "x")
    step(180, second)
    assert ended() == {
        ("error", 2.5): 1,
        ("success", 1): 2,
        ("success", 5): 1,
        ("success", 1e9): 1,
    }


def test_reasons_are_asked_for_only_after_a_failure(
    hub: StandIn, sampler: Sampler, tmp_path: Path
) -> None:
    hub.people = [user("ada")]
    hub.failures = None  # the hub cannot read the journal
    assert sampler.step(NOON, 0)
    hub.requests.clear()
    hub.counters.start(1)
    assert sampler.step(NOON + 60, 60)
    assert "api/stats/failures" not in hub.requests
    hub.counters.start(1, "failure", "x")
    hub.failures = [
        {"name": "ada", "time_us": NOON * 1_000_000, "reason": "no home", "meaning": "m"}
    ]
    assert sampler.step(NOON + 120, 120)
    with closing(database.open_to_read(tmp_path)) as connection:
        (found,) = Figures(connection).failures(0, NOON * 2)
    assert (found.name, found.reason, found.meaning) == ("ada", "no home", "m")


def test_the_environment_of_a_server_is_what_the_hub_says(
    hub: StandIn, sampler: Sampler, tmp_path: Path
) -> None:
    hub.people = [user("ada", ready=2), user("ben", ready=1)]
    hub.environments = {"ada": {"s1": "github.com/org/repo"}, "gone": {"s1": "x"}}
    assert sampler.step(NOON + 60, 60)
    with closing(database.open_to_read(tmp_path)) as connection:
        found = Figures(connection).environments("hour", 0, NOON * 2)
    assert [(each.name, each.servers) for each in found] == [
        ("the hub's own", 2),
        ("github.com/org/repo", 1),
    ]
    others: list[Any] = [None, [], {"ada": "x"}, {"ada": None}]
    for wrong in others:
        hub.environments = wrong
        assert not sampler.step(NOON + 120, 120)
        assert "environments has another format" in status(tmp_path).problem


def test_a_damaged_database_is_set_aside_and_another_one_begins(
    hub: StandIn, client: HubClient, tmp_path: Path
) -> None:
    hub.people = [user("ada", ready=1)]
    (tmp_path / database.FILE).write_bytes(b"\xa5" * 9000)
    sampler = Sampler(client, Layout(Path("/opt/no-such-hub")), tmp_path)
    assert not sampler.step(NOON, 0)
    assert "another one begins" in status(tmp_path).problem
    assert len(database.damaged(tmp_path)) == 1
    assert sampler.step(NOON + 3, 3)
    assert [servers for _, servers in counts(tmp_path)] == [1]


def test_a_database_that_somebody_removes_is_made_again(
    hub: StandIn, sampler: Sampler, tmp_path: Path
) -> None:
    hub.people = [user("ada", ready=1)]
    assert sampler.step(NOON, 0)
    for each in tmp_path.glob(f"{database.FILE}*"):
        each.unlink()
    assert sampler.step(NOON + 60, 60)
    assert len(counts(tmp_path)) == 1


def test_settings_apply_with_the_next_sample(hub: StandIn, sampler: Sampler) -> None:
    hub.info = {"every_s": 30, "keep_days": 10, "unknown": 1}
    assert sampler.step(NOON, 0)
    assert sampler._values.every_s == 30
    hub.info = {"every_s": "soon"}
    assert sampler.step(NOON + 30, 30)
    assert sampler._values.every_s == 60


def test_other_text_than_metrics_is_refused() -> None:
    with pytest.raises(LittlestHubError, match="another format"):
        metrics.parse('jupyterhub_server_spawn_duration_seconds_bucket{x="1"} 3\n')
    assert metrics.parse("<html>") == metrics.Metrics()
    assert metrics.from_text("[1, 2") is None
    assert metrics.from_text(None) is None


@pytest.mark.parametrize(
    ("line", "is_of_interest"),
    [
        ("200 GET /hub/metrics (stats@127.0.0.1) 3.10ms", False),
        ("200 GET /a/hub/api/users?limit=200&offset=0 (stats@127.0.0.1) 3.10ms", False),
        ("200 GET /hub/api/services/stats (stats@127.0.0.1) 3.10ms", False),
        ("200 GET /hub/api/stats/environments (stats@127.0.0.1) 3.10ms", False),
        ("403 GET /hub/metrics (stats@127.0.0.1) 3.10ms", True),
        ("200 GET /hub/metrics (stats@10.0.0.1) 3.10ms", True),
        ("200 GET /hub/metrics (stats-prometheus@127.0.0.1) 3.10ms", True),
        ("200 GET /hub/api/users/ada (stats@127.0.0.1) 3.10ms", True),
        ("200 POST /hub/api/users?limit=1 (stats@127.0.0.1) 3.10ms", True),
    ],
)
def test_only_requests_for_samples_are_left_out_of_the_journal(
    line: str, is_of_interest: bool
) -> None:
    record = logging.LogRecord("tornado.access", logging.INFO, "", 0, line, (), None)
    assert is_logged(record) is is_of_interest
