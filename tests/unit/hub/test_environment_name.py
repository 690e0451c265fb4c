"""Names of environments: kept with a server, and harmless whoever has chosen them."""

from types import SimpleNamespace
from typing import Any

import pytest

from littlest_hub.hub.environment_name import LONGEST, WithEnvironmentName, name_of


class Base:
    """A spawner whose state is empty, as that of JupyterHub's base class."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    def clear_state(self) -> None:
        pass


class Named(WithEnvironmentName, Base):
    """A spawner."""


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("github.com/org/repo", "github.com/org/repo"),
        (" a\nb\x00c\u202ed ", "a b c d"),
        ("x" * 10**6, "x" * (LONGEST - 1) + "…"),
        ("x" * LONGEST, "x" * LONGEST),
        ("\n", ""),
        (7, ""),
        (None, ""),
        (["a"], ""),
    ],
)
def test_a_name_is_one_short_line_whatever_a_hook_has_set(given: Any, name: str) -> None:
    assert name_of(SimpleNamespace(environment_name=given)) == name
    assert name_of(object()) == ""
    server = Named()
    server.environment_name = given
    assert server.get_state() == ({"environment_name": name} if name else {})


def test_the_next_hub_has_the_name_and_the_next_start_does_not() -> None:
    server, later = Named(), Named()
    assert server.get_state() == {}
    server.environment_name = "gpus"
    later.load_state(server.get_state())
    assert name_of(later) == "gpus"
    later.load_state({"environment_name": 7})
    assert name_of(later) == ""
    for each in (later, later):
        each.clear_state()
        assert name_of(each) == ""
