"""pytest plugin: the result of each test as JSON, and a selection of tests by their IDs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_results: dict[str, str] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if file := os.environ.get("UPSTREAM_ONLY"):
        wanted = set(json.loads(Path(file).read_text()))
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known = _results.get(report.nodeid)
    if report.failed or known == "failed":
        _results[report.nodeid] = "failed"
    elif report.when == "call" or report.skipped:
        _results[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A module that cannot be imported has no test that fails.
    if session.testscollected or not session.testsfailed:
        Path(os.environ["UPSTREAM_RESULTS"]).write_text(json.dumps(_results))
