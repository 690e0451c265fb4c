"""The environment that a server runs with, by the name that its spawner has for it.

It is how one stack tells another what a server is: a stack whose servers have another environment
than the hub's own sets `environment_name` of their spawners, and statistics sum figures by it. A
fragment may set it in a pre_spawn_hook.

Names come from people, such as the address of a repository, and are not trusted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 120
_STATE = "environment_name"


class WithEnvironmentName:
    """The base of spawners that keep the name as long as the server runs, whichever hub serves."""

    environment_name: str = ""
    """"": the hub's own environment."""

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        if name := name_of(self):
            state[_STATE] = name
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)  # type: ignore[misc]
        if name := state.get(_STATE):
            self.environment_name = name

    def clear_state(self) -> None:
        """Forget the name that the last start has given."""
        super().clear_state()  # type: ignore[misc]
        vars(self).pop("environment_name", None)


def name_of(spawner: object) -> str:
    """Return the name of the environment of any spawner, as one short line; "": the hub's own."""
    found = getattr(spawner, "environment_name", "")
    if not isinstance(found, str):
        return ""
    # Cut first: a hook may have set a text of any length.
    line = "".join(each if each.isprintable() else " " for each in found[: LONGEST + 1]).strip()
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
