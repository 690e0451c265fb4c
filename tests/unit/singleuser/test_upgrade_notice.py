"""Which release runs and which one is active, whatever the link says."""

import hashlib
import json
from pathlib import Path

import pytest

from littlest_hub.singleuser import upgrade_notice

EXTENSION = Path(upgrade_notice.__file__).parent / "labextension"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base directory with two releases, of which `hub` is the first."""
    for version in ("2026.11.0", "2026.12.0"):
        (tmp_path / "releases" / version).mkdir(parents=True)
    point(tmp_path, "releases/2026.11.0")
    return tmp_path


def point(base: Path, target: str) -> None:
    (base / "new").symlink_to(target)
    (base / "new").replace(base / "hub")


def told(base: Path) -> tuple[str | None, str | None]:
    answer = upgrade_notice.releases(base / "releases" / "2026.11.0")
    assert answer.keys() == {"running", "active"}
    return answer["running"], answer["active"]


def test_a_server_of_the_active_release_is_told_so(base: Path) -> None:
    assert told(base) == ("2026.11.0", "2026.11.0")


def test_the_link_is_read_anew_each_time(base: Path) -> None:
    point(base, "releases/2026.12.0")
    assert told(base) == ("2026.11.0", "2026.12.0")
    point(base, str(base / "releases" / "2026.11.0"))
    assert told(base) == ("2026.11.0", "2026.11.0")


@pytest.mark.parametrize(
    "target",
    ["releases/2027.1.0", "hub", "/etc", "releases", "releases/a b", "releases/../../etc", "file"],
)
def test_a_link_that_is_no_release_of_ours_tells_nothing(base: Path, target: str) -> None:
    (base / "releases" / "a b").mkdir()
    (base / "file").touch()
    point(base, target)
    assert told(base) == ("2026.11.0", None)


def test_no_link_tells_nothing(base: Path) -> None:
    (base / "hub").unlink()
    assert told(base) == ("2026.11.0", None)


def test_an_interpreter_that_is_no_release_of_ours_tells_nothing(tmp_path: Path) -> None:
    assert upgrade_notice.releases(tmp_path) == {"running": None, "active": None}


def test_a_browser_that_keeps_the_script_fetches_it_again_once_it_has_changed() -> None:
    script = (EXTENSION / "remoteEntry.js").read_bytes()
    digest = hashlib.sha256(script).hexdigest()[:12]
    package = json.loads((EXTENSION / "package.json").read_text())
    wanted = f"static/remoteEntry.js?v={digest}"
    assert package["jupyterlab"]["_build"]["load"] == wanted, "write this into package.json"
