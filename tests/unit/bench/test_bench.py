"""The arithmetic of `make bench`, what it reads, and the page that it writes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bench import report, wrk
from tests.bench.figures import FIGURES, Figure, Reading, Results, Spread, Target, number
from tests.bench.measures import LEVELS, MEASURES, QUICK, outcome, percentile
from tests.bench.report import (
    BEGIN,
    END,
    PAGE,
    PARTS,
    between_markers,
    summary,
    tables,
    times_better,
)
from tests.bench.sides import Started, verdict
from tests.bench.usage import parse_properties
from tests.eventually import eventually

WRK = """\
Running 4s test @ http://127.0.0.1/services/bench/small
  2 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.18ms    3.05ms  44.19ms   81.64%
    Req/Sec     6.53k   522.73     7.86k    67.50%
  Latency Distribution
     50%    3.60ms
     75%    5.50ms
     90%    7.79ms
     99%   14.71ms
  52028 requests in 4.01s, 57.86MB read
Requests/sec:  12980.37
Transfer/sec:     14.44MB
"""


def reading(side: str, number: int = 0, error: str = "", **figures: float) -> Reading:
    return Reading("start", side, number, figures, 1.0, 0.5, error)


def test_a_ratio_is_taken_within_each_round_because_the_machine_drifts() -> None:
    # Twice as slow a machine in the second round: neither side is worse there.
    results = Results(
        [
            reading("ours", 0, start_s=1.0),
            reading("stock", 0, start_s=3.0),
            reading("ours", 1, start_s=2.0),
            reading("stock", 1, start_s=6.0),
        ]
    )
    assert results.ratio("start_s", "stock") == Spread(1 / 3, 1 / 3, 1 / 3)
    assert results.spread("ours", "start_s") == Spread(1.0, 1.5, 2.0)


def test_a_round_that_one_side_has_not_finished_is_in_no_ratio() -> None:
    readings = [reading("ours", n, start_s=n + 1.0) for n in range(3)]
    results = Results([*readings, reading("stock", 1, start_s=4.0), reading("stock", 2, "broken")])
    assert results.ratio("start_s", "stock") == Spread(0.5, 0.5, 0.5)
    assert results.ratio("start_s", "tljh") is None
    assert results.ratio("spawn1_s", "stock") is None


def test_nothing_is_divided_by_nothing() -> None:
    results = Results([reading("ours", reload_failed=2), reading("stock", reload_failed=0)])
    assert results.ratio("reload_failed", "stock") is None


@pytest.mark.parametrize(
    ("target", "is_met"),
    [
        (Target(0.9), True),
        (Target(0.7), False),
        (Target(0.25, "stock"), False),
        (Target(0.5, "stock"), True),
        (Target(0.25, "stock", more=True), True),
        (Target(1.5, "tljh", more=True), None),
    ],
)
def test_a_target_is_met_by_the_median_itself_or_beside_another_side(
    target: Target, is_met: bool | None
) -> None:
    results = Results([reading("ours", start_s=0.8), reading("stock", start_s=2.0)])
    assert results.is_met("start_s", target) is is_met


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (0.7, "0.7"),
        (1.046, "1.05"),
        (23.46, "23.5"),
        (12980.37, "12980"),
    ],
)
def test_numbers_have_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("percent", "found"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, found: int) -> None:
    assert percentile(range(100, 0, -1), percent) == found


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


def test_a_percentile_of_few_values_is_the_greatest() -> None:
    assert percentile([0.1, 0.3, 0.2], 99) == 0.3


def test_what_wrk_prints_is_understood() -> None:
    found = wrk.parse(WRK)
    assert found.requests_per_s == 12980.37
    assert found.bytes_per_s == pytest.approx(14.44 * (1 << 20))
    assert found.p99_s == pytest.approx(0.01471)


@pytest.mark.parametrize(
    "printed",
    [
        f"{WRK}  Non-2xx or 3xx responses: 52028\n",
        f"{WRK}  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        "unable to connect to 127.0.0.1:80 Connection refused\n",
    ],
)
def test_a_rate_of_errors_is_no_rate(printed: str) -> None:
    with pytest.raises(ValueError, match=r"Non-2xx|Socket errors|unable to connect"):
        wrk.parse(printed)


def test_what_systemctl_shows_of_several_units_is_kept_apart() -> None:
    shown = "Id=a.service\nCPUUsageNSec=12\n\nId=b.service\nCPUUsageNSec=[not set]\n"
    assert parse_properties(shown) == [
        {"Id": "a.service", "CPUUsageNSec": "12"},
        {"Id": "b.service", "CPUUsageNSec": "[not set]"},
    ]
    assert parse_properties("\n") == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", None),
        (": keep-alive", None),
        ('data: {"progress": 50, "message": "3 servers before yours"}', None),
        ('data: {"progress": 100, "ready": true, "url": "/user/a/"}', ""),
        ('data: {"progress": 100, "failed": true, "message": "Spawn failed"}', "Spawn failed"),
    ],
)
def test_the_hubs_progress_says_when_a_server_is_ready_and_why_it_is_not(
    line: str, found: str | None
) -> None:
    assert verdict(line) == found


def test_when_the_last_server_was_ready_is_told_only_if_none_failed() -> None:
    ready = [Started(1.0), Started(2.5)]
    assert outcome(ready) == {"spawn2_failed": 0, "spawn2_s": 2.5}
    assert outcome([*ready, Started(60.0, "timeout")]) == {"spawn3_failed": 1}


def of_ours(number: int = 0, **figures: float) -> Reading:
    return Reading("start", "ours", number, figures, 1.0, 0.5)


def both(**figures: Mapping[str, float]) -> list[Reading]:
    return [
        Reading("start", side, 0, {name: each[side] for name, each in figures.items()}, 1.0, 0.5)
        for side in ("ours", "stock")
    ]


def test_the_table_has_what_was_measured_with_targets_and_ratios() -> None:
    readings = both(
        start_s={"ours": 0.8, "stock": 3.2},
        spawn1_s={"ours": 0.9, "stock": 3.6},
        small_per_s={"ours": 12000, "stock": 7500},
    )
    lines = tables(readings).splitlines()
    assert lines[0] == "| measure | target |  | ours | stock | ours / stock |"
    assert lines[2:] == [
        "| hub start: until its first page, s | ≤ 1.25 | met | 0.8 | 3.2 | 0.25 |",
        "| 1 server: until it is ready, s | ≤ 0.7 | **missed** | 0.9 | 3.6 | 0.25 |",
        "| proxied requests of 1 KiB, 50 connections, 1/s | ≥ 1.5 x stock; ≥ 0.95 x tljh |"
        "  | 12000 | 7500 | 1.6 |",
    ]


@pytest.mark.parametrize(("tljh", "verdict"), [(12500, "met"), (13000, "**missed**"), (None, "")])
def test_a_verdict_needs_every_side_that_a_target_is_beside(
    tljh: float | None, verdict: str
) -> None:
    readings = both(small_per_s={"ours": 12000, "stock": 7500})
    if tljh:
        readings.append(reading("tljh", small_per_s=tljh))
        assert "ours / tljh" in tables(readings).splitlines()[0]
    figure = next(figure for figure in FIGURES if figure.name == "small_per_s")
    assert report.verdict(Results(readings), figure) == verdict


def test_one_target_that_is_missed_is_enough_whatever_was_not_measured() -> None:
    readings = both(small_per_s={"ours": 8000, "stock": 7500})
    figure = next(figure for figure in FIGURES if figure.name == "small_per_s")
    assert report.verdict(Results(readings), figure) == "**missed**"


@pytest.mark.parametrize("count", [1, 10, 30, 50])
def test_one_failure_in_all_rounds_is_a_target_missed(count: int) -> None:
    name = f"spawn{count}_failed"
    figure = next(figure for figure in FIGURES if figure.name == name)
    rounds = [of_ours(number, **{name: 0.0}) for number in range(2)]
    assert report.verdict(Results(rounds), figure) == "met"
    rounds.append(of_ours(2, **{name: 1.0}))
    assert report.verdict(Results(rounds), figure) == "**missed**"


def test_what_was_measured_before_all_was_idle_is_said_below_the_table() -> None:
    readings = [of_ours(start_s=1, idle_settled=False, **{"idle_settled@10": False})]
    assert "- start, ours: measured before all was idle (idle_settled)" in tables(readings)
    assert "(idle_settled@10)" in tables(readings)
    assert "idle" not in tables([reading("ours", start_s=1, idle_settled=True)])


def test_what_failed_is_said_below_the_table() -> None:
    readings = [*both(start_s={"ours": 1, "stock": 2}), reading("tljh", 0, "no login page")]
    assert "- start, tljh: no figures (no login page)" in tables(readings)
    assert "no login page" in summary(readings)


def test_the_table_in_a_terminal_has_columns_of_one_width() -> None:
    readings = both(start_s={"ours": 0.8, "stock": 3.2}, size_mb={"ours": 1, "stock": 2})
    header, *rows = summary(readings).splitlines()
    assert header.split()[0] == "measure"
    column = header.index("ours")
    assert [row[column:].split()[0] for row in rows] == ["1", "0.8"]


def test_better_is_more_where_more_is_better() -> None:
    results = Results(
        both(
            start_s={"ours": 1, "stock": 4},
            **{"small_per_s@1000": {"ours": 9, "stock": 3}},
        )
    )
    for name, times in (("start_s", 4), ("small_per_s@1000", 3)):
        better = times_better(results, name, "stock")
        assert better
        assert better.median == times


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"# Title\n{BEGIN}\nold\n{END}\nwhy\n"
    assert between_markers(page, "new") == f"# Title\n{BEGIN}\nnew\n{END}\nwhy\n"
    with pytest.raises(ValueError, match="no <!--"):
        between_markers("# Title\n", "new")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_page_is_generated_by_itself(part: str) -> None:
    page = PAGE.read_text()
    rest = page.partition(PARTS[part][0])[0]
    assert between_markers(page, "new", *PARTS[part]).startswith(rest)


def test_the_page_of_this_repository_can_be_generated_again() -> None:
    assert "new" in between_markers(PAGE.read_text(), "new")


def test_every_figure_that_is_plotted_or_has_a_target_is_known_once() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(names) == len(set(names))
    assert set(report.PLOTTED) <= set(names)
    for figure in FIGURES:
        _, _, level = figure.name.partition("@")
        assert not level or int(level) in LEVELS


def test_a_quick_run_is_of_measures_that_there_are() -> None:
    assert set(QUICK) <= {measure.name for measure in MEASURES}


def test_every_server_that_is_waited_for_has_a_row() -> None:
    names = {figure.name for figure in FIGURES}
    for measure in MEASURES:
        if measure.name.startswith("spawn"):
            assert {f"{measure.name}_s", f"{measure.name}_failed"} <= names


def test_a_verdict_needs_a_figure() -> None:
    assert report.verdict(Results([]), Figure("start_s", "start", "s", (Target(1),))) == ""


def test_a_side_that_has_no_figure_has_an_empty_cell() -> None:
    rows = tables([reading("ours", start_s=1), reading("limit", spawn1_s=2)]).splitlines()
    assert rows[2].endswith("| 1 |  |  |")
    assert rows[3].endswith("|  | 2 |  |")


def run_of(readings: list[Reading], **changed: Any) -> dict[str, Any]:
    circumstances = {"commit": "a", "machine": {"processors": 2}, "versions": {"jupyterhub": "6"}}
    return {**circumstances, **changed, "readings": [each.as_json() for each in readings]}


@pytest.mark.parametrize(
    "changed",
    [{"commit": "a-dirty"}, {"machine": {"processors": 4}}, {"versions": {"jupyterhub": "7"}}],
)
def test_runs_of_different_things_are_not_put_together(changed: dict[str, Any]) -> None:
    readings = both(start_s={"ours": 1, "stock": 2})
    with pytest.raises(ValueError, match=f"not of one {next(iter(changed))}"):
        report.joined([run_of(readings), run_of(readings, **changed)])


def test_rounds_of_several_runs_are_not_mixed() -> None:
    runs = [
        run_of(both(start_s=figures))
        for figures in ({"ours": 1, "stock": 2}, {"ours": 2, "stock": 8})
    ]
    found = report.joined(runs)
    assert found["commit"] == "a"
    assert Results(report.readings_of(found)).ratio("start_s", "stock") == Spread(0.25, 0.375, 0.5)


def test_readings_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    before = [*both(start_s={"ours": 1, "stock": 2}), reading("tljh", 1, "broken")]
    assert report.readings_of({"readings": [each.as_json() for each in before]}) == before


INSTALLER = """\
trap 'rm -r "$4"; exit 143' TERM
mkdir "$4"
while :; do sleep 0.1; done
"""
INSTALLING = """\
import signal, sys
from pathlib import Path
from tests.bench import install
signal.signal(signal.SIGTERM, signal.default_int_handler)
install.install(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_an_installer_may_undo_what_it_did_when_the_bench_is_terminated(tmp_path: Path) -> None:
    installer, prefix = tmp_path / "installer.sh", tmp_path / "prefix"
    installer.write_text(INSTALLER)
    command = [sys.executable, "-c", INSTALLING, str(installer), str(prefix)]
    with subprocess.Popen(command, cwd=PAGE.parents[2], stderr=subprocess.DEVNULL) as bench:
        eventually(prefix.exists, 20, "the installer to be at work")
        bench.terminate()
        assert bench.wait(20) in (130, -signal.SIGINT)
    assert not prefix.exists()
