"""pytest plugin: our hub, authenticator, and user server in the place of JupyterHub's.

The spawner of the suite remains: ours needs systemd. It starts our program where it would start
`jupyterhub.singleuser`.
"""

from __future__ import annotations

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from traitlets import default
from traitlets.config import Config

from littlest_hub.hub.light_imports import light_imports
from littlest_hub.layout import Layout

assert "jupyterhub.app" not in sys.modules, "imported before it could be patched"
with light_imports():
    import jupyterhub.app
    import jupyterhub.auth
    from jupyterhub.app import JupyterHub

    from littlest_hub.hub.app import LittlestHub
    from littlest_hub.hub.authenticator import SystemAuthenticator


class TestedHub(LittlestHub):
    """Our hub without its supervisor, which loads the configuration from fragments."""

    __test__ = False

    control = None
    load_config_file = JupyterHub.load_config_file

    @default("loaded_config")
    def _empty(self) -> Config:
        return Config()

    @default("layout")
    def _temporary(self) -> Layout:
        return Layout(Path(tempfile.mkdtemp()))


jupyterhub.app.JupyterHub = TestedHub
jupyterhub.auth.PAMAuthenticator = SystemAuthenticator

import jupyterhub.tests.mocking  # noqa: E402  (with the classes above)

_start_process = subprocess.Popen.__init__


def _start_our_server(self: Any, args: Any, *rest: Any, **options: Any) -> None:
    if isinstance(args, list) and "jupyterhub.singleuser" in args:
        args = ["littlest_hub.singleuser" if a == "jupyterhub.singleuser" else a for a in args]
    _start_process(self, args, *rest, **options)


@pytest.fixture(autouse=True, scope="session")
def our_user_server() -> Any:
    """Start our user server wherever the suite starts JupyterHub's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", _start_our_server)
        yield


def _names_of_upstream(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("littlest-hub-"))


# The suite compares the cookies of a login with JupyterHub's; our hub has some of its own.
jupyterhub.tests.mocking.sorted = _names_of_upstream
