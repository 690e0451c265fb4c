"""What a test needs of the machine it runs on, and what happens where that is not there."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""Where tools are looked for: those of this Python environment come first."""


def missing(what: str) -> NoReturn:
    """Skip on a laptop for want of a capability; fail in continuous integration, which has all."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def need(*capabilities: str) -> None:
    """Skip or fail, see `missing`, without these: names of tools, or `root` for being root.

    Tests say it as `@pytest.mark.needs("zsh")`.
    """
    for capability in capabilities:
        if capability == "root":
            if os.geteuid() != 0:
                missing("this test needs root")
        elif shutil.which(capability, path=PATH) is None:
            missing(f"{capability} is not installed")
