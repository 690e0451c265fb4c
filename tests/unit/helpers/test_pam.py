"""PAM for a hub that is not root: nothing but what root's fragments declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.helpers import pam

pytestmark = [
    pytest.mark.unit,
    pytest.mark.row(38),
    pytest.mark.skipif(not Path("/etc/pam.d/login").exists(), reason="PAM is asked"),
]

SESSIONS = "c.PAMAuthenticator.open_sessions = True\n"


@pytest.mark.parametrize("verb", [b"open_session", b"close_session"])
@pytest.mark.parametrize(
    ("fragment", "is_asked"),
    [
        (None, False),
        ("", False),
        (f"# {SESSIONS}", False),
        (SESSIONS.replace("True", "False"), False),
        (SESSIONS, True),
    ],
)
def test_a_hub_that_is_not_root_opens_and_closes_only_sessions_that_a_fragment_wants(
    tmp_path: Path, verb: bytes, fragment: str | None, is_asked: bool
) -> None:
    request = verb + b"\0login\0nobody"
    directory = None if fragment is None else str(tmp_path)
    (tmp_path / "30-mine.py").write_text(fragment or "")
    refused = f"no fragment in {directory} has open_sessions"
    assert (pam.answer(request, "nogroup", directory).refusal != refused) == is_asked
    # A hub that runs as root needs no declaration.
    assert pam.answer(request, None).refusal != refused
