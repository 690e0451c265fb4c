"""Settings of the class's fragment that decide when servers and kernels are stopped."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from littlest_hub.hub.config import CULLER, complete
from littlest_hub.manifest import plain_values
from littlest_hub.stacks.classroom import culling
from littlest_hub.stacks.classroom.culling import Culling
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.group_culler import Memberships, is_over

STOCK = Path(__file__).parents[4] / "jupyterhub_config.d" / FRAGMENT
COMMAND = ["python3", "-I", "-m", "jupyterhub_idle_culler"]


def configured(**variables: Any) -> Config:
    """Return the configuration after the fragment has run, with these values."""
    c = Config()
    c.JupyterHub.spawner_class = "simple"
    c.JupyterHub.bind_url = "http://127.0.0.1:8000"
    c.JupyterHub.services = [{"name": CULLER, "command": [*COMMAND, "--timeout=1"]}]
    role = {"name": CULLER, "scopes": ["list:users", "read:users:activity"], "services": [CULLER]}
    c.JupyterHub.load_roles = [role]
    culling.configure(c, variables)
    complete(c)
    return c


def test_the_stock_fragment_has_the_defaults() -> None:
    assert plain_values.parse(STOCK.read_text(), Culling) == Culling()
    lines = STOCK.read_text().splitlines()
    for name in Culling.__dataclass_fields__:
        assert any(line.startswith(f"{name.upper()} = ") for line in lines), name


def test_the_culler_gets_the_times_and_kernels_are_left_alone() -> None:
    c = configured()
    (service,) = c.JupyterHub.services
    assert service["command"] == [*COMMAND, "--timeout=3600", "--cull-every=300"]
    assert c.Spawner.args.get_value([]) == []


def test_each_setting_reaches_the_program_that_it_is_for() -> None:
    c = configured(
        CULL_IDLE_S=7200,
        CULL_EVERY_S=60,
        CULL_MAX_AGE_S=604800,
        CULL_USERS=True,
        CULL_KERNELS=True,
        CULL_KERNEL_IDLE_S=900,
        CULL_CONNECTED_KERNELS=True,
    )
    (service,) = c.JupyterHub.services
    options = ["--timeout=7200", "--cull-every=60", "--max-age=604800", "--cull-users"]
    assert service["command"] == [*COMMAND, *options]
    (role,) = c.JupyterHub.load_roles
    assert "delete:users" in role["scopes"]
    assert c.Spawner.args.get_value([]) == [
        "--MappingKernelManager.cull_idle_timeout=900",
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_connected=True",
    ]


def test_0_seconds_is_no_culler() -> None:
    assert configured(CULL_IDLE_S=0).JupyterHub.services == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cull_idle_s", "1h"),
        ("cull_idle_s", -1),
        ("cull_idle_s", True),
        ("cull_every_s", 0),
        ("cull_max_age_s", 0.5),
        ("cull_users", 1),
        ("cull_kernels", "no"),
        ("cull_kernel_idle_s", 0),
        ("cull_connected_kernels", None),
        ("cull_groups", ["thesis"]),
        ("cull_groups", {"": {"idle_s": 1}}),
        ("cull_groups", {3: {"idle_s": 1}}),
        ("cull_groups", {"thesis": 3600}),
        ("cull_groups", {"thesis": {}}),
        ("cull_groups", {"thesis": {"idle": 3600}}),
        ("cull_groups", {"thesis": {"idle_s": "1h"}}),
        ("cull_groups", {"thesis": {"idle_s": True}}),
        ("cull_groups", {"thesis": {"max_age_s": -1}}),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: Any) -> None:
    ((found, _),) = Culling(**{name: value}).problems()
    assert found == name.upper()


GROUPS = {
    "thesis": {"idle_s": 86_400, "max_age_s": 0},
    "lab": {"idle_s": 7200, "max_age_s": 36_000},
    "guests": {"idle_s": 600},
    "forever": {"idle_s": 0},
}


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        ([], (3600, 7000)),
        (["others"], (3600, 7000)),
        (["guests"], (600, 7000)),
        (["lab", "guests", "others"], (7200, 36_000)),
        (["lab", "thesis"], (86_400, 0)),
        (["forever", "guests"], (0, 7000)),
    ],
)
def test_a_persons_limits_are_the_longest_of_their_groups_or_those_of_all(
    groups: list[str], limits: tuple[int, int]
) -> None:
    wanted = Culling(cull_max_age_s=7000, cull_groups=GROUPS)
    assert wanted.problems() == []
    assert wanted.of_person(groups) == limits
    assert Culling.from_json(wanted.to_json()).of_person(groups) == limits


def test_limits_of_groups_need_another_culler_that_may_read_these_groups_only() -> None:
    c = configured(CULL_GROUPS={"thesis": {"idle_s": 0}}, CULL_MAX_AGE_S=9000)
    (service,) = c.JupyterHub.services
    module = "littlest_hub.stacks.classroom.group_culler"
    assert service["command"] == [*COMMAND[:-1], module, "--timeout=3600", "--cull-every=300"]
    assert Culling.from_json(service["environment"][culling.SETTINGS]).cull_max_age_s == 9000
    (role,) = c.JupyterHub.load_roles
    assert role["scopes"][2:] == ["read:groups!group=thesis"]


def test_a_group_may_have_a_limit_if_all_others_have_none() -> None:
    c = configured(CULL_GROUPS={"guests": {"idle_s": 600}}, CULL_IDLE_S=0, CULL_USERS=True)
    (service,) = c.JupyterHub.services
    assert "--cull-users" not in service["command"]
    assert "delete:users" not in c.JupyterHub.load_roles[0]["scopes"]


NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
STARTED = {"started": "2026-11-30T10:00:00.000000Z"}


@pytest.mark.parametrize(
    ("limits", "inactive_s", "is_stopped"),
    [
        ((3600, 0), 3599, False),
        ((3600, 0), 3600, True),
        ((0, 0), 10**7, False),
        ((0, 7201), 0, False),
        ((0, 7200), 0, True),
        ((3600, 7200), None, True),
        ((3600, 0), None, False),
    ],
)
def test_a_server_is_stopped_at_its_limit(
    limits: tuple[int, int], inactive_s: int | None, is_stopped: bool
) -> None:
    inactive = None if inactive_s is None else timedelta(seconds=inactive_s)
    assert is_over(limits, inactive, STARTED, NOON) is is_stopped


def test_the_hub_is_asked_once_for_all_servers_and_again_later() -> None:
    asked: list[str] = []

    async def members_of(group: str) -> list[str]:
        asked.append(group)
        return {"thesis": ["ann"], "lab": ["ann", "bob"]}[group]

    async def look(kept_s: float) -> list[list[str]]:
        asked.clear()
        found = Memberships(["thesis", "lab"], kept_s, members_of)
        return list(await asyncio.gather(*(found.of(each) for each in ("ann", "bob", "cleo"))))

    assert asyncio.run(look(60)) == [["thesis", "lab"], ["lab"], []]
    assert asked == ["thesis", "lab"]
    asyncio.run(look(0))
    assert asked == ["thesis", "lab"] * 3


def test_nothing_is_known_about_anybody_while_the_hub_does_not_answer() -> None:
    async def members_of(group: str) -> list[str]:
        raise OSError(group)

    with pytest.raises(OSError, match="thesis"):
        asyncio.run(Memberships(["thesis"], 60, members_of).of("ann"))
