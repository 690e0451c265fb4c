"""The command of terminals."""

import pytest

from littlest_hub.singleuser.terminals import own_directories, terminal_command

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (
            "/opt/hub/bin:/home/a/.local/bin:/usr/local/bin:/usr/bin",
            "/opt/hub/bin:/home/a/.local/bin",
        ),
        ("/opt/hub/bin:/bin:/opt/other", "/opt/hub/bin"),
        ("/usr/bin:/opt/hub/bin", ""),
        ("/opt/hub/bin", "/opt/hub/bin"),
    ],
)
def test_the_servers_own_directories_are_those_before_the_systems(path: str, own: str) -> None:
    assert own_directories(path) == own
    assert terminal_command(path)[2:] == [own, "300"]
