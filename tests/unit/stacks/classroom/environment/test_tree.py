"""The next generation: what an overlay showed, and the generation before unchanged."""

import os
import random
import subprocess
import tempfile
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment import tree
from littlest_hub.system.namespaces import Overlay
from tests.capabilities import missing


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """An overlay over a small tree."""
    found = Overlay(tmp_path / "1", tmp_path / "upper", tmp_path / "work")
    for directory in (found.upper, found.work, found.lower / "pkg" / "old", found.lower / "bin"):
        directory.mkdir(parents=True)
    for name in ("pkg/a.py", "pkg/b.py", "pkg/old/c.py", "bin/tool", "history"):
        (found.lower / name).write_text(name)
    (found.lower / "bin" / "link").symlink_to("tool")
    done = subprocess.run(found.command(["true"]), capture_output=True, text=True)
    if done.returncode:
        missing(f"no overlay can be mounted here: {done.stderr.strip()}")
    return found


def test_changes_on_another_file_system_do_not_write_into_earlier_generations(
    tmp_path: Path,
) -> None:
    earlier, target = tmp_path / "1", tmp_path / "2"
    earlier.mkdir()
    (earlier / "a.py").write_text("old")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        upper = Path(memory)
        if upper.stat().st_dev == tmp_path.stat().st_dev:
            missing("/dev/shm is no other file system here")
        (upper / "a.py").write_text("new")
        (upper / "link").symlink_to("a.py")
        (upper / ("n" * 255)).write_text("a long name")
        tree.make_next(earlier, upper, target)
        assert list(upper.iterdir()) == []
    expected = {"a.py": "new", "link": "-> a.py", "n" * 255: "a long name"}
    assert (seen(earlier), seen(target)) == ({"a.py": "old"}, expected)


def seen(root: Path) -> dict[str, str]:
    """Return kind and content of everything in a tree."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_text() if path.is_file() else "directory"
    return found


def change(overlay: Overlay, script: str) -> dict[str, str]:
    """Run a script in the overlay, and return what it has left there, as the overlay shows it."""
    shown = overlay.upper.parent / "shown"
    words = ["sh", "-euc", f'cd "$1"; {script}\ncp -a . "$2"', "sh", str(overlay.lower), str(shown)]
    subprocess.run(overlay.command(words), check=True)
    return seen(shown)


@pytest.mark.parametrize(
    "script",
    [
        "echo more >>history",
        "rm pkg/a.py",
        "rm -r pkg/old",
        "rm -r pkg; mkdir pkg; echo new >pkg/a.py",
        "rm -r pkg; echo file >pkg",
        "rm history; mkdir history; echo in >history/in",
        "rm bin/link; ln -s nothing bin/link",
        "ln -sfn ../pkg bin/tool",
        "ln pkg/a.py pkg/hard; echo more >>pkg/hard",
        "cp -r pkg pkg2; rm -r pkg; mv pkg2 pkg",
        "chmod 000 history; mkfifo pipe; rm pipe",
        "rm -r bin pkg history",
    ],
)
def test_the_next_generation_is_what_the_overlay_showed(overlay: Overlay, script: str) -> None:
    before = seen(overlay.lower)
    expected = change(overlay, script)
    assert tree.has_changes(overlay.upper)
    target = overlay.upper.parent / "next"
    tree.make_next(overlay.lower, overlay.upper, target)
    assert seen(target) == expected
    assert seen(overlay.lower) == before


def test_many_changes_one_after_the_other_keep_every_generation(overlay: Overlay) -> None:
    choose = random.Random(0)
    history = {overlay.lower: seen(overlay.lower)}
    names = ["a", "b", "c", "a/x", "b/x", "b/y", "c/z/deep"]
    for number in range(2, 12):
        lines = []
        for _ in range(6):
            name = choose.choice(names)
            lines.append(
                choose.choice(
                    [
                        f"rm -rf {name}",
                        f"rm -rf {name}; mkdir -p $(dirname {name}); echo {number} >{name}",
                        f"[ ! -f {name} ] || echo {number} >>{name}",
                        f"[ -e {name} ] || mkdir -p {name} 2>/dev/null || true",
                        f"cp -r {name} copy && rm -r {name} && mv copy {name}",
                    ]
                )
            )
        script = "\n".join([f"{line} || true" for line in lines])
        lower = next(reversed(history))
        step = overlay.upper.parent / f"step{number}"
        present = Overlay(lower, step / "upper", step / "work")
        for directory in (present.upper, present.work):
            directory.mkdir(parents=True)
        expected = change(present, script)
        target = overlay.upper.parent / str(number)
        tree.make_next(lower, present.upper, target)
        history[target] = expected
    for generation, expected in history.items():
        assert seen(generation) == expected


def test_a_command_that_only_reads_changes_nothing(overlay: Overlay) -> None:
    change(overlay, "cat history >/dev/null; touch new; rm new; mkdir -p pkg")
    assert not tree.has_changes(overlay.upper)


def test_every_file_of_a_generation_may_be_read_and_gives_nobody_rights(overlay: Overlay) -> None:
    change(
        overlay,
        "umask 077; echo 1 >private; echo 1 >open; chmod 666 open; mkdir closed; echo 1 >closed/in;"
        " echo 1 >program; chown 12:34 program; chmod 6777 program",
    )
    target = overlay.upper.parent / "next"
    tree.make_next(overlay.lower, overlay.upper, target)
    modes = {name: (target / name).stat() for name in ("private", "open", "closed", "program")}
    assert {name: oct(each.st_mode & 0o7777) for name, each in modes.items()} == {
        "private": "0o644",
        "open": "0o644",
        "closed": "0o755",
        "program": "0o755",
    }
    assert {each.st_uid for each in modes.values()} == {os.geteuid()}
    assert not any("overlay" in name for name in os.listxattr(target / "private"))


def test_a_generation_that_cannot_be_made_says_why(overlay: Overlay) -> None:
    with pytest.raises(LittlestHubError, match="No such file or directory"):
        tree.make_next(overlay.lower / "nothing", overlay.upper, overlay.upper.parent / "next")
