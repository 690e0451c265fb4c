"""The limit of closed connections: lowered while a guard runs."""

from pathlib import Path

import pytest

from littlest_hub.helpers import closed_connections

pytestmark = [pytest.mark.unit, pytest.mark.row(27)]

BEFORE = "262144"


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the kernel's."""
    file = tmp_path / "limit"
    file.write_text(BEFORE)
    monkeypatch.setattr(closed_connections, "LIMIT", file)
    monkeypatch.setattr(closed_connections, "most", lambda: 7000)
    return file


@pytest.fixture
def guards(tmp_path: Path) -> list[Path]:
    """The runtime directories of two hubs' guards."""
    made = [tmp_path / "run" / name for name in ("littlest-hub-guard", "littlest-hub-b-guard")]
    for each in made:
        each.mkdir(parents=True)
    return made


@pytest.mark.parametrize("first_to_stop", [0, 1])
def test_the_last_of_two_hubs_that_stops_restores_the_limit_of_before(
    limit: Path, guards: list[Path], first_to_stop: int
) -> None:
    for guard in guards:
        closed_connections.lower(guard)
        assert limit.read_text() == "7000"
    closed_connections.restore(guards[first_to_stop])
    assert limit.read_text() == "7000"
    closed_connections.restore(guards[1 - first_to_stop])
    assert limit.read_text() == BEFORE
    assert [list(guard.iterdir()) for guard in guards] == [[], []]


@pytest.mark.parametrize(("before", "after"), [("5000", "5000"), (BEFORE, "9000")])
def test_a_limit_that_the_administrator_has_set_stays(
    limit: Path, guards: list[Path], before: str, after: str
) -> None:
    limit.write_text(before)
    closed_connections.lower(guards[0])
    limit.write_text(after)
    closed_connections.restore(guards[0])
    assert limit.read_text() == after
