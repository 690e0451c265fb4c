"""The unit of a user server: its properties, and that systemd understands them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.units import server
from littlest_hub.units.server import Account, Properties

pytestmark = pytest.mark.unit

LAYOUT = Layout(DEFAULT_BASE)


def account(home: str | None) -> Account:
    return Account("alice", Path(home) if home else None, 1001, 1001)


def mounts(home: str | None, layout: Layout = LAYOUT) -> tuple[list[str], list[str], list[str]]:
    """Return hidden directories of homes, and paths shown in them, writable and read-only."""
    found = server.server_properties(layout, account(home))
    hidden = [entry.rpartition(":")[0] for entry in found["TemporaryFileSystem"]]
    shown = [found.get(name, []) for name in ("BindPaths", "BindReadOnlyPaths")]
    assert all(isinstance(each, list) for each in shown)
    own = [path for path in hidden if path not in _OTHER_MOUNTS]
    return own, [*shown[0]], [path for path in shown[1] if not path.startswith("-/run/systemd/")]


_OTHER_MOUNTS = ("/dev/shm", "/run/jupyter", "/run/lock", "/run/systemd")
HOMES = ["/home", "/root", "/run/user"]


@pytest.mark.parametrize(
    ("home", "hidden", "shown"),
    [
        ("/home/alice", HOMES, ["-/home/alice"]),
        ("/home/EXAMPLE/alice", [*HOMES, "/home/EXAMPLE"], ["-/home/EXAMPLE/alice"]),
        ("/home/a/b/alice", [*HOMES, "/home/a", "/home/a/b"], ["-/home/a/b/alice"]),
        ("/data/homes/alice", [*HOMES, "/data/homes"], ["-/data/homes/alice"]),
        ("/srv/alice", [*HOMES, "/srv"], ["-/srv/alice"]),
        # These contain more than homes, so only modes protect other homes.
        ("/alice", HOMES, []),
        ("/var/lib/alice", HOMES, []),
        ("/", HOMES, []),
        # In a template unit for all users.
        ("/home/%i", HOMES, ["-/home/%i"]),
        (None, ["/root", "/run/user"], []),
    ],
)
def test_other_homes_are_hidden_and_the_users_own_is_shown(
    home: str | None, hidden: list[str], shown: list[str]
) -> None:
    assert mounts(home) == (hidden, shown, [])


def test_a_base_directory_beside_homes_stays_visible() -> None:
    assert mounts("/srv/alice", Layout(Path("/srv/physics"))) == (
        [*HOMES, "/srv"],
        ["-/srv/alice"],
        ["/srv/physics"],
    )
    assert mounts("/data/alice", Layout(Path("/srv/physics")))[2] == []
    assert mounts("/srv/alice", Layout(Path("/srv/hubs/physics"))) == (
        [*HOMES, "/srv", "/srv/hubs"],
        ["-/srv/alice"],
        ["/srv/hubs/physics"],
    )


def test_a_home_with_a_space_or_a_colon_is_quoted() -> None:
    assert mounts("/home/first last")[1] == ['-"/home/first last"']
    assert mounts("/data:1/alice")[0][-1] == '"/data:1"'


@pytest.mark.parametrize("home", ["home", '/home/"x', "/home/x\\", "/home/x\ny", "/home/../etc"])
def test_a_home_that_cannot_be_written_in_a_unit_is_refused(home: str) -> None:
    with pytest.raises(LittlestHubError, match="home directory"):
        server.server_properties(LAYOUT, account(home))


def test_a_dynamic_user_sees_no_home() -> None:
    found = server.server_properties(LAYOUT, None)
    assert "BindPaths" not in found
    assert any(entry.startswith("/home:") for entry in found["TemporaryFileSystem"])


def test_an_older_systemd_gets_only_properties_that_it_knows() -> None:
    of_247 = server.server_properties(LAYOUT, account("/home/alice"), systemd=247)
    of_252 = server.server_properties(LAYOUT, account("/home/alice"), systemd=252)
    assert set(of_252) - set(of_247) == {"PrivateIPC"}
    assert of_252 == server.server_properties(LAYOUT, account("/home/alice"))


def test_a_server_that_may_use_sudo_has_no_property_that_prevents_it() -> None:
    found = server.server_properties(LAYOUT, account("/home/alice"), may_become_root=True)
    # Each of these implies NoNewPrivileges= for a unit with a user, systemd.exec(5).
    assert not [name for name in found if name.startswith(("Restrict", "ProtectK", "SystemCall"))]
    assert not {"NoNewPrivileges", "CapabilityBoundingSet", "PrivateDevices"} & set(found)
    assert {"TemporaryFileSystem", "PrivateTmp", "MemoryMax"} <= set(found)
    # Root needs systemd's sockets, and sudo records in the journal who ran what.
    shown = [*found["TemporaryFileSystem"], *found["InaccessiblePaths"]]
    assert not [path for path in shown if "/journal/" in path or path.startswith("/run/systemd:")]


def test_jupyter_uses_the_runtime_directory_if_it_is_mounted() -> None:
    found = server.server_properties(LAYOUT, account("/home/alice"))
    assert server.environment(found) == {
        "JUPYTER_RUNTIME_DIR": "/run/jupyter",
        "TMPDIR": "/tmp",
        "TEMP": "/run/jupyter",
    }
    assert server.environment({**found, "TemporaryFileSystem": ["/home:ro"]}) == {}
    assert server.environment({**found, "TemporaryFileSystem": ""}) == {}


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("home", ["/home/alice", "/srv/first last", None])
def test_systemd_accepts_the_properties_without_warnings(tmp_path: Path, home: str | None) -> None:
    lines = ["[Service]", "ExecStart=/bin/true", "User=1001"]
    for name, value in server.server_properties(LAYOUT, account(home)).items():
        lines += [f"{name}={each}" for each in ([value] if isinstance(value, str) else value)]
    (service := tmp_path / "server.service").write_text("\n".join(lines) + "\n")
    (slice_ := tmp_path / LAYOUT.users_slice).write_text(server.users_slice(LAYOUT).text())
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([*verify, service, slice_], capture_output=True, text=True)
    assert done.stderr == ""


def test_the_slice_belongs_to_the_installation_but_is_not_stopped_with_it() -> None:
    assert LAYOUT.users_slice == "littlest-hub-users.slice"
    assert Layout(Path("/srv/physics")).users_slice == "littlest-hub-physics-users.slice"
    assert LAYOUT.users_slice not in LAYOUT.started_unit_names
    assert LAYOUT.users_slice in LAYOUT.all_unit_names
    assert server.server_properties(LAYOUT, None)["Slice"] == LAYOUT.users_slice


def test_properties_that_are_there_stay() -> None:
    present: Properties = {"BindPaths": ["/home/alice"], "TemporaryFileSystem": "/home:ro /root:ro"}
    more = {"BindPaths": ["-/srv/x"], "TemporaryFileSystem": ["/srv:ro"], "ExecStartPre": ["-a"]}
    assert server.with_values(present, more) == {
        "BindPaths": ["/home/alice", "-/srv/x"],
        "TemporaryFileSystem": ["/home:ro /root:ro", "/srv:ro"],
        "ExecStartPre": ["-a"],
    }
