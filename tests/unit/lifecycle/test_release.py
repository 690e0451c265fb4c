"""Releases: which of them follows which."""

from littlest_hub import __version__
from littlest_hub.lifecycle.release import SERIES


def test_the_series_of_this_checkout_is_the_last_that_it_knows() -> None:
    assert __version__.rpartition(".")[0] == SERIES[-1]
