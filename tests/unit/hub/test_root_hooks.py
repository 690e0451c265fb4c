"""Root's hooks as the hub requests them, with a helper's side of the socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from littlest_hub import installation
from littlest_hub.hub.root_hooks import RootHook, RootHookError, run_root_hook
from littlest_hub.units.helpers import MAX_CONNECTIONS

pytestmark = pytest.mark.unit


def test_a_hundred_hooks_at_once_are_no_more_connections_than_systemd_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = SimpleNamespace(hook_address=tmp_path / "hook")
    monkeypatch.setattr(installation, "of_this_release", lambda: layout)
    served: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections <= MAX_CONNECTIONS:
            served.append(await reader.read())
            await asyncio.sleep(0.02)
            writer.write(b'""')
        connections -= 1
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(serve, layout.hook_address):
            await asyncio.gather(*(run_root_hook("note", f"pupil{n}") for n in range(100)))

    asyncio.run(run())
    assert {text.partition(b"\0")[2] for text in served} == {b"pupil%d" % n for n in range(100)}


@pytest.mark.parametrize(
    ("spawner", "account"),
    [
        (
            SimpleNamespace(user=SimpleNamespace(name="erin"), account_name="jupyter-erin"),
            "jupyter-erin",
        ),
        (SimpleNamespace(user=SimpleNamespace(name="erin")), "erin"),
    ],
)
def test_a_hook_gets_the_name_of_the_account_that_the_server_runs_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawner: SimpleNamespace, account: str
) -> None:
    layout = SimpleNamespace(hook_address=tmp_path / "hook")
    monkeypatch.setattr(installation, "of_this_release", lambda: layout)
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read())
        writer.write(b'""')
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(serve, layout.hook_address):
            await RootHook("note")(spawner)

    asyncio.run(run())
    assert requests == [b"note\0" + account.encode()]


def test_a_helper_that_does_not_answer_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = SimpleNamespace(hook_address=tmp_path / "hook")
    monkeypatch.setattr(installation, "of_this_release", lambda: layout)
    with pytest.raises(RootHookError, match="No such file or directory; see the journal"):
        asyncio.run(run_root_hook("note", "erin"))
