"""A test that cannot run is no success where all of them must."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.capabilities import need

ROOT = Path(__file__).parents[2]


def test_a_missing_tool_skips_on_a_laptop_and_fails_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need("sh")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool is not installed"):
        need("sh", "no-such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is not installed"):
        need("sh", "no-such-tool")


def test_continuous_integration_says_that_it_is(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "make $* with CI=${CI-}"\n')
    make.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [ROOT / ".ci/run"],
        env=environ | {"PATH": f"{tmp_path}:{environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "make test with CI=true\n"
