"""Modules of PAM, as `check` finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.check import evaluator  # noqa: F401  # JupyterHub the way a check loads it
from littlest_hub.check.rules import pam

pytestmark = pytest.mark.unit


def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    monkeypatch.setattr(pam, "_SERVICES", (tmp_path,))
    for name, text in texts.items():
        (tmp_path / name.replace("_", "-")).write_text(text)


def test_modules_of_included_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        tmp_path,
        monkeypatch,
        hub="@include common-auth\nauth include circle\n-auth optional pam_u2f.so cue\n",
        common_auth="auth [success=1 default=ignore] pam_unix.so nullok # pam_x.so\n",
        circle="auth substack hub\nsession required pam_limits.so\nauth sufficient "
        "/lib/security/pam_fprintd.so\n",
    )
    names = [(each.name, Path(each.place).name) for each in pam._modules("hub")]
    assert names == [
        ("pam_unix.so", "common-auth:1"),
        ("pam_fprintd.so", "circle:3"),
        ("pam_u2f.so", "hub:3"),
    ]
    assert list(pam._modules("missing")) == []


@pytest.mark.parametrize(
    ("line", "asks_for_code", "reason"),
    [
        ("auth sufficient pam_u2f.so", False, "asks for a device"),
        ("auth required pam_google_authenticator.so nullok", False, "request_otp = True"),
        ("auth [success=done] pam_google_authenticator.so forward_pass", False, ""),
        ("-auth sufficient pam_oath.so", True, ""),
        ("auth required pam_no_such_module.so", False, "is not installed"),
        ("auth requisite /nowhere/pam_unix.so", False, "is not installed"),
        ("auth optional pam_no_such_module.so", False, ""),
        ("auth [success=1 default=ignore] pam_no_such_module.so", False, ""),
        ("-auth required pam_no_such_module.so", False, ""),
        ("account required pam_no_such_module.so", False, None),
        ("auth required pam_unix.so", False, ""),
    ],
)
def test_a_module_that_cannot_work_is_named_with_what_helps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    asks_for_code: bool,
    reason: str | None,
) -> None:
    written(tmp_path, monkeypatch, hub=f"{line}\n")
    found = [pam._obstacle(each, asks_for_code=asks_for_code) for each in pam._modules("hub")]
    assert len(found) == (reason is not None)
    assert all(
        reason in each and bool(reason) == bool(each) for each in found if reason is not None
    )
