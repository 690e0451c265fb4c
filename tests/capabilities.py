"""Programs and rights that tests need; without them, a test is skipped or fails."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""The search path for tools, with this Python environment first."""


def missing(what: str) -> NoReturn:
    """Skip the test on a laptop that lacks something; fail in continuous integration."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def need_modules(*names: str) -> None:
    """Call `missing` unless these modules can be imported."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            missing(f"the module {name} is not installed: make venv")


def need(*capabilities: str) -> None:
    """Call `missing` unless these are here: names of tools, or "root" for being root.

    Tests use it as `@pytest.mark.needs("zsh")`.
    """
    for capability in capabilities:
        if capability == "root":
            if os.geteuid() != 0:
                missing("this test needs root")
        elif shutil.which(capability, path=PATH) is None:
            missing(f"{capability} is not installed")
