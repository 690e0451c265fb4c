"""Requests of the page to root's helper: nobody waits for those of others."""

import asyncio
import json
from pathlib import Path

import pytest

from littlest_hub.stacks.backups.page.client import ask
from littlest_hub.stacks.backups.page.helper import Verb


@pytest.mark.row(42)
@pytest.mark.parametrize("verb", [Verb.RESTORE, Verb.LIST])
def test_a_look_waits_neither_for_restores_nor_for_many_looks_of_somebody_else(
    tmp_path: Path, verb: Verb
) -> None:
    address, is_over = str(tmp_path / "socket"), asyncio.Event()

    async def helper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read()
        if request.startswith(Verb.DATES.encode()):
            writer.write(json.dumps({"dates": []}).encode() + b"\n")
        else:
            await is_over.wait()
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_unix_server(helper, address):
            asked = [
                asyncio.create_task(ask(address, "mallory", "/", "token", verb, "id", ""))
                for _ in range(20)
            ]
            await asyncio.sleep(0)  # the twenty requests begin
            found = await asyncio.wait_for(ask(address, "bob", "/", "token", Verb.DATES), 5)
            assert found == {"dates": []}
            is_over.set()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(scene())
