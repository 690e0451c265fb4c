"""Changes of the hub's unit that need a restart."""

import pytest

from littlest_hub.hub.unit_files import is_lasting

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "key",
    [
        *("ReadWritePaths", "CapabilityBoundingSet", "User", "LimitNOFILE", "ExecPaths"),
        *("MemoryDenyWriteExecute", "CPUAffinity", "CPUSchedulingPolicy", "IOSchedulingClass"),
    ],
)
def test_what_a_process_has_from_its_start_needs_a_restart(key: str) -> None:
    assert is_lasting(key)


@pytest.mark.parametrize(
    "key",
    [
        *("Environment", "EnvironmentFile", "ExecStartPre", "MemoryMax", "CPUQuota", "CPUWeight"),
        *("IOWeight", "TasksMax", "TimeoutStopSec", "LoadCredential"),
    ],
)
def test_what_systemd_or_a_reload_applies_does_not(key: str) -> None:
    assert not is_lasting(key)
