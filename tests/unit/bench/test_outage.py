"""The accounting of the outage bench, and that its client behaves as a browser does."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.bench.outage.account import Count, Outcome, Requests, Sample, lateness_s, table
from tests.bench.outage.load import Load, Page

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def sample(due_s: float, done_s: float, failure: str = "", **more: float) -> Sample:
    return Sample("hub", due_s, more.get("sent_s", due_s), done_s, failure)


def test_a_count_that_arrives_in_any_pieces_misses_nothing() -> None:
    count = Count(10.0)
    for at_s, text in ((10.1, "0\n1"), (10.2, "\n"), (10.3, "2\n3\n1"), (10.4, "0\n")):
        count.arrived(text, at_s)
    assert (count.next, count.missing) == (11, 6)
    assert count.gap_s == pytest.approx(0.1)


def test_the_longest_silence_is_kept_and_numbers_jumped_over_or_repeated_are_counted() -> None:
    count = Count(0.0)
    count.arrived("0\n1\n", 1.0)
    count.arrived("5\n", 4.5)
    count.arrived("4\n5\n6\n", 5.0)
    assert (count.missing, count.repeated, count.next) == (3, 2, 7)
    assert count.gap_s == pytest.approx(3.5)


def test_a_count_that_never_goes_on_is_silent_until_the_end() -> None:
    count = Count(0.0)
    count.arrived("0\n", 1.0)
    count.silent_until(21.0)
    assert count.gap_s == pytest.approx(20.0)


def test_latency_counts_from_when_a_request_was_due_and_not_from_when_it_was_sent() -> None:
    samples = [sample(1.0, 1.2), sample(2.0, 3.5, sent_s=2.3)]
    assert Requests.of(samples).worst_s == pytest.approx(1.5)
    assert lateness_s(samples) == pytest.approx(0.3)


def test_failed_requests_are_counted_by_reason_and_are_no_latency() -> None:
    samples = [sample(0, 9, "502"), sample(1, 1.1), sample(4, 4, "502"), sample(5, 5, "404")]
    requests = Requests.of(samples)
    assert (requests.sent, requests.failed, requests.reasons) == (4, 3, {"502": 2, "404": 1})
    assert requests.worst_s == pytest.approx(0.1)
    assert requests.away_s == 5


def test_the_table_has_the_sides_beside_each_other() -> None:
    def outcome(side: str, failed: int, error: str = "") -> Outcome:
        hub = Requests(sent=9, failed=failed)
        return Outcome("reload", side, 1, hub, Requests(), 0.05, 0, 0, 0, 0, error=error)

    lines = table([outcome("ours", 0), outcome("stock", 7, "no")], ["ours", "stock"]).splitlines()
    assert lines[0].startswith("event")
    assert "0 / 7" in lines[-1]
    assert lines[-1].startswith("reload*"), "whoever reads a row sees that its command failed"


def load_of(answers_per_connection: int) -> list[Sample]:
    """A moment of load on a server that hangs up before it answers more than that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answers_per_connection):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        await reader.read(1)
        writer.close()

    async def run() -> list[Sample]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        async with server, Load(host, port, {"hub": [Page("hub", "/")]}, 200) as load:
            deadline_s = time.monotonic() + 20
            while len(load.samples) < 20 and time.monotonic() < deadline_s:
                await asyncio.sleep(0.01)
        return load.samples

    return asyncio.run(run())


def test_a_request_is_sent_again_only_when_a_reused_connection_was_closed_under_it() -> None:
    once = load_of(answers_per_connection=1)
    assert not any(sample.failure for sample in once)
    assert any(sample.retried for sample in once)
    never = load_of(answers_per_connection=0)
    assert {sample.failure for sample in never} <= {"closed", "ECONNRESET"}
    assert not any(sample.retried for sample in never)
