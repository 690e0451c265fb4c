"""Wheels that would change the release are refused before anything of them is unpacked."""

from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.packages import overlay
from littlest_hub.packages.wheel import refuse_hostile
from tests import wheels

PAM = "[jupyterhub.authenticators]\npam = evil:Pam\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    wheels.release(tmp_path / "base/releases/1.0")
    return Layout(tmp_path / "base")


@pytest.mark.parametrize(
    ("files", "entry_points", "reason"),
    [
        ({"../outside.py": ""}, "", "'../outside.py' lies outside"),
        ({"/etc/profile.d/x.sh": ""}, "", "'/etc/profile.d/x.sh' lies outside"),
        ({"evil.pth": "import os"}, "", "evil.pth would run at every start of Python"),
        (
            {"evil-1.0.data/purelib/evil.pth": "import os"},
            "",
            "would run at every start of Python",
        ),
        ({"own/patched.py": ""}, "", "own/patched.py belongs to a package of the release"),
        ({"own-2.0.dist-info/METADATA": ""}, "", "belongs to a package of the release"),
        (
            {"evil-1.0.data/data/etc/jupyter/jupyter_server_config.d/own.json": "{}"},
            "",
            "own.json is a file of the release",
        ),
        (None, PAM, "its entry point pam in jupyterhub.authenticators is one of the release's"),
    ],
)
def test_a_wheel_that_would_change_the_release_is_refused(
    layout: Layout,
    tmp_path: Path,
    files: dict[str, str] | None,
    entry_points: str,
    reason: str,
) -> None:
    file = wheels.make(tmp_path, "evil", files=files, entry_points=entry_points)
    with pytest.raises(LittlestHubError) as refused:
        refuse_hostile(file, overlay.release_parts(layout, layout.releases / "1.0"))
    assert reason in refused.value.message


def test_a_wheel_that_adds_modules_settings_and_scripts_is_accepted(
    layout: Layout, tmp_path: Path
) -> None:
    file = wheels.make(
        tmp_path,
        "good",
        files={
            "good/__init__.py": "",
            "shared/other.py": "",
            "good-1.0.data/data/etc/jupyter/jupyter_server_config.d/good.json": "{}",
        },
        entry_points="[jupyterhub.authenticators]\ngood = good:G\n[console_scripts]\npip = x:y\n",
    )
    refuse_hostile(file, overlay.release_parts(layout, layout.releases / "1.0"))


def test_a_file_that_is_no_archive_is_refused(layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "broken-1.0-py3-none-any.whl"
    file.write_bytes(b"PK nothing")
    with pytest.raises(LittlestHubError, match="is damaged"):
        refuse_hostile(file, overlay.release_parts(layout, layout.releases / "1.0"))
