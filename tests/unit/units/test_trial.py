"""The unit of a trial: everything of the hub's unit but its side effects."""

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.units import hub
from littlest_hub.units.ports import Ports
from littlest_hub.units.trial import trial_unit
from littlest_hub.units.unit import service_directives

pytestmark = pytest.mark.unit

LAYOUT = Layout(DEFAULT_BASE)
FILES = {name: Path(f"/run/x/{name}") for name in ("request", "report", "printed")}


def trial(*drop_ins: str) -> list[tuple[str, str]]:
    """Return the directives of a trial for a hub with drop-ins."""
    texts = [hub.service(LAYOUT, Ports()).text(), *(f"[Service]\n{text}" for text in drop_ins)]
    return service_directives(trial_unit(LAYOUT, texts, ["/p", "-x"], **FILES))


def last(directives: list[tuple[str, str]], key: str) -> str:
    return [value for each, value in directives if each == key][-1]


def test_a_trial_has_what_the_hub_has() -> None:
    own = service_directives(hub.service(LAYOUT, Ports()).text())
    drop_in = "User=someone\nLoadCredential=a:/b\nEnvironment=A=%%b \\\n  C=%n\nPrivateUsers=no\n"
    directives = trial(drop_in)
    for key in ("PrivateUsers", "CapabilityBoundingSet", "RestrictAddressFamilies", "PrivateTmp"):
        assert {value for each, value in own if each == key} <= {
            value for each, value in directives if each == key
        }
    assert last(directives, "User") == "someone"
    assert last(directives, "PrivateUsers") == "no"
    assert ("LoadCredential", "a:/b") in directives
    # A trial has another name: what the unit is called stays.
    assert ("Environment", "A=%%b    C=littlest-hub.service") in directives


def test_a_trial_starts_nothing_of_the_hub_and_writes_nowhere() -> None:
    directives = trial(
        "ExecStartPre=/bin/touch /x\nReadWritePaths=/srv\nBindPaths=/a:/b\nProtectSystem=no\n"
        "ProtectHome=no\nStateDirectory=state:alias\n"
    )
    after = directives[directives.index(("ExecStartPre", "")) :]
    assert last(directives, "ExecStartPre") == ""
    assert last(directives, "ReadWritePaths") == ""
    assert last(directives, "StateDirectory") == ""
    assert last(directives, "ProtectSystem") == "strict"
    assert ("BindReadOnlyPaths", "/a:/b") in directives
    assert not [key for key, _ in directives if key == "BindPaths"]
    assert ("ReadOnlyPaths", "-/home -/root") in after
    assert ("Environment", '"STATE_DIRECTORY=/var/lib/state"') in after
    assert [value for key, value in after if key == "ExecStart"] == ["", '"/p" "-x"']


def test_only_the_section_of_the_service_counts() -> None:
    text = "A=0\n[Unit]\nWants=b\n[Service]\n# Comment=\nC = d \\\n; e\n f\n[Install]\nG=h\n"
    assert service_directives(text) == [("C", "d   f")]
