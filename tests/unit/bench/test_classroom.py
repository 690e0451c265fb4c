"""The table of a class."""

from tests.bench.classroom import TITLES, table


def test_ratios_are_taken_round_by_round_and_failures_have_none() -> None:
    first = dict.fromkeys(TITLES, 10.0)
    ours = [first | {"failed": 0.0}, first | {"failed": 0.0}]
    stock = [dict.fromkeys(TITLES, 20.0) | {"failed": 0.0}, dict.fromkeys(TITLES, 40.0)]
    lines = table({"ours": ours, "stock": stock}).splitlines()
    assert "| all servers with their kernels, MiB | 10 | 30 (20 to 40) | 0.375 |" in lines
    assert "| students without an answer | 0 | 20 (0 to 40) | 0 |" in lines
