"""How long installing takes beside unpacking the same tree with plain tar, and how big the file is.

Both sides alternate in one run on the same file system, with dirty pages written out before each
run, because a machine's own speed drifts more between runs than the two sides differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def timed(action: Callable[[], object]) -> float:
    """Wall seconds ``action`` takes, starting with no dirty pages."""
    os.sync()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def install(installer: Path, prefix: Path) -> None:
    """Everything the installer does except the scripts: check, unpack, relocate, rename.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = ["sh", str(installer), "-b", "-s", "-p", str(prefix)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # unlike a killed one it removes what it has unpacked
            process.wait()
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """On a disk; removed at the end, as far as that is possible."""
    with tempfile.TemporaryDirectory(
        prefix="littlest-hub-bench-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as scratch:
        yield Path(scratch)


def untar(archive: Path, target: Path) -> None:
    """Plain tar, the least that putting the same files on disk can cost."""
    target.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(target)], check=True)


def summary(values: list[float]) -> str:
    """``median (min to max)`` of seconds or ratios."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(installer: Path, runs: int, scratch: Path) -> dict[str, list[float]]:
    """Alternate the two sides ``runs`` times inside ``scratch``; return seconds per side."""
    seconds: dict[str, list[float]] = {"install_s": [], "untar_s": []}
    archive = scratch / "tree.tar"
    for run in range(runs + 1):
        prefix = scratch / "base" / "releases" / "measured"
        install_s = timed(lambda prefix=prefix: install(installer, prefix))  # type: ignore[misc]
        if not archive.exists():
            subprocess.run(["tar", "-cf", str(archive), "-C", str(prefix), "."], check=True)
        target = scratch / "untar"
        untar_s = timed(lambda target=target: untar(archive, target))  # type: ignore[misc]
        shutil.rmtree(prefix)
        shutil.rmtree(target)
        if run == 0:
            continue  # the first of each side warms the page cache for both
        print(f"run {run} of {runs}: install {install_s:.2f} s, tar {untar_s:.2f} s", flush=True)
        seconds["install_s"].append(install_s)
        seconds["untar_s"].append(untar_s)
    return seconds


def sizes(installer: Path, scratch: Path) -> tuple[int, int, int]:
    """Bytes of the installer, bytes of its packages added up, number of packages."""
    prefix = scratch / "sizes" / "releases" / "measured"
    install(installer, prefix)
    records = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    shutil.rmtree(scratch / "sizes")
    packages = [record["size"] for record in records if "size" in record]
    return installer.stat().st_size, sum(packages), len(packages)


def main() -> int:
    """Measure and print; ``--json FILE`` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench.install")
    parser.add_argument("--installer", type=Path, help="the .sh to measure (default: build it)")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each side (5)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    installer = options.installer
    if installer is None:
        subprocess.run([sys.executable, "-m", "construct"], check=True)
        installer = max(Path("dist").glob("*.sh"), key=lambda path: path.stat().st_mtime)
    # A terminated run removes its files as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with scratch_directory() as scratch:
        file_bytes, package_bytes, count = sizes(installer, scratch)
        seconds = measure(installer, options.runs, scratch)
    ratios = [a / b for a, b in zip(seconds["install_s"], seconds["untar_s"], strict=True)]
    print(f"install      {summary(seconds['install_s'])} s, median (min to max)")
    print(f"plain tar    {summary(seconds['untar_s'])} s")
    print(f"ratio        {summary(ratios)}   target <= 1.2 on a quiet machine")
    print(
        f"size         {file_bytes / 1e6:.1f} MB, {file_bytes / package_bytes:.3f} of its "
        f"{count} packages ({package_bytes / 1e6:.1f} MB)"
    )
    if options.json:
        figures = {**seconds, "installer_bytes": file_bytes, "packages_bytes": package_bytes}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
