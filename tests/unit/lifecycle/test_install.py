"""Whole installations into a directory, with systemd's own tools."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.lifecycle.install import install, users_fragment
from littlest_hub.lifecycle.uninstall import uninstall
from littlest_hub.lifecycle.unit_files import GeneratedFiles, UnitFiles
from littlest_hub.system.addresses import is_ipv6_separate
from littlest_hub.system.files import link, write
from littlest_hub.units.ports import Ports
from tests.eventually import eventually

pytestmark = pytest.mark.unit

# Programs that install system users and units.
needs_root = pytest.mark.needs("root", "systemctl")
RELEASE = "releases/2026.11.0"


def image(root: Path, base: Path = DEFAULT_BASE, release: str = RELEASE) -> tuple[Layout, Path]:
    """Make a machine's file system with a release that has just been unpacked."""
    layout = Layout(base, root)
    prefix = base / release
    python = layout.on_disk(prefix / "bin/python3")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (root / "etc").mkdir(exist_ok=True)
    return layout, prefix


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return every path with its type, mode, owner, content and time."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            content: object = path.readlink()
        else:
            content = path.read_bytes() if path.is_file() else None
        if path.name in ("change.lock", "upgrades.log"):
            continue  # they record events
        at = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
        found[str(path.relative_to(root))] = at
    return found


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def systemless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing on PATH, so that there is no systemctl."""
    monkeypatch.setenv("PATH", "/nonexistent")


@needs_root
def test_an_installation_has_its_layout_units_and_links(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    said = install(layout, prefix, {})

    base = tmp_path / "opt/littlest-hub"
    assert (base / "hub").readlink() == Path(RELEASE)
    assert oct((base / "state").stat().st_mode)[-4:] == "0700"
    assert oct((base / "jupyterhub_config.d").stat().st_mode)[-4:] == "0700"
    # Reachable only through state/, which is root's, or through the proxy's own mount.
    assert oct((base / "state/proxy/dynamic").stat().st_mode)[-4:] == "0755"
    for file in ("traefik.toml", "dynamic/rules.toml"):
        assert oct((base / "state/proxy" / file).stat().st_mode)[-4:] == "0644", file
    etc = tmp_path / "etc/systemd/system"
    for unit in (*layout.started_unit_names, *layout.helper_units):
        assert (etc / unit).readlink() == layout.unit_directory / unit
        assert layout.on_disk(layout.unit_directory / unit).is_file()
    assert not (tmp_path / "etc/passwd").exists()
    assert sorted(p.name for p in (etc / "multi-user.target.wants").iterdir()) == [
        "littlest-hub-guard.service",
        "littlest-hub-proxy.service",
        "littlest-hub.service",
    ]
    assert len(list((etc / "sockets.target.wants").iterdir())) == 7
    assert (tmp_path / "usr/local/bin/littlest-hub").readlink() == layout.hub / "bin/littlest-hub"
    assert "next boot" in said
    assert 'c.Authenticator.allowed_users = {"alice"}' in said


@needs_root
@pytest.mark.skipif(is_ipv6_separate(), reason="IPv6 sockets take no IPv4 here")
def test_an_upgrade_opens_no_socket_again_for_the_address_family_that_it_has(
    tmp_path: Path,
) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    files = UnitFiles(layout)
    unit = layout.on_disk(layout.unit_directory / layout.proxy_socket)
    before = unit.read_text().replace("BindIPv6Only=both\n", "")
    unit.write_text(before)
    assert files.install(Ports(), lambda: ()) == set()
    assert unit.read_text() != before
    assert files.install(Ports(public=81), lambda: ()) == {layout.proxy_socket, layout.hub_service}


@needs_root
def test_a_return_to_a_release_with_fewer_units_leaves_no_links_to_the_others(
    tmp_path: Path,
) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    files = UnitFiles(layout)
    generated = files.generated()
    newer = {layout.guard_service, layout.guard_socket, layout.hook_socket, layout.hook_service}
    texts = {name: text for name, text in generated.unit_texts.items() if name not in newer}
    assert newer <= {path.rpartition("/")[2] for path in snapshot(tmp_path)}
    assert files.restore(GeneratedFiles(texts, generated.static_config)) == set()
    left = {path.rpartition("/")[2] for path in snapshot(tmp_path)}
    assert not newer & left
    assert set(texts) <= left


@needs_root
@pytest.mark.row(34)
@pytest.mark.parametrize(
    "inside", ["opt", "opt/littlest-hub", "opt/littlest-hub/jupyterhub_config.d"]
)
def test_a_directory_that_a_user_may_rename_is_refused_and_nothing_is_written(
    tmp_path: Path, inside: str
) -> None:
    layout, prefix = image(tmp_path)
    (tmp_path / inside).mkdir(exist_ok=True)
    os.chown(tmp_path / inside, 1000, 0)
    before = snapshot(tmp_path)
    with pytest.raises(LittlestHubError, match=f"/{inside} belongs to .* mode 0755, so other"):
        install(layout, prefix, {})
    assert snapshot(tmp_path) == before
    os.chown(tmp_path / inside, 0, 0)
    install(layout, prefix, {})


@needs_root
def test_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    before = snapshot(tmp_path)
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "bob"})
    assert snapshot(tmp_path) == before


@needs_root
def test_uninstalling_leaves_what_the_administrator_owns(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    before = names(tmp_path / "etc")
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    said = uninstall(layout)
    left = names(tmp_path)
    assert not [name for name in left if "littlest-hub" in name and name.startswith("etc/")]
    assert "usr/local/bin/littlest-hub" not in left
    assert {"hub", "releases", "units"} & {
        p.name for p in (tmp_path / "opt/littlest-hub").iterdir()
    } == set()
    assert "opt/littlest-hub/jupyterhub_config.d/10-users.py" in left
    assert "rm -rf /opt/littlest-hub" in said
    assert before <= names(tmp_path / "etc")


@needs_root
def test_purging_leaves_nothing_at_all(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    before = names(tmp_path / "etc") | {"opt"}
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    layout.on_disk(layout.system_units / f"{layout.hub_service}.d").mkdir()
    assert uninstall(layout, purge=True) == "Removed."
    left = names(tmp_path) - {f"etc/{name}" for name in before}
    assert {name for name in left if "." in name or "hub" in name} == set()


@needs_root
def test_uninstalling_names_what_it_could_not_remove(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    assert "could be removed" not in uninstall(layout)
    install(*image(tmp_path), {})
    # An administrator has moved the releases to another disk.
    releases, elsewhere = layout.on_disk(layout.releases), tmp_path / "disk"
    releases.rename(elsewhere)
    releases.symlink_to(elsewhere)
    assert f"See why: rm -rf {layout.releases}" in uninstall(layout)


@needs_root
def test_half_an_installation_can_be_uninstalled(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    layout.on_disk(layout.hub).unlink()
    shutil.rmtree(layout.on_disk(layout.unit_directory))
    shutil.rmtree(layout.on_disk(layout.state))
    uninstall(layout)
    assert not [name for name in names(tmp_path / "etc") if "littlest-hub" in name]


@needs_root
def test_units_of_a_removed_base_directory_do_not_block_another_one(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path, Path("/srv/physics"))
    install(layout, prefix, {})
    shutil.rmtree(layout.on_disk(layout.base))
    install(*image(tmp_path, Path("/opt/physics")), {})
    unit = layout.on_disk(layout.system_units) / layout.hub_service
    assert unit.readlink() == Path("/opt/physics/units") / layout.hub_service


@needs_root
def test_another_base_directory_lives_beside_the_first(tmp_path: Path) -> None:
    install(*image(tmp_path), {})
    physics, prefix = image(tmp_path, Path("/srv/physics"))
    install(physics, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    fragment = physics.on_disk(physics.fragments) / "10-users.py"
    assert "systemctl reload littlest-hub-physics\n" in fragment.read_text()
    first = tmp_path / "opt/littlest-hub/units/littlest-hub-proxy.socket"
    assert "ListenStream=80\n" in first.read_text()
    second = physics.on_disk(physics.unit_directory) / "littlest-hub-physics-proxy.socket"
    assert "ListenStream=8000\n" in second.read_text()
    assert (tmp_path / "usr/local/bin/littlest-hub").readlink().is_relative_to(DEFAULT_BASE)


@needs_root
def test_a_base_directory_of_the_same_name_elsewhere_is_refused(tmp_path: Path) -> None:
    install(*image(tmp_path, Path("/srv/physics")), {})
    layout, prefix = image(tmp_path, Path("/opt/physics"))
    before = snapshot(tmp_path)
    with pytest.raises(LittlestHubError, match="belong to /srv/physics already"):
        install(layout, prefix, {})
    assert snapshot(tmp_path) == before


@needs_root
def test_uninstalling_a_base_directory_of_the_same_name_leaves_the_services_alone(
    tmp_path: Path,
) -> None:
    served, prefix = image(tmp_path)
    install(served, prefix, {})
    before = snapshot(tmp_path / "etc"), snapshot(tmp_path / "usr")
    own, prefix = image(tmp_path, Path("/home/bob/littlest-hub"))
    own.on_disk(own.hub).symlink_to(RELEASE)
    uninstall(own)
    assert (snapshot(tmp_path / "etc"), snapshot(tmp_path / "usr")) == before
    assert not own.on_disk(own.releases).exists()


@needs_root
def test_uninstalling_lists_drop_ins_and_homes_that_are_left(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    units = "/etc/systemd/system"
    drop_ins = [
        f"{units}/{name}.d"
        for name in (
            "littlest-hub-users.slice",
            "littlest-hub.service",
            "littlest-hub.user-.service",
            "littlest-hub.user@alice.service",
        )
    ]
    left = [*drop_ins, "/var/lib/private/littlest-hub-homes"]
    others = [f"{units}/littlest-hub-2.service.d", f"{units}/littlest-hub-2.user-.service.d"]
    for directory in (*left, *others):
        layout.on_disk(Path(directory)).mkdir(parents=True)
    said = uninstall(layout)
    assert f"rm -rf /opt/littlest-hub {' '.join(left)}\n" in f"{said}\n"


@needs_root
def test_a_purge_removes_the_drop_ins_of_this_hub_alone(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    units = layout.on_disk(layout.system_units)
    ours = [
        "littlest-hub.service.d",
        "littlest-hub.user-.service.d",
        "littlest-hub.user@a.service.d",
    ]
    others = ["littlest-hub-2.service.d", "littlest-hub-2.user-.service.d", "littlest-hub.users.d"]
    for name in (*ours, *others):
        (units / name).mkdir()
    uninstall(layout, purge=True)
    assert sorted(path.name for path in units.glob("*.d")) == others


def ship(layout: Layout, prefix: Path) -> None:
    """Add a ready fragment with a drop-in to a release."""
    catalogue = layout.on_disk(prefix / "share/littlest-hub/jupyterhub_config.d")
    catalogue.mkdir(parents=True)
    (catalogue / "50-slurm.py").write_text("# Jobs.\n")
    (catalogue / "50-slurm.conf").write_text("[Service]\nPrivateUsers=no\n")


@needs_root
def test_an_upgrade_adds_the_drop_in_that_an_enabled_fragment_begins_to_need(
    tmp_path: Path,
) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    (layout.on_disk(layout.fragments) / "50-slurm.py").write_text("# Jobs of before.\n")
    said: list[str] = []
    drop_in = layout.on_disk(layout.hub_drop_ins) / "50-slurm.conf"
    _, following = image(tmp_path, release="releases/2026.11.1")
    ship(layout, following)
    install(layout, following, {}, said.append)
    assert drop_in.read_text() == "[Service]\nPrivateUsers=no\n"
    assert any(str(layout.hub_drop_ins / "50-slurm.conf") in line for line in said)
    # From now on the administrator may remove it.
    drop_in.unlink()
    _, last = image(tmp_path, release="releases/2026.11.2")
    ship(layout, last)
    install(layout, last, {})
    assert not drop_in.exists()


@needs_root
def test_an_installation_that_fails_removes_its_drop_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, prefix = image(tmp_path)
    ship(layout, prefix)
    fragments = layout.on_disk(layout.fragments)
    fragments.mkdir(parents=True)
    (fragments / "50-slurm.py").write_text("# Jobs.\n")
    drop_in = layout.on_disk(layout.hub_drop_ins) / "50-slurm.conf"

    def fail(*_: object) -> None:
        assert drop_in.exists()
        raise LittlestHubError("no port is free")

    monkeypatch.setattr("littlest_hub.lifecycle.install.choose_ports", fail)
    with pytest.raises(LittlestHubError, match="no port"):
        install(layout, prefix, {})
    assert not drop_in.parent.exists()


@needs_root
def test_the_mode_of_the_proxys_files_is_repaired(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    before = snapshot(tmp_path)
    for file in (layout.static_config, layout.routes):
        layout.on_disk(file).chmod(0o600)
    install(layout, prefix, {})
    assert snapshot(tmp_path) == before


@needs_root
def test_a_repair_restores_owners_and_modes_and_names_them(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    library = layout.on_disk(prefix / "lib")
    library.mkdir(mode=0o755)
    for name in ("module.py", "other.py"):
        (library / name).write_text("x = 1\n")
    traefik = layout.on_disk(prefix / "bin/traefik")
    traefik.write_text("#!/bin/sh\n")
    traefik.chmod(0o755)
    install(layout, prefix, {})
    secret = layout.on_disk(layout.cookie_secret)
    write(secret, "secret", 0o600)
    before = snapshot(tmp_path)
    library.chmod(0o700)
    (library / "module.py").chmod(0o666)
    os.chown(library / "other.py", 1, -1)
    traefik.chmod(0o644)
    secret.chmod(0o644)
    layout.on_disk(layout.state).chmod(0o755)
    said: list[str] = []
    install(layout, prefix, {}, progress=said.append)
    assert snapshot(tmp_path) == before
    told = "\n".join(said)
    for path in ("bin/traefik: owner 0, mode 0644", "lib: owner 0, mode 0700", "state: owner 0"):
        assert path in told, told


@needs_root
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_undoes_an_installation_even_if_the_terminal_is_gone(
    tmp_path: Path, ending: signal.Signals
) -> None:
    root, tools = tmp_path / "root", tmp_path / "bin"
    root.mkdir()
    layout, prefix = image(root)
    before = names(layout.on_disk(layout.base))
    started = tmp_path / "started"
    tools.mkdir()
    # `enable` takes forever, and `disable`, which undoes it, fails.
    (tools / "systemctl").write_text(
        f'#!/bin/sh\ncase "$*" in *enable*) touch {started}; exec sleep 600 ;; esac\nexit 1\n'
    )
    (tools / "systemctl").chmod(0o755)
    # A pipe without a reader behaves like a terminal that hung up.
    reader, writer = os.pipe()
    os.close(reader)
    # The tests may run under nohup, whose ignored SIGHUP would be inherited.
    command = ["env", "--default-signal", sys.executable, "-m", "littlest_hub", "install"]
    installing = subprocess.Popen(
        [*command, "--root", str(root), "--prefix", str(prefix)],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        stderr=writer,
        stdout=subprocess.DEVNULL,
    )
    os.close(writer)
    eventually(started.exists, 30, "`systemctl enable`")
    installing.send_signal(ending)
    assert installing.wait(timeout=30) == 1
    assert names(layout.on_disk(layout.base)) == before


@needs_root
def test_a_file_that_appears_during_a_failing_installation_is_kept(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    tool = tmp_path / "bin/systemctl"
    tool.parent.mkdir()
    mine = layout.on_disk(layout.fragments / "20-mine.py")
    tool.write_text(f"#!/bin/sh\necho mine >{mine}\nexit 1\n")
    tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
        with pytest.raises(LittlestHubError, match="systemctl"):
            install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    assert names(layout.on_disk(layout.fragments)) == {"20-mine.py"}


@needs_root
def test_a_failing_installation_leaves_nothing_and_a_retry_works(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    in_the_way = tmp_path / "etc/systemd/system/littlest-hub-proxy.service/x"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    before = names(tmp_path / "opt") | names(tmp_path / "etc")
    with pytest.raises(OSError, match=r"littlest-hub-proxy\.service"):
        install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    left = (names(tmp_path / "opt") | names(tmp_path / "etc")) - before
    assert left == set()

    shutil.rmtree(in_the_way.parent)
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice"})
    assert (tmp_path / "etc/systemd/system/littlest-hub.service").is_symlink()


@needs_root
def test_a_newer_release_is_switched_to_and_back_with_its_units_if_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, prefix = image(tmp_path)
    install(layout, prefix, {})
    _, newer = image(tmp_path, release="releases/2026.11.1")
    units = layout.on_disk(layout.unit_directory)
    socket = units / layout.hub_socket
    socket.write_text(f"# As an older release wrote it.\n{socket.read_text()}")
    tool = tmp_path.parent / f"{tmp_path.name}-bin/systemctl"
    tool.parent.mkdir()
    real = shutil.which("systemctl")
    # Fails once, when the newer release has written its units.
    tool.write_text(
        f'#!/bin/sh\n[ -e "$0.did" ] || {{ touch "$0.did"; exit 1; }}\nexec {real} "$@"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    before = {path: at[:3] + at[4:] for path, at in snapshot(tmp_path).items()}
    with pytest.raises(LittlestHubError, match="systemctl"):
        install(layout, newer, {})
    assert {path: at[:3] + at[4:] for path, at in snapshot(tmp_path).items()} == before

    install(layout, newer, {})
    assert layout.on_disk(layout.hub).readlink() == Path("releases/2026.11.1")
    assert "# As an older" not in socket.read_text()


@pytest.mark.usefixtures("systemless")
def test_without_systemd_there_is_only_the_base_directory(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path, Path("/home/alice/My Hub"))
    said = install(layout, prefix, {})
    assert "/home/alice/My Hub/hub/bin/littlest-hub run" in said
    assert names(tmp_path / "etc") == set()
    assert {p.name for p in (tmp_path / "home/alice/My Hub").iterdir()} == {
        "hub",
        "jupyterhub_config.d",
        "releases",
        "state",
    }


@pytest.mark.usefixtures("systemless")
def test_the_first_fragment_is_written_once_and_lets_the_administrator_in(tmp_path: Path) -> None:
    layout, prefix = image(tmp_path)
    fragment = layout.on_disk(layout.fragments / "10-users.py")
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "alice\n"})
    assert fragment.read_text() == users_fragment(layout, "alice")
    install(layout, prefix, {"LITTLEST_HUB_ADMIN": "bob"})
    assert fragment.read_text() == users_fragment(layout, "alice")


@pytest.mark.parametrize("admin", ["Alice", "a b", "a'", 'a"}', "-a", "a/b", "é", "a\nb"])
def test_an_invalid_login_name_does_not_become_an_administrator(tmp_path: Path, admin: str) -> None:
    layout, prefix = image(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(LittlestHubError, match="is no login name"):
        install(layout, prefix, {"LITTLEST_HUB_ADMIN": admin})
    assert snapshot(tmp_path) == before


def test_a_prefix_without_an_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match=r"bin/python3 is missing"):
        install(Layout(DEFAULT_BASE, tmp_path), DEFAULT_BASE / RELEASE, {})


def test_written_files_have_their_mode_regardless_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert write(tmp_path / "a/b", "text")
    finally:
        os.umask(before)
    assert oct((tmp_path / "a/b").stat().st_mode)[-4:] == "0644"
    assert not write(tmp_path / "a/b", "text")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_a_link_replaces_a_link_but_not_a_foreign_one_if_it_is_to_be_kept(tmp_path: Path) -> None:
    name = tmp_path / "name"
    assert link(name, Path("a"))
    assert link(name, Path("b"))
    assert not link(name, Path("b"))
    assert not link(name, Path("c"), keep_others=True)
    assert name.readlink() == Path("b")


def test_the_command_exits_with_1_if_it_refuses_and_2_for_wrong_usage(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "littlest_hub", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    refused = run("install", "--prefix", str(tmp_path))
    assert refused.returncode == 1
    assert "Install with: -p" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run("no-such-command").returncode == 2
    assert run().returncode == 2
    taught = run("--help")
    assert taught.returncode == 0
    assert "systemctl reload littlest-hub" in taught.stdout
