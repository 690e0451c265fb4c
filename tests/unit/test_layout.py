"""Names and paths of an installation."""

from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.lifecycle import base_directory

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("base", "instance", "user"),
    [
        ("/opt/littlest-hub", "littlest-hub", "lhub-proxy"),
        ("/srv/physics", "littlest-hub-physics", "lhub-physics-proxy"),
        ("/opt/littlest-hub-2", "littlest-hub-2", "lhub-2-proxy"),
    ],
)
def test_the_last_part_of_the_base_directory_names_units_and_user(
    base: str, instance: str, user: str
) -> None:
    layout = Layout(Path(base))
    base_directory.check(layout)
    assert layout.hub_service == f"{instance}.service"
    assert layout.hub_socket == f"{instance}.socket"
    assert layout.proxy_service == f"{instance}-proxy.service"
    assert layout.proxy_user == user


def test_the_longest_name_makes_a_user_name_that_systemd_takes() -> None:
    layout = Layout(Path("/srv") / ("x" * 20))
    base_directory.check(layout)
    assert len(layout.proxy_user) <= 31


@pytest.mark.parametrize(
    "base",
    [
        "/srv/Physics",
        "/srv/a b",
        "/srv/%i",
        "/srv/é",
        "/srv/-x",
        "/srv/x-",
        "/srv/a$b",
        "/srv/a.b",
        "/srv/" + "x" * 21,
        "/srv/proxy",
        "/srv/a-proxy",
        "/srv/proxy-api",
        "/srv/servers",
        "/srv/users",
        "/srv/a-users",
        "/srv/users-b",
        "/",
        "/srv/../x",
        "/srv/x y/z",
        "/home/alice/hub",
        "/root/hub",
        "/tmp/hub",
    ],
)
def test_a_base_directory_that_cannot_be_in_units_is_refused(base: str) -> None:
    with pytest.raises(LittlestHubError) as refused:
        base_directory.check(Layout(Path(base)))
    assert base in refused.value.message
    assert refused.value.hint


def test_the_base_directory_follows_from_the_prefix() -> None:
    assert Layout.from_path(Path("/srv/physics/releases/2026.11.0")).base == Path("/srv/physics")


@pytest.mark.parametrize(
    ("prefix", "right"),
    [
        ("/srv/hub", "-p /srv/hub/releases/"),
        ("/opt/littlest-hub", f"-p {DEFAULT_BASE}/releases/"),
        ("releases/1", f"-p {DEFAULT_BASE}/releases/"),
    ],
)
def test_another_prefix_is_refused_with_the_right_command(prefix: str, right: str) -> None:
    with pytest.raises(LittlestHubError) as refused:
        Layout.from_path(Path(prefix))
    assert right in (refused.value.hint or "")


def test_paths_are_found_below_the_root() -> None:
    layout = Layout(DEFAULT_BASE, Path("/mnt/image"))
    assert layout.on_disk(layout.state) == Path("/mnt/image/opt/littlest-hub/state")
    assert layout.state == Path("/opt/littlest-hub/state")


def test_no_two_hubs_share_a_user_servers_unit() -> None:
    names = [Layout(Path(base)).user_unit_format for base in ("/srv/a", "/srv/a-user-b")]
    assert names[0].format(USERNAME="b") != names[1].format(USERNAME="")
