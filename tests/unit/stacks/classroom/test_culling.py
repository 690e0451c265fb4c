"""Settings of the class's fragment that decide when servers and kernels are stopped."""

from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from littlest_hub.hub.config import CULLER, complete
from littlest_hub.manifest import plain_values
from littlest_hub.stacks.classroom import culling
from littlest_hub.stacks.classroom.culling import Culling
from littlest_hub.stacks.classroom.fragment import FRAGMENT

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
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: Any) -> None:
    ((found, _),) = Culling(**{name: value}).problems()
    assert found == name.upper()
