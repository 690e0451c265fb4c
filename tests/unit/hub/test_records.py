"""Records that a process of one release writes and one of another reads."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from littlest_hub.hub.records import Handover, ReloadOutcome, UnitRecord, read
from littlest_hub.hub.unit_files import _recorded


@pytest.mark.parametrize(
    "record",
    [
        ReloadOutcome(5, "why"),
        ReloadOutcome(),
        Handover(1, 2, "/r", True),
        UnitRecord("1", ("Nice=1",), {"key": "5e8"}),
    ],
)
def test_a_record_comes_back_as_it_was(record: ReloadOutcome | Handover | UnitRecord) -> None:
    assert type(record).from_json(record.to_json()) == record


def test_a_field_of_a_later_release_is_ignored() -> None:
    outcome = json.dumps({"began_ns": 7, "reason": "", "new": [1]})
    assert ReloadOutcome.from_json(outcome) == ReloadOutcome(7)
    handover = json.dumps({**Handover(1, 2, "/r", False)._asdict(), "new": 1})
    assert Handover.from_json(handover) == Handover(1, 2, "/r", False)


def test_root_follows_no_link_and_waits_for_no_fifo_of_the_hubs_user(tmp_path: Path) -> None:
    secret, link, fifo = (tmp_path / name for name in ("secret", "link", "fifo"))
    secret.write_text("secret\n")
    link.symlink_to(secret)
    os.mkfifo(fifo)
    assert [read(path) for path in (secret, link, fifo, tmp_path)] == ["secret", "", "", ""]
    assert read(tmp_path / "nothing") == ""


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "5", "[]", "{}", "[" * 100_000, '{"invocation": 1, "directives": 5}'),
        '{"invocation": 1, "directives": [[]], "credentials": 5}',
    ],
)
def test_a_record_of_the_unit_that_is_none_is_as_good_as_no_record(
    tmp_path: Path, text: str
) -> None:
    layout: Any = SimpleNamespace(unit_record=tmp_path / "unit")
    layout.unit_record.write_text(text)
    assert _recorded(layout) == UnitRecord()
