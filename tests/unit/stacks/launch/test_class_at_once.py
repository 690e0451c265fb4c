"""A class that clicks its link at the same moment: one build, a server for everybody."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.resolver import units as resolver_units
from littlest_hub.stacks.launch.resolver.limits import AT_ONCE
from littlest_hub.stacks.launch.service.builds import MOST_WAITING, _Log
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


def test_programs_accept_what_the_service_keeps_to_and_units_that_are_about_to_end() -> None:
    assert resolver_units._MOST_RESOLVERS >= 2 * AT_ONCE
    assert builder_units._MOST_WAITING > MOST_WAITING
