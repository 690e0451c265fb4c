"""Quotas of users, as the kernel reports them."""

import os
import struct
from pathlib import Path

import pytest

from littlest_hub.system import quota


@pytest.mark.parametrize(
    ("hard", "soft", "expected"),
    [
        (2048, 1024, quota.Quota(5000, 2048 * 1024)),
        (0, 1024, quota.Quota(5000, 1024 * 1024)),
        (0, 0, None),
    ],
)
def test_the_hard_limit_counts_before_the_soft_one(
    hard: int, soft: int, expected: quota.Quota | None
) -> None:
    record = struct.pack("=8QI", hard, soft, 5000, 0, 0, 1, 0, 0, 63)
    assert quota.parse(record) == expected


def test_a_filesystem_without_quotas_has_none() -> None:
    assert quota.of(Path("/proc"), os.getuid()) is None
    assert quota.of(Path("/no/such/place"), os.getuid()) is None
