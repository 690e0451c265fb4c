"""Releases and their order."""

from littlest_hub import __version__
from littlest_hub.lifecycle.release import SERIES, title


def test_the_last_known_series_is_that_of_this_checkout() -> None:
    assert __version__.rpartition(".")[0] == SERIES[-1]


def test_entries_that_the_installer_hides_have_a_name_for_people() -> None:
    assert title("2026.11.0") == "release 2026.11.0"
    for hidden in (".2026.11.0.installing", ".2026.11.0.removing"):
        assert title(hidden) == "earlier files of release 2026.11.0"
