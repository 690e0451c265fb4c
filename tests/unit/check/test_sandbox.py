"""Fragments that do not end, end the check, print, or need what only the hub has."""

import importlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littlest_hub.check import check_fragments, sandbox
from littlest_hub.layout import Layout
from littlest_hub.system import processes
from tests.eventually import eventually
from tests.unit.check.fragments import errors, evaluator, only, write

pytestmark = pytest.mark.unit
REPOSITORY = Path(__file__).parents[3]


def test_a_fragment_that_never_ends_is_refused_with_its_line(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "FRAGMENT_S", 1)
    file = write(layout, "10-a.py", "import time\nwhile True:\n    time.sleep(9)\n")
    second = write(layout, "20-b.py", "c.JupyterHub.prot = 1\n")
    assert [(p.file, p.line) for p in errors(layout)] == [(file, 3), (second, 1)]


def test_a_fragment_that_cannot_be_interrupted_is_refused_with_its_line(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "FRAGMENT_S", 1)
    catching = "try:\n        time.sleep(9)\n    except BaseException:\n        pass\n"
    text = f"import time\nwhile True:\n    {catching}"
    file = write(layout, "10-a.py", text)
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 4)
    assert "takes too long" in problem.message


def test_a_check_that_is_interrupted_ends_with_the_fragment_that_it_runs(
    layout: Layout, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    text = (
        f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    write(layout, "10-a.py", text)
    check = (
        "import sys; from pathlib import Path; from littlest_hub.layout import Layout;"
        "from littlest_hub.check import check_fragments; check_fragments(Layout(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", check, str(layout.base)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        fragment = int(eventually(started.read_text, 30, "the fragment to run"))
        process.send_signal(signal.SIGINT)
        eventually(lambda: process.poll() is not None, 30, "the check to end")
    eventually(lambda: processes.program(fragment) is None, 30, "the fragment to end")


def test_a_fragment_that_ends_the_process_is_named(layout: Layout) -> None:
    file = write(layout, "10-a.py", "import os\nos._exit(0)\n")
    problem = only(errors(layout))
    assert (problem.file, problem.message) == (file, "ended the check (exit code 0)")


def test_a_fragment_that_is_killed_is_named(layout: Layout) -> None:
    file = write(layout, "10-a.py", "import os\nos.kill(os.getpid(), 9)\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 1)
    assert "was killed during the check" in problem.message


def test_fragments_that_exceed_the_limit_together_are_killed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "LIMIT_S", 1)
    write(layout, "10-a.py", "x = 1\n")
    second = write(layout, "20-b.py", "import time\ntime.sleep(9)\n")
    problem = only(errors(layout))
    assert problem.file == second
    assert "took more than 1 s" in problem.message


def test_a_fragment_that_eats_memory_is_refused_with_its_line(layout: Layout) -> None:
    text = "x = []\nwhile True:\n    x.append(bytearray(1 << 24))\n"
    file = write(layout, "10-a.py", text)
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 3)
    assert "MemoryError" in problem.message


def test_a_program_that_a_fragment_starts_ends_with_the_check(layout: Layout) -> None:
    started = layout.base / "pid"
    text = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    write(layout, "10-a.py", f"{text}open({str(started)!r}, 'w').write(str(child.pid))\n")
    assert errors(layout) == []
    status = Path("/proc", started.read_text(), "status")
    eventually(
        lambda: not status.exists() or "State:\tZ" in status.read_text(), 5, "the end of the child"
    )


def test_a_check_without_systemd_says_what_it_does_not_prevent(layout: Layout) -> None:
    write(layout, "10-a.py", "x = 1\n")
    assert "from writing files and giving orders to systemd" in check_fragments(layout).note


def test_a_check_beside_other_threads_waits_for_none_of_their_locks(layout: Layout) -> None:
    """The probes of doctor run in threads, one of which may be importing a module."""
    write(layout, "10-a.py", "import colorsys\nprint(colorsys.__name__)\n")
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        lock = importlib._bootstrap._get_module_lock("colorsys")  # type: ignore[attr-defined]
        lock.acquire()
        is_held.set()
        is_over.wait()
        lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        is_held.wait()
        with ThreadPoolExecutor(1) as pool:
            report = pool.submit(check_fragments, layout).result()
    finally:
        is_over.set()
        thread.join()
    assert report.errors == []
    assert report.printed.strip() == "colorsys"


def test_output_of_fragments_is_reported_separately(layout: Layout) -> None:
    text = "import os, sys\nprint('hello')\nos.write(1, b'{')\nprint('oops', file=sys.stderr)\n"
    write(layout, "10-a.py", text)
    report = check_fragments(layout)
    assert report.errors == []
    assert "hello" in report.printed
    assert "oops" in report.printed


def test_a_fragment_can_search_for_a_free_port(layout: Layout) -> None:
    write(layout, "10-a.py", "from jupyterhub.utils import random_port\nrandom_port()\n")
    assert errors(layout) == []
