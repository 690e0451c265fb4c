"""The promise of `check`: a reload and a boot accept what it has passed.

The first generated fragments, loaded together, however long they take, so that the result does not
depend on the machine; `make test-check` tries many more.
"""

from pathlib import Path

from tests.container.conftest import EVERYBODY
from tests.fuzz.judge import judge
from tests.hub import Hub
from tests.machine import Machine

TRIES = 8


def test_reloads_and_boots_accept_generated_fragments_that_the_check_has_passed(
    installer: Path,
) -> None:
    # Not the machine of the other tests: what fragments change of a machine may stay.
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        found = judge(hub, TRIES)
    assert not found.findings, "\n".join(map(str, found.findings))
    assert found.stages["boot"] > 0, found.stages
