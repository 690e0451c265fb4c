"""Many users who start their servers at once: the queue, its page, and users who leave it."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.client import Person
from tests.crowd import crowd
from tests.eventually import eventually
from tests.hub import Hub

Heard = list[dict[str, Any]]

CROWD, AT_ONCE = 12, 2


def places(heard: Heard) -> list[int]:
    """Return the number of users ahead, each time a user's page received it."""
    said = (re.search(r": (yours is next|\d+)", event["message"]) for event in heard)
    return [int(each[1]) if each[1].isdecimal() else 0 for each in said if each]


def test_in_a_crowd_everybody_sees_their_place_until_it_is_their_turn_and_may_leave(
    hub: Hub,
) -> None:
    with (
        crowd(hub, CROWD, AT_ONCE) as (people, go),
        ThreadPoolExecutor(2 * CROWD) as background,
    ):
        list(background.map(Person.ask_for_server, people))
        pages: dict[Person, Heard] = {person: [] for person in people}
        for person, heard in pages.items():
            background.submit(person.progress, heard)

        def waiting() -> list[tuple[int, Person]]:
            told = ((places(heard)[-1:], person) for person, heard in pages.items())
            return sorted(((place[0], person) for place, person in told if place), key=first)

        def are_in_order(number: int) -> bool:
            return [place for place, _ in waiting()] == list(range(number))

        try:
            eventually(lambda: are_in_order(CROWD - AT_ONCE), 30, "everybody's place")
            leaver = waiting()[4][1]
            leaver.stop_server()
            eventually(lambda: "failed" in pages[leaver][-1], 30, "their page to say so")
            assert "cancelled" in pages.pop(leaver)[-1]["message"]
            eventually(lambda: are_in_order(CROWD - AT_ONCE - 1), 30, "those behind to move up")
        finally:
            hub.machine.put(go, "")
        eventually(lambda: all("ready" in h[-1] for h in pages.values()), 90, "all servers")
        for heard in pages.values():
            assert places(heard) == sorted(set(places(heard)), reverse=True)
        assert not leaver.has_server()
        people = list(pages)
        people[-1].await_server()
        assert people[-1].run_cell("6 * 7") == "42"


def test_a_reload_a_restart_and_a_killed_hub_keep_the_queue(hub: Hub) -> None:
    with (
        crowd(hub, 5, 1) as (people, go),
        # A page that receives events keeps its thread; the reload needs another.
        ThreadPoolExecutor(len(people) + 1) as background,
    ):
        list(background.map(Person.ask_for_server, people))
        pages: dict[Person, Heard] = {person: [] for person in people}
        listening = [
            background.submit(person.progress, heard, timeout_s=240)
            for person, heard in pages.items()
        ]

        def told() -> dict[Person, int]:
            return {person: len(heard) for person, heard in pages.items()}

        def waiting(since: dict[Person, int]) -> int:
            """Return how many users have received their position after that."""
            return sum(bool(places(heard[since[person] :])) for person, heard in pages.items())

        def asked_again(since: dict[Person, int]) -> int:
            return sum(now > since[person] for person, now in told().items())

        try:
            eventually(lambda: waiting(dict.fromkeys(pages, 0)) == 4, 30, "a queue")
            # The old hub no longer updates positions, so they do not change there.
            before = told()
            reloaded = background.submit(hub.reload)
            eventually(lambda: asked_again(before) == 4, 30, "a hub whose queue has ended")
            # It waits for servers whose turn had come.
            hub.machine.put(go, "")
            eventually(lambda: any("ready" in h[-1] for h in pages.values()), 60, "the first")
            hub.machine.run(["rm", go])
            reloaded.result(timeout=90)
            eventually(lambda: waiting(before) >= 2, 30, "the queue at the next hub")
            before = told()
            hub.machine.systemctl("restart", hub.layout.hub_service)
            eventually(lambda: waiting(before) >= 2, 30, "the queue at the restarted one")
            before = told()
            hub.machine.run(["sh", "-c", f"kill -KILL {hub.serving_pid()}"])
            eventually(hub.answers, 60, "the next hub")
            eventually(lambda: waiting(before) >= 2, 30, "the queue at that one")
        finally:
            hub.machine.put(go, "")
        for page in listening:
            page.result(timeout=90)
        for person in people:
            person.await_server()


def first(pair: tuple[int, Person]) -> int:
    return pair[0]
