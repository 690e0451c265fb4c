"""Directives that systemd does not accept in a unit."""

import pytest

from littlest_hub.system.systemd_analyze import refusals

pytestmark = [pytest.mark.unit, pytest.mark.needs("systemd-analyze")]


@pytest.mark.parametrize("accepted", ["KillMode=none", "StandardOutput=syslog", "MemoryLimit=1G"])
def test_what_systemd_accepts_with_a_complaint_is_not_refused(accepted: str) -> None:
    unit = f"[Service]\nExecStart=/bin/true\n{accepted}\nMemoryHihg=1G\n"
    ((line, text),) = refusals(unit).items()
    assert line == 4
    assert "MemoryHihg" in text


def test_a_fatal_error_is_refused() -> None:
    unit = "[Service]\nExecStart=/bin/true\nKillMode=none\nWorkingDirectory=work\nMemoryHihg=1G\n"
    ((line, text),) = refusals(unit).items()
    assert line == 4
    assert "work" in text
