"""A class that clicks its link at the same moment: one build, a server for everybody."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.order import Order
from littlest_hub.stacks.launch.resolver import units as resolver_units
from littlest_hub.stacks.launch.resolver.limits import AT_ONCE
from littlest_hub.stacks.launch.service.builds import MOST_WAITING, BuildError, Builds, _Log
from tests.unit.stacks.launch import hub_and_service
from tests.unit.stacks.launch.hub_and_service import (
    DONE,
    KEY,
    RESOLVED,
    Browser,
    Program,
    Surroundings,
    target,
)

LINK = {"repo": "gh/org/week1/main", "path": "a.ipynb", "name": "week1"}


class LimitedProgram(Program):
    """A stand-in for the resolver, of whose connections systemd closes those beyond a number."""

    running = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.running >= resolver_units._MOST_RESOLVERS:
            writer.close()
            return
        self.running += 1
        try:
            await asyncio.sleep(0.2)
            await super().answer(reader, writer)
        finally:
            self.running -= 1


@pytest.mark.parametrize("members", [14, pytest.param(40, marks=pytest.mark.long)])
def test_members_of_a_class_who_click_at_once_get_a_server_each_from_one_build(
    tmp_path: Path, members: int
) -> None:
    resolver = LimitedProgram(
        [{"resolved": {**RESOLVED, "repository": "https://github.com/org/week1"}}]
    )
    builder = hub_and_service.Builder(directory=tmp_path)
    goes_on = threading.Event()
    builder.lines = [{"text": "numpy"}, goes_on, DONE]
    builder.ended = {"ended": {}}
    surroundings = Surroundings(
        resolver.answer,
        builder.answer,
        tmp_path / "sources",
        tmp_path / "logs",
        tmp_path / "results",
    )
    with hub_and_service.running(tmp_path, surroundings) as site:
        people = [Browser(site, f"physicist{number}") for number in range(members)]
        for person in people:
            person.log_in()
            person.timeout = 120
        together = threading.Barrier(members + 1)

        def click(person: Browser) -> str:
            together.wait()
            page = person.open(**LINK)
            return "" if target(page) else page.text.partition('id="problem"')[2] or page.text

        with ThreadPoolExecutor(members) as pool:
            pages = [pool.submit(click, person) for person in people]
            together.wait()
            threading.Timer(5, goes_on.set).start()
            found = [page.result() for page in pages]
        assert [*filter(None, found)] == []
        for person in people:
            person.wait_for("week1")
        assert len({request["order"] for request in builder.requests}) == 1
        assert len(builder.builds) == 1


def test_a_log_is_read_to_its_end_though_a_later_build_has_begun_another(tmp_path: Path) -> None:
    file, told = tmp_path / "log", list[str]()

    async def tell(line: str) -> None:
        told.append(line)

    async def follow() -> str:
        log = _Log(file, tell)
        with file.open("x") as first:
            print(json.dumps({"text": "first"}), file=first, flush=True)
            await log.follow()
            print(json.dumps(DONE), file=first)
        file.unlink()
        file.write_text(json.dumps({"text": "second"}) + "\n")
        await log.follow()
        log.close()
        return log.key()

    assert asyncio.run(follow()) == KEY
    assert told == ["first"]


class Workshop:
    """The directories of a builder whose builds end as a test says, behind the starter's socket."""

    ORDER = Order(files={"requirements.txt": "numpy\n"})

    def __init__(self, directory: Path, *runs: Callable[[Workshop], None]) -> None:
        """Make it; each of `runs` is what happens until the starter says that no build runs."""
        self.directory = directory
        self.log = directory / "logs" / f"{self.ORDER.id}.jsonl"
        self.runs = [*runs]
        for name in ("orders", "logs", "results"):
            (directory / name).mkdir()

    def write(self, *records: Mapping[str, object]) -> None:
        """Begin another log."""
        self.log.unlink(missing_ok=True)
        self.log.write_text("".join(f"{json.dumps(each)}\n" for each in records))

    def finish(self) -> None:
        """Write what the order has become, as a build does before its log ends."""
        made = {"key": KEY, "lock": "numpy==2.0", "python": "1"}
        (self.directory / "results" / f"{self.ORDER.id}.json").write_text(json.dumps(made))

    def build(self) -> str:
        """Let the service have the order built, and return the key of the environment."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            self.runs.pop(0)(self)
            writer.write(b'{"ended": {}}\n')
            await writer.drain()
            writer.close()

        async def ignore(_: str) -> None:
            pass

        async def build() -> str:
            starter = self.directory / "starter"
            logs, results = self.directory / "logs", self.directory / "results"
            builds = Builds(self.directory / "orders", starter, logs, results)
            async with await asyncio.start_unix_server(answer, starter):
                return await builds.build(self.ORDER, ignore)

        return asyncio.run(build())


def test_who_orders_while_a_build_adds_bytecode_after_its_log_waits_and_gets_the_environment(
    tmp_path: Path,
) -> None:
    # The unit of the earlier build still runs, so systemd starts none, and there is no other log.
    found = Workshop(tmp_path, lambda _: None, lambda self: self.write({"text": "numpy"}, DONE))
    found.finish()
    found.write({"text": "numpy"}, DONE)
    assert found.build() == KEY
    assert found.runs == []


def test_a_build_whose_log_another_one_has_replaced_before_it_was_read_is_not_lost(
    tmp_path: Path,
) -> None:
    def build_while_others_order(self: Workshop) -> None:
        self.finish()
        self.write({"text": "somebody else's, which has just begun"})

    assert Workshop(tmp_path, build_while_others_order).build() == KEY


def test_a_build_that_was_ended_is_not_begun_again(tmp_path: Path) -> None:
    found = Workshop(tmp_path, lambda self: self.write({"text": "numpy"}))
    found.finish()
    with pytest.raises(LittlestHubError, match="it took too long, or too much memory"):
        found.build()


def test_a_build_that_failed_says_why_though_an_earlier_one_did_not(tmp_path: Path) -> None:
    failed = {"outcome": "failed", "text": "no such package"}
    found = Workshop(tmp_path, lambda self: self.write({"text": "numpy"}, failed))
    found.finish()
    with pytest.raises(BuildError, match="no such package"):
        found.build()


def test_a_builder_that_never_begins_is_asked_a_few_times(tmp_path: Path) -> None:
    found = Workshop(tmp_path, *[lambda _: None] * 9)
    with pytest.raises(LittlestHubError, match="has been ended"):
        found.build()
    assert len(found.runs) >= 5


def test_programs_accept_what_the_service_keeps_to_and_units_that_are_about_to_end() -> None:
    assert resolver_units._MOST_RESOLVERS >= 2 * AT_ONCE
    assert builder_units._MOST_WAITING > MOST_WAITING
