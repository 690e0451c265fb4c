"""The bench of many people on one machine: what it reads."""

import json

from tests.bench.people import available_mib, parser, wave_of

PRINTED = {
    "format": 1,
    "group": "class",
    "members": [
        {"name": "bench00", "outcome": "started", "reason": "", "duration_s": 1.5},
        {"name": "bench01", "outcome": "runs", "reason": "", "duration_s": 0},
        {"name": "bench02", "outcome": "failed", "reason": "no account", "duration_s": 0.1},
        {"name": "bench03", "outcome": "not asked", "reason": "", "duration_s": 0},
        {"name": "bench04", "outcome": "locked", "reason": "", "duration_s": 0},
    ],
}
MEMINFO = """\
MemTotal:       24683520 kB
MemFree:        21613000 kB
MemAvailable:   23592960 kB
Buffers:          180000 kB
"""


def test_who_was_not_asked_for_has_neither_started_nor_failed() -> None:
    wave = wave_of(json.dumps(PRINTED), 12.5)
    assert wave.ready == ["bench00", "bench01"]
    assert wave.failures == {"bench02": "no account", "bench04": "locked"}
    assert wave.seconds == 12.5


def test_memory_is_what_programs_can_have_and_not_what_is_unused() -> None:
    assert available_mib(MEMINFO) == 23040


def test_without_options_it_measures_220_people_of_whom_60_compute() -> None:
    options = parser().parse_args([])
    assert (options.people, options.kernels) == (220, 60)
