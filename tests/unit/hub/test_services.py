"""Services that do not work, each for its own reason."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Server
from jupyterhub.services.service import Service

from littlest_hub.hub import services
from littlest_hub.hub.services import ServiceKeeper

pytestmark = pytest.mark.unit


def test_a_service_whose_test_fails_is_reported_and_tested_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    async def wait_up(self: Server, **options: Any) -> None:
        tries.append(self.url)
        if len(tries) == 1:
            raise ValueError("no such certificate")

    monkeypatch.setattr(Server, "wait_up", wait_up)
    monkeypatch.setattr(services, "RETRY_MIN_S", 0)
    service = Service(name="grades", url="http://127.0.0.1:9010")
    server = orm.Server(proto="http", ip="127.0.0.1", port=9010, base_url="/", cookie_name="x")
    service.orm = orm.Service(name="grades", server=server)
    summaries: list[str] = []

    async def run() -> None:
        keeper = ServiceKeeper(logging.getLogger(), lambda: summaries.append(keeper.summary()))
        await keeper.start(service, None)
        await asyncio.wait_for(keeper._tasks["grades"], 10)

    asyncio.run(run())
    assert summaries == ["without service grades (ValueError: no such certificate)", ""]
