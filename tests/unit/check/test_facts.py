"""Facts about the machine, and the JSON that brings them into the sandbox."""

import json
from pathlib import Path

import pytest

from littlest_hub.check.facts import Facts, OtherListener, Rights, gather, rights_of
from littlest_hub.check.messages import (
    Domain,
    Done,
    Message,
    Request,
    Running,
    decode,
    encode,
)
from littlest_hub.check.report import Problem
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.units import hub
from littlest_hub.units.ports import Ports

pytestmark = pytest.mark.unit

FACTS = Facts(
    is_service=True,
    addresses=("127.0.0.1", "::1"),
    listeners=(OtherListener("::", 443, "nginx (process 7)"),),
    public_sockets=(("[::]", 80),),
    hub_sockets=(("127.0.0.1", 15001), ("[::1]", 15001)),
    writable_paths=("/srv/hub",),
    rights=Rights(can_become_others=False, knows_other_users=True),
)


@pytest.mark.parametrize("facts", [Facts(), FACTS])
@pytest.mark.parametrize("hub_user", [None, "lhub"])
def test_a_request_comes_out_of_json_as_it_went_in(facts: Facts, hub_user: str | None) -> None:
    request = Request("/opt/hub", hub_user, ("/a.py", "/b.py"), facts)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


@pytest.mark.parametrize(
    "message",
    [
        Problem("/a.py", 3, "c.x: caf\xe9\nnext", is_warning=True),
        Running("/a.py"),
        Domain("hub.example.org", "/a.py", 2),
        Done(),
    ],
)
def test_a_message_comes_out_of_its_line_as_it_went_in(message: Message) -> None:
    line = encode(message)
    assert "\n" not in line
    assert decode(line) == message


def test_without_systemd_the_facts_are_those_of_any_program(tmp_path: Path) -> None:
    facts = gather(Layout(tmp_path / "hub", tmp_path))
    assert "127.0.0.1" in facts.addresses
    assert not facts.is_service
    assert not facts.public_sockets
    assert not facts.writable_paths
    assert facts.rights == Rights(can_become_others=True, knows_other_users=True)


BOTH = "CapabilityBoundingSet=CAP_SETUID CAP_SETGID\nPrivateUsers=no"


@pytest.mark.parametrize(
    ("drop_ins", "can_become_others", "knows_other_users"),
    [
        ([], False, False),
        ([BOTH], True, True),
        (["CapabilityBoundingSet=CAP_SETUID CAP_SETGID"], False, False),
        (["PrivateUsers=no"], False, True),
        ([BOTH, "PrivateUsers=yes"], False, False),
        ([BOTH, "CapabilityBoundingSet=~CAP_SETUID"], False, True),
        ([BOTH, "CapabilityBoundingSet="], False, True),
        (["PrivateUsers=no\nCapabilityBoundingSet=~"], True, True),
        (["PrivateUsers = off\nCapabilityBoundingSet = cap_setgid \\\n cap_setuid\n"], True, True),
    ],
)
def test_the_hubs_rights_are_what_its_unit_and_drop_ins_say(
    drop_ins: list[str], can_become_others: bool, knows_other_users: bool
) -> None:
    unit = hub.service(Layout(DEFAULT_BASE), Ports()).text()
    texts = [each if "[Service]" in each else f"[Service]\n{each}" for each in drop_ins]
    assert rights_of([unit, *texts]) == Rights(can_become_others, knows_other_users)
