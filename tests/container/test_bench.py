"""`make bench` measures what it claims, on a hub; speed does not matter here."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.bench import measures
from tests.bench.sides import BACKEND_PORT, BENCH_CONFIG, HubSide, add_accounts, add_people, of_hub
from tests.bench.usage import cpu_s, usage
from tests.hub import Hub
from tests.machine import Machine

TOKEN = "0" * 32
PEOPLE = measures.people(2)


@pytest.fixture(scope="module")
def side(hub: Hub) -> Iterator[HubSide]:
    """The hub as a side of the benchmark; there is no backend."""
    assert isinstance(hub.machine, Machine)
    config = BENCH_CONFIG.format(port=BACKEND_PORT, token=TOKEN)
    with hub.fragment("90-bench.py", config), hub.person() as person:
        side = of_hub(hub, hub.machine, person, TOKEN)
        add_accounts(hub.machine, PEOPLE)
        add_people(side, PEOPLE)
        yield side
        for name in PEOPLE:
            side.api("DELETE", f"users/{name}")


def test_servers_at_once_are_ready_idle_weighed_and_gone_again(side: HubSide) -> None:
    figures = measures.at_once(side, 2, until_idle=True)
    assert figures["spawn2_failed"] == 0
    assert figures["spawn2_s"] > 0
    assert figures["spawn2_cpu_s"] > 0.01
    assert figures["spawn2_pss_mib"] > 10
    assert usage(side.machine, side.servers) == {}


def test_a_server_that_does_not_start_has_failed_and_is_no_time(side: HubSide) -> None:
    nobody = replace(side, token="1" * 32)
    (started,) = nobody.start_servers(PEOPLE[:1])
    assert started.failure.startswith("403")


def test_a_hub_that_starts_has_taken_time_and_what_is_idle_takes_memory(side: HubSide) -> None:
    figures = measures.start(side)
    assert 0 < figures["start_cpu_s"] <= cpu_s(side.machine, side.hub_unit)
    assert figures["start_s"] > 0
    assert figures["hub_pss_mib"] > 10
    assert figures["proxy_pss_mib"] > 10
    assert 10 < figures["idle_anonymous_mib"] < figures["idle_pss_mib"]


def test_routes_are_there_when_adding_them_has_returned(side: HubSide) -> None:
    asked = f"{side.url}/user/route2/"
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(asked).status_code != 502
        side.add_routes(0, 3)
        # Errors of the proxy, since nothing listens behind it; the hub has its own pages.
        assert browser.get(asked).status_code == 502


def test_pages_are_asked_for_on_time(side: HubSide) -> None:
    figures = measures.pages(side, seconds=1)
    assert figures["pages_failed"] == 0
    assert 0 < figures["pages_p50_ms"] <= figures["pages_p99_ms"]
