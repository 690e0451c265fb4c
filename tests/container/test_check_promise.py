"""The promise of `check`: a reload and a boot accept what it has passed.

The first generated fragments, loaded together, however long they take, so that the result does not
depend on the machine; `make test-check` tries many more, on a machine of its own.
"""

from tests.fuzz.judge import judge
from tests.hub import Hub

TRIES = 8


def test_reloads_and_boots_accept_generated_fragments_that_the_check_has_passed(hub: Hub) -> None:
    found = judge(hub, TRIES)
    assert not found.findings, "\n".join(map(str, found.findings))
    assert found.stages["boot"] > 0, found.stages
