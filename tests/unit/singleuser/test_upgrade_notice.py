"""The report of the running and the active release, whatever the link points to."""

import hashlib
import json
from pathlib import Path

import pytest

from littlest_hub.singleuser import upgrade_notice

EXTENSION = Path(upgrade_notice.__file__).parent / "labextension"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base directory with two releases; `hub` points to the first."""
    for version in ("2026.11.0", "2026.12.0"):
        (tmp_path / "releases" / version).mkdir(parents=True)
    point(tmp_path, "releases/2026.11.0")
    return tmp_path


def point(base: Path, target: str) -> None:
    (base / "new").symlink_to(target)
    (base / "new").replace(base / "hub")


def reported(base: Path) -> tuple[str | None, str | None]:
    report = upgrade_notice.releases(base / "releases" / "2026.11.0")
    assert report.keys() == {"running", "active"}
    return report["running"], report["active"]


def test_a_server_of_the_active_release_reports_it_twice(base: Path) -> None:
    assert reported(base) == ("2026.11.0", "2026.11.0")


def test_the_link_is_read_for_each_report(base: Path) -> None:
    point(base, "releases/2026.12.0")
    assert reported(base) == ("2026.11.0", "2026.12.0")
    point(base, str(base / "releases" / "2026.11.0"))
    assert reported(base) == ("2026.11.0", "2026.11.0")


@pytest.mark.parametrize(
    "target",
    ["releases/2027.1.0", "hub", "/etc", "releases", "releases/a b", "releases/../../etc", "file"],
)
def test_a_link_to_something_else_reports_no_active_release(base: Path, target: str) -> None:
    (base / "releases" / "a b").mkdir()
    (base / "file").touch()
    point(base, target)
    assert reported(base) == ("2026.11.0", None)


def test_a_missing_link_reports_no_active_release(base: Path) -> None:
    (base / "hub").unlink()
    assert reported(base) == ("2026.11.0", None)


def test_an_interpreter_outside_of_releases_reports_nothing(tmp_path: Path) -> None:
    assert upgrade_notice.releases(tmp_path) == {"running": None, "active": None}


def test_the_url_of_the_script_changes_with_its_content_so_that_browsers_fetch_it_again() -> None:
    script = (EXTENSION / "remoteEntry.js").read_bytes()
    digest = hashlib.sha256(script).hexdigest()[:12]
    package = json.loads((EXTENSION / "package.json").read_text())
    wanted = f"static/remoteEntry.js?v={digest}"
    assert package["jupyterlab"]["_build"]["load"] == wanted, "write this into package.json"
