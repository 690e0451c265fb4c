"""Unit files, verified by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.lifecycle.unit_files import started_units
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units import guard
from littlest_hub.units.ports import Ports
from littlest_hub.units.stack import file_of, is_stack_unit, web_service
from littlest_hub.units.unit import Directive, Unit

pytestmark = pytest.mark.unit

LAYOUTS = [Layout(DEFAULT_BASE), Layout(Path("/srv/physics"))]
# Directives that came after systemd 247, which would warn about them (NEWS of systemd).
TOO_NEW = {
    "ExecPaths",
    "NoExecPaths",
    "PrivateIPC",
    "SocketBindDeny",
    "RestrictFileSystems",
    "MemoryPressureWatch",
    "RestartSteps",
    "RestartMaxDelaySec",
    "PropagatesStopTo",
    "Upholds",
    "ExtensionDirectories",
    "CPUQuotaPeriodSec",
}

needs_systemd = pytest.mark.needs("systemd-analyze")


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.instance)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """All units of a layout as files, by name; their commands exist."""
    files = {}
    how = EnabledStack("stack", port=15003)
    of_stack = web_service(request.param, how, "littlest_hub.stacks.announce.pages", "A page.")
    for unit in (*started_units(request.param, Ports()), *of_stack):
        text = re.sub(r"^(Exec\w+=)/\S+", r"\1/bin/true", unit.text(), flags=re.MULTILINE)
        files[unit.name] = tmp_path / unit.name
        files[unit.name].write_text(text)
    return files


@needs_systemd
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *written.values()],
        capture_output=True,
        text=True,
    )
    # Its exit code is 0 for a misspelled directive too.
    assert verify.stderr == ""
    assert verify.returncode == 0


def test_the_guard_can_be_started_with_the_names_of_all_sockets_that_it_stores() -> None:
    directives = guard.service(LAYOUTS[0], Ports()).sections["Service"]
    most = next(int(each.value) for each in directives if each.key == "FileDescriptorStoreMax")
    names = [str(2**32 - 1)] * most
    environ = {"LISTEN_FDNAMES": ":".join(["control", *names])}
    subprocess.run(["/bin/true"], env=environ, check=True)


def test_a_guard_that_cannot_start_is_not_tried_many_times_a_second() -> None:
    directives = guard.service(LAYOUTS[0], Ports()).sections["Service"]
    (pause,) = (each.value for each in directives if each.key == "RestartSec")
    assert float(pause.removesuffix("s")) >= 1


@pytest.mark.row(16)
@needs_systemd
@pytest.mark.parametrize(
    ("name", "exposure"), [("proxy", 1.1), ("hub", 1.9), ("guard", 2.5), ("stack", 0.9)]
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    by_role = {"hub": "service", **{r: f"{r}.service" for r in ("proxy", "guard", "stack")}}
    (service,) = (
        path
        for unit, path in written.items()
        if re.fullmatch(rf"littlest-hub(-physics)?[.-]{re.escape(by_role[name])}", unit)
    )
    security = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            f"--threshold={exposure * 10:.0f}",
            service,
        ],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout


def test_units_are_in_the_order_in_which_they_start() -> None:
    for layout in LAYOUTS:
        assert (
            tuple(unit.name for unit in started_units(layout, Ports())) == layout.started_unit_names
        )


def test_no_directive_is_newer_than_the_oldest_supported_systemd() -> None:
    for unit in started_units(LAYOUTS[0], Ports()):
        used = {setting.key for settings in unit.sections.values() for setting in settings}
        assert not used & TOO_NEW


def test_ports_are_in_the_sockets_and_in_the_hubs_environment() -> None:
    text = {
        unit.name: unit.text()
        for unit in started_units(LAYOUTS[0], Ports(8000, 15003, 15004, https=8443))
    }
    assert "ListenStream=8000\n" in text["littlest-hub-proxy.socket"]
    assert "ListenStream=127.0.0.1:15004\n" in text["littlest-hub-proxy-api.socket"]
    assert "ListenStream=127.0.0.1:15003\n" in text["littlest-hub.socket"]
    assert "ListenStream=8443\n" in text["littlest-hub-proxy-https.socket"]
    assert "LITTLEST_HUB_PROXY_API=127.0.0.1:15004\n" in text["littlest-hub.service"]
    assert "LITTLEST_HUB_HTTPS_PORT=8443\n" in text["littlest-hub.service"]


def test_sockets_bind_an_address_that_appears_later() -> None:
    ports = Ports(host="192.0.2.1")
    found = {unit.name: unit.text() for unit in started_units(Layout(DEFAULT_BASE), ports)}
    for name, port in (("littlest-hub-proxy", ports.public), ("littlest-hub-proxy-https", 443)):
        assert found[f"{name}.socket"].count(f"ListenStream=192.0.2.1:{port}\n") == 2
        assert "FreeBind=yes\n" in found[f"{name}.socket"]


def test_a_unit_explains_how_to_change_it_and_why_a_directive_is_set() -> None:
    unit = Unit("x.service", "Does x.", {"Service": [Directive("User", "x", "its own")]})
    text = unit.text()
    assert text.startswith("# Does x.\n")
    assert "systemctl edit x.service" in text
    assert text.endswith("[Service]\n# its own\nUser=x\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("littlest-hub.announce.service", True),
        ("littlest-hub.user-alice.service", False),
        ("littlest-hub.user@.service", False),
        ("littlest-hub.check-abc.service", False),
        ("littlest-hub.service.d", False),
    ],
)
def test_units_of_users_and_checks_are_not_those_of_stacks(name: str, expected: bool) -> None:
    assert is_stack_unit(LAYOUTS[0], name) is expected


def test_an_instance_of_a_template_has_the_templates_file() -> None:
    for unit, file in (
        ("littlest-hub.class-accounts@3-729-0.service", "littlest-hub.class-accounts@.service"),
        ("littlest-hub.class-accounts@.service", "littlest-hub.class-accounts@.service"),
        ("littlest-hub.announce.service", "littlest-hub.announce.service"),
    ):
        assert file_of(unit) == file
