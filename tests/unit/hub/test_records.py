"""Records that a process of one release writes and one of another reads."""

import json

import pytest

from littlest_hub.hub.records import Handover, ReloadOutcome


@pytest.mark.parametrize(
    "record", [ReloadOutcome(5, "why"), ReloadOutcome(), Handover(1, 2, "/r", True)]
)
def test_a_record_comes_back_as_it_was(record: ReloadOutcome | Handover) -> None:
    assert type(record).from_json(record.to_json()) == record


def test_a_field_of_a_later_release_is_ignored() -> None:
    outcome = json.dumps({"began_ns": 7, "reason": "", "new": [1]})
    assert ReloadOutcome.from_json(outcome) == ReloadOutcome(7)
    handover = json.dumps({**Handover(1, 2, "/r", False)._asdict(), "new": 1})
    assert Handover.from_json(handover) == Handover(1, 2, "/r", False)
