"""The choice that people have: within limits, and nothing that is more than a word."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littlest_hub.stacks.slurm.jobs import Partition
from littlest_hub.stacks.slurm.options import Choice, Limits, Request, form, from_form, is_name

CHOICE = Choice(
    {"main": Limits(hours=8, processors=4, memory_gb=8), "gpu": Limits(hours=2, gpus=2)},
    accounts=("physics",),
    qos=("interactive",),
)
HOSTILE = ["main\n#SBATCH --comment=x", "main --prolog=/x", "$(id)", "../main", "1e3", "inf", "-1"]


def test_somebody_who_chooses_nothing_gets_a_modest_job() -> None:
    assert CHOICE.request({}) == Request("main", 60, 1, 2048)
    assert CHOICE.request({}).arguments() == [
        "--partition=main",
        "--time=60",
        "--cpus-per-task=1",
        "--mem=2048M",
    ]


def test_without_partitions_slurm_decides() -> None:
    assert Choice({}).request({}).arguments() == []


def test_what_somebody_chooses_reaches_slurm() -> None:
    chosen = {
        "partition": "gpu",
        "hours": "1.5",
        "processors": 2,
        "memory_gb": "4",
        "gpus": "1",
        "account": "physics",
        "qos": "interactive",
    }
    assert CHOICE.request(chosen).arguments() == [
        "--partition=gpu",
        "--time=90",
        "--cpus-per-task=2",
        "--mem=4096M",
        "--gres=gpu:1",
        "--account=physics",
        "--qos=interactive",
    ]


@pytest.mark.parametrize(
    ("chosen", "refusal"),
    [
        ({"hours": "9"}, "hours: expected a number from 0.02 to 8"),
        ({"partition": "gpu", "hours": "3"}, "hours: expected a number from 0.02 to 2"),
        ({"processors": "1.5"}, "processors: expected a whole number from 1 to 4"),
        ({"processors": "0"}, "processors: expected a whole number from 1 to 4"),
        ({"processors": True}, "processors: expected a whole number"),
        ({"gpus": "1"}, "gpus: expected a whole number from 0 to 0"),
        ({"partition": "other"}, "partition: expected one of main, gpu"),
        ({"account": "chemistry"}, "account: expected one of physics"),
        ({"reservation": "exam"}, "reservation: expected nothing"),
        ({"qos": "high"}, "qos: expected one of interactive"),
        ({"prologue": "touch x"}, "prologue: no such option"),
    ],
)
def test_what_is_out_of_its_limits_is_refused(chosen: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValueError, match=re.escape(refusal)):
        CHOICE.request(chosen)


NAMES = [*vars(Request()), "hours", "memory_gb", "cmd"]
VALUES = st.one_of(
    st.sampled_from(HOSTILE), st.text(), st.integers(), st.floats(), st.lists(st.text())
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_somebody_sends_is_refused_or_becomes_plain_words(chosen: dict[str, Any]) -> None:
    try:
        arguments = CHOICE.request(chosen).arguments()
    except ValueError:
        return
    assert all(re.fullmatch(r"--[a-z-]+=[A-Za-z0-9:]+", each) for each in arguments)


def test_no_more_is_offered_than_the_cluster_has() -> None:
    cluster = [
        Partition("main", True, True, 120, 2, 4096, 0),
        Partition("gpu", False, False, 9, 9, 9, 9),
    ]
    here = CHOICE.within(cluster)
    assert here.limits == {"main": Limits(2, 2, 4, 0)}
    assert (here.accounts, here.qos) == (("physics",), ("interactive",))


def test_what_the_cluster_has_is_shown_in_numbers_that_people_read_and_may_be_chosen() -> None:
    # Slurm counts in MB and minutes.
    cluster = [
        Partition("main", True, True, 100, 2, 4000, 0),
        Partition("gpu", False, True, 1, 2, 600, 0),
    ]
    here = CHOICE.within(cluster)
    assert "main: up to 1.66 h, 2 processors, 3.9 GB" in form(here, {})
    most = here.request({"hours": "1.66", "memory_gb": "3.9"})
    assert (most.minutes, most.memory_mb) == (100, 3994)
    assert here.request({"partition": "gpu"}) == Request("gpu", 1, 1, 512)


def test_the_form_shows_what_was_chosen_and_returns_it() -> None:
    shown = form(CHOICE, {"partition": "gpu", "hours": '"><script>'})
    assert '<option value="gpu" selected>gpu: up to 2 h' in shown
    assert "<script>" not in shown
    assert 'name="reservation"' not in shown
    assert "<option>interactive</option>" in shown
    assert '<option value="">your usual one</option>' in shown
    sent = {"partition": ["gpu"], "hours": [" 1 "], "account": [""], "cmd": ["x"]}
    assert from_form(sent) == {"partition": "gpu", "hours": "1"}


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\n", "a;b", "a" * 65, "$x"])
def test_a_name_that_is_more_than_a_word_is_none(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("limits", [{"hours": "8"}, {"hours": -1}, {"gpus": True}])
def test_a_limit_that_is_no_number_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        Limits(**limits)
