"""Run `make python-profile`: record recipe/python/profile.xz, with which CPython is compiled.

CPython is compiled with counters. Then it runs a hub with its pages, servers, and a kernel in each,
and, as a stand-in for other work in notebooks, CPython's own tests for this purpose
(`python -m test --pgo`). Record it again for another CPython or another LLVM in ziglang: a function
that has changed since is compiled as if there were no profile.
"""

import argparse
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from construct import sources
from construct.builder import DEVELOPMENT_LEVEL, Builder
from construct.cache import Cache
from construct.native import NativeBuilder
from construct.recipe import read_recipe
from tests.client import Person
from tests.eventually import eventually
from tests.hub import REPOSITORY, Greeting, build_installer
from tests.image import Image

RECIPE = REPOSITORY / "recipe" / "python"
LLVM = "22"
"""The version that `zig cc --version` prints; Debian has the profiling parts that ziglang lacks."""
IMAGE = Image("trixie", (f"libclang-rt-{LLVM}-dev", f"llvm-{LLVM}"))
RUNTIME = f"usr/lib/llvm-{LLVM}/lib/clang/{LLVM}/lib/linux/libclang_rt.profile-x86_64.a"
OURS_WEIGHT = 20
"""The weight of our work relative to CPython's tests, which run seven times as much code."""
SERVERS = 3
CELL = """\
import collections, json, math, random, re, statistics
class Number:
    def __init__(self, value):
        self.value = value
    def __add__(self, other):
        return Number(self.value + other.value)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
found = collections.defaultdict(list)
for i in range(30_000):
    found[i % 97].append(i * 1.5)
    f"{i:05d}".split("0")
sum(map(Number, range(20_000)), Number(0))
re.findall(r"[a-z]+", "the quick brown fox " * 2_000).sort()
json.loads(json.dumps(found))
statistics.mean(math.sqrt(random.random()) for _ in range(5_000)), fibonacci(20)
"""


def main() -> int:
    """Write the profile."""
    argparse.ArgumentParser(prog="make python-profile", description=main.__doc__).parse_args()
    image = IMAGE.root()
    cache = Cache()
    with tempfile.TemporaryDirectory(prefix="littlest-hub-profile-") as directory:
        work = Path(directory)
        recipe = work / "python"
        shutil.copytree(RECIPE, recipe)
        shutil.copy(image / RUNTIME, recipe / "profile-runtime.a")
        builder = Builder(cache, level=DEVELOPMENT_LEVEL, jobs=os.cpu_count() or 1)
        recipes = {**builder.recipes(), "python": read_recipe(recipe)}
        counting = NativeBuilder(recipes, cache, builder.jobs).build_all()["python"]

        ours, general = work / "ours", work / "general"
        _serve(build_installer(), counting, work / "hub", ours)
        source = work / "source"
        sources.unpack(sources.fetch(recipes["python"].sources[0], RECIPE, cache), source)
        # Some tests fail in this environment; their counts are still useful.
        _run([f"{counting}/bin/python3", "-m", "test", "--pgo"], source / "Lib", general)

        merged = work / "profile"
        weighted = [f"--weighted-input={OURS_WEIGHT},{ours}", f"--weighted-input=1,{general}"]
        _profdata(image, ["merge", f"--output={merged}", *weighted])
        profile = RECIPE / "profile.xz"
        profile.write_bytes(lzma.compress(merged.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{profile}: {profile.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return 0


def _serve(installer: Path, counting: Path, base: Path, profile: Path) -> None:
    """Run a hub, its pages, servers and a kernel in each, with the counting interpreter."""
    release = base / "releases" / "counting"
    install = ["bash", str(installer), "-b", "-s", "-p", str(release)]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(counting / "bin" / "python3.13", release / "bin")
    modules = Path("lib", "python3.13", "lib-dynload")
    shutil.rmtree(release / modules)
    shutil.copytree(counting / modules, release / modules)
    environment = _environment(profile)
    fragment = base / "jupyterhub_config.d" / "99-profile.py"
    fragment.parent.mkdir(exist_ok=True)
    fragment.write_text(f"c.Spawner.environment = {environment!r}\n")
    home = base / "home"
    home.mkdir()
    log = base / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [release / "bin" / "python3", "-I", "-m", "littlest_hub", "run"],
            cwd=home,
            env={"PATH": os.defpath, "HOME": str(home), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        greeting = eventually(lambda: Greeting.find(log.read_text()), 120, f"a hub, see {log}")
        with Person(greeting.url, greeting.user, greeting.password) as person:
            person.log_in()
            for _ in range(SERVERS):
                person.start_server()
                person.run_cell(CELL)
                person.stop_server()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _run(command: Sequence[str], directory: Path, profile: Path) -> None:
    environment = {"PATH": os.defpath, "HOME": str(directory), **_environment(profile)}
    subprocess.run(command, cwd=directory, env=environment, stdout=sys.stderr, check=False)


def _environment(profile: Path) -> dict[str, str]:
    """Return the variable that names the output; %m: one file per program and module."""
    return {"LLVM_PROFILE_FILE": f"{profile}/%m.profraw"}


def _profdata(image: Path, arguments: Sequence[str]) -> None:
    """Run llvm-profdata with the C library of its image: this machine's may be older."""
    libraries = f"{image}/usr/lib/x86_64-linux-gnu:{image}/usr/lib/llvm-{LLVM}/lib"
    loader = [f"{image}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    program = f"{image}/usr/lib/llvm-{LLVM}/bin/llvm-profdata"
    subprocess.run([*loader, program, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
