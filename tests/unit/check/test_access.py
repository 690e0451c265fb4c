"""Fragments that the hub may not read."""

import pytest

from littlest_hub.check.access import confined_root_can_read

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_closed"),
    [
        (0o100000, 0, 0, False),
        (0o100600, 0, 1000, False),
        (0o100040, 0, 1000, True),
        (0o100600, 1000, 1000, True),
        (0o100660, 1000, 1000, True),
        (0o100640, 1000, 0, False),
        (0o100600, 1000, 0, True),
        (0o100604, 1000, 1000, False),
        (0o040700, 1000, 1000, True),
        (0o040704, 1000, 1000, True),
        (0o040755, 1000, 1000, False),
    ],
)
def test_a_root_without_other_users_reads_their_files_only_as_the_mode_permits(
    mode: int, uid: int, gid: int, is_closed: bool
) -> None:
    assert confined_root_can_read(mode, uid, gid) is not is_closed
