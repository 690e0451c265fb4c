"""The time limit of a block."""

import signal
import time

import pytest

from littlest_hub.system.signals import at_most

pytestmark = pytest.mark.unit


def compute_for(time_s: float) -> None:
    until = time.monotonic() + time_s
    while time.monotonic() < until:
        pass


def test_a_block_that_does_not_end_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError), at_most(0.05):
        compute_for(30)
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_block_that_ends_in_time_is_not_interrupted_later() -> None:
    with at_most(0.05):
        pass
    compute_for(0.1)


def test_without_time_nothing_begins() -> None:
    with pytest.raises(TimeoutError), at_most(0):
        pytest.fail("the block began")
