"""Traces that systemd leaves of units that are gone."""

from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.lifecycle import unit_traces

STAMPS = Path("var/lib/systemd/timers")


def test_times_of_timers_and_empty_directories_of_sockets_go_and_nothing_else(
    tmp_path: Path,
) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    (tmp_path / STAMPS).mkdir(parents=True)
    for name in ("hub.a.timer", "hub.b.timer", "apt-daily.timer"):
        (tmp_path / STAMPS / f"stamp-{name}").touch()
    for name in ("hub.a-empty", "hub.a-used/socket", "hub.b-empty"):
        (tmp_path / "run" / name).mkdir(parents=True)
    units = ["hub.a.timer", "hub.a-empty.socket", "hub.a-used.socket", "hub.a.socket"]
    unit_traces.remove(layout, [*units, "hub.a-empty@.service"])
    unit_traces.remove(layout, units)
    left = {each.name for each in (tmp_path / STAMPS).iterdir()}
    assert left == {"stamp-hub.b.timer", "stamp-apt-daily.timer"}
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"hub.a-used", "hub.b-empty"}
