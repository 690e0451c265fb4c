"""Ready fragments of a hub that no unit runs."""

from pathlib import Path

import pytest

from littlest_hub.fragments.catalogue import disable, enable
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit


def test_a_hub_in_the_foreground_takes_up_a_ready_fragment_at_its_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path / "hub")
    for directory in (layout.catalogue, layout.fragments, layout.state):
        directory.mkdir(parents=True)
    (layout.catalogue / "30-limits.py").write_text("c.Spawner.mem_limit = '1G'\n")
    for command in (enable, disable):
        assert command(layout, "limits") == 0
        told = capsys.readouterr().out
        assert told.endswith("It takes effect when the hub is started the next time.\n")
        assert "systemctl" not in told
