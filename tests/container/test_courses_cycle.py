"""One submission through the course stack; `make test-courses` has the rest."""

from pathlib import Path

from tests.courses import Campus
from tests.hub import Hub
from tests.machine import Machine


def test_a_submission_is_handed_out_handed_in_and_graded(installer: Path, tmp_path: Path) -> None:
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path, people=("bob",))
        campus.create("ps131", "username\nbob\n")
        campus.release("ps131", "ps1")
        with campus.student("bob") as bob:
            bob.fetch("ps1")
            bob.solve("ps1", "def square(x): return x * x")
            assert "Submitted as: ps131 ps1" in bob.submit("ps1")
        campus.nbgrader("ps131", "collect", "ps1")
        assert "1 graded" in campus.course("autograde", "ps131", "ps1").stdout
        assert campus.grades("ps131")["bob", "ps1"]["score"] == "3.0"
