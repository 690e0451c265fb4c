"""Releases and their order."""

from littlest_hub import __version__
from littlest_hub.lifecycle.release import SERIES


def test_the_last_known_series_is_that_of_this_checkout() -> None:
    assert __version__.rpartition(".")[0] == SERIES[-1]
