"""A change of files that is killed at any moment is undone whole, or complete."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import changing
from littlest_hub.lifecycle.unfinished import Unfinished, recover, undone_whole
from littlest_hub.system.files import link, write

# Changes of the disk (Python's audit events).
EVENTS = (
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "shutil.rmtree",
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An image with some files of a change."""
    layout = Layout(Path("/srv/hub"), root=tmp_path)
    for directory in (layout.state, layout.fragments, layout.packages):
        layout.on_disk(directory).mkdir(parents=True)
    write(layout.on_disk(layout.fragments / "10-old.py"), "old\n", 0o640)
    write(layout.on_disk(layout.fragments / "20-gone.py"), "gone\n")
    link(layout.on_disk(layout.packages / "active"), Path("before"))
    write(layout.on_disk(layout.stacks / "gone/data"), "data\n")
    return layout


def change(layout: Layout) -> None:
    """Change, make and remove files, as enabling and disabling stacks do."""
    old, gone, new = (layout.fragments / name for name in ("10-old.py", "20-gone.py", "30-new.py"))
    made = layout.stacks / "new"
    before = Unfinished.of(
        layout, "enable new", [old, gone, new], [layout.packages / "active"], [], [made]
    )
    with undone_whole(layout, before, [layout.stacks / "gone"]):
        layout.on_disk(made).mkdir()
        write(layout.on_disk(made / "token"), "secret\n", 0o600)
        link(layout.on_disk(layout.packages / "active"), Path("after"))
        write(layout.on_disk(old), "new\n")
        layout.on_disk(gone).unlink()
        write(layout.on_disk(new), "new\n")


def files(layout: Layout) -> dict[str, object]:
    """Return what is on disk, except locks."""
    found: dict[str, object] = {}
    for path in sorted(layout.root.rglob("*")):
        name = str(path.relative_to(layout.root))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file() and path.suffix != ".lock":
            found[name] = (path.read_text(), path.stat().st_mode)
        elif path.is_dir():
            found[name] = "directory"
    return found


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Kill this process at the given change of the disk."""
    seen = 0

    def count(event: str, _: object) -> None:
        nonlocal seen
        if event in EVENTS and (seen := seen + 1) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    yield


def killed(layout: Layout, number: int) -> bool:
    """Change in a child that is killed at a change of the disk; return whether it was."""
    pid = os.fork()
    if pid == 0:
        try:
            with killed_at(number):
                change(layout)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_change_that_is_killed_at_any_moment_is_old_or_new(layout: Layout) -> None:
    """And the one that undoes it may be killed too."""
    old = files(layout)
    outcomes = []
    number = 1
    while killed(layout, number):
        if (second := os.fork()) == 0:
            with killed_at(1 + number % 7):
                recover(layout)
            os._exit(0)
        os.waitpid(second, 0)
        with changing(layout):
            outcomes.append(files(layout) == old)
        if not outcomes[-1]:
            assert number > 10, "it was too early for the change to be complete"
            break
        number += 1
    assert number > 10
    new = files(layout)
    assert new != old
    assert new.keys() >= {"srv/hub/jupyterhub_config.d/30-new.py", "srv/hub/state/stacks/new/token"}
    assert "srv/hub/jupyterhub_config.d/20-gone.py" not in new
    assert "srv/hub/state/stacks/gone" not in new
    assert new["srv/hub/packages/active"] == Path("after")
    assert not [name for name in new if "unfinished" in name]


def test_a_change_that_fails_is_undone(layout: Layout) -> None:
    before = files(layout)
    layout.on_disk(layout.fragments / "20-gone.py").unlink()
    with pytest.raises(FileNotFoundError):
        change(layout)
    write(layout.on_disk(layout.fragments / "20-gone.py"), "gone\n")
    assert files(layout) == before


def test_a_damaged_record_is_named(layout: Layout) -> None:
    layout.on_disk(layout.unfinished_change).write_text("{")
    with pytest.raises(LittlestHubError, match=r"unfinished-change.json is damaged"):
        recover(layout)
