"""Modules of PAM, as `check` finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.check import evaluator  # noqa: F401  # JupyterHub the way a check loads it
from littlest_hub.check.rules import people

pytestmark = pytest.mark.unit


def test_modules_of_included_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_PAM_DIRECTORIES", (tmp_path,))
    texts = {
        "hub": "@include common-auth\nauth include circle\n-auth optional pam_u2f.so cue\n",
        "common-auth": "auth [success=1 default=ignore] pam_unix.so nullok # pam_x.so\n",
        "circle": "auth substack hub\nsession required pam_limits.so\nauth sufficient "
        "/lib/security/pam_fprintd.so\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert people._pam_modules("hub") == {"pam_unix.so", "pam_u2f.so", "pam_fprintd.so"}
    assert people._pam_modules("missing") == set()
