"""The table of a bench whose sides take turns."""

from tests.bench.rounds import table

TITLES = {"memory": "memory, MiB", "failed": "failures"}


def test_ratios_are_taken_round_by_round_and_failures_have_none() -> None:
    ours = [{"memory": 10.0, "failed": 0.0}, {"memory": 10.0, "failed": 0.0}]
    stock = [{"memory": 20.0, "failed": 0.0}, {"memory": 40.0, "failed": 40.0}]
    assert table(
        "a class", TITLES, {"ours": ours, "stock": stock}, "ours / stock"
    ).splitlines() == [
        "| a class | ours | stock | ours / stock |",
        "|---|---|---|---|",
        "| memory, MiB | 10 | 30 (20 to 40) | 0.375 |",
        "| failures | 0 | 20 (0 to 40) | 0 |",
    ]


def test_one_side_alone_has_no_ratio() -> None:
    assert table("a launch", TITLES, {"ours": [{"memory": 1.0, "failed": 0.0}]}).splitlines() == [
        "| a launch | ours |",
        "|---|---|",
        "| memory, MiB | 1 |",
        "| failures | 0 |",
    ]


def test_a_figure_that_a_round_lacks_is_left_out_of_the_table_and_of_ratios() -> None:
    ours = [{"memory": 10.0, "failed": 0.0}, {"memory": 30.0, "failed": 0.0}]
    stock = [{"failed": 1.0}, {"memory": 60.0, "failed": 1.0}]
    lines = table("people", TITLES, {"ours": ours, "stock": stock}, "ours / stock").splitlines()
    assert lines[2:] == ["| memory, MiB | 20 (10 to 30) | 60 | 0.5 |", "| failures | 0 | 1 | 0 |"]
    nothing = table("people", {"memory": "memory, MiB"}, {"ours": ours, "stock": [{}, {}]}, "ratio")
    assert nothing.splitlines()[2] == "| memory, MiB | 20 (10 to 30) |  |  |"
