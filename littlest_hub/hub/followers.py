"""Functions of stacks that follow what a hub does, for as long as it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyterhub.app import JupyterHub
from traitlets import Any as AnyTrait
from traitlets import Callable as CallableTrait
from traitlets import List


class HubWithFollowers(JupyterHub):  # type: ignore[misc]
    """JupyterHub that calls functions of fragments with itself when it answers requests.

    A check of the fragments, and a hub that is only prepared, do not call them.
    """

    log: Any
    on_ready = AnyTrait(help="function of the process that runs this hub, called without arguments")
    on_serving: list[Callable[[Any], None]] = List(
        trait=CallableTrait(),
        config=True,
        help="Functions that a hub calls with itself when it answers requests, for stacks.",
    )

    def call_followers(self) -> None:
        """Call them; the hub serves even if one fails."""
        for function in self.on_serving:
            try:
                function(self)
            except Exception:
                self.log.exception("A stack cannot follow the hub")
        if self.on_ready:
            self.on_ready()
