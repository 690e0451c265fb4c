"""The compiler of native packages: zig, for an old glibc.

zig brings the headers and link stubs of any glibc. The build machine may therefore be newer than
the oldest machine that runs the result, and two build machines produce the same bytes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from construct.condapkg import GLIBC_FLOOR
from littlest_hub.errors import LittlestHubError

TARGET = "x86_64-linux-gnu.{}.{}".format(*GLIBC_FLOOR)
ZIG_CC = ("cc", "-target", TARGET, "-s")
COMPILER = f"""\
#!/bin/sh
# No debugging symbols and no path of the build machine; RPATH_* say how a file finds its libraries.
case " $* " in
*" -c "*) # clang alone, with the flags that `zig cc` passes to it: see compiler_flags()
    for argument; do
        shift
        case $argument in
        -O[1-3]) argument=-O2 ;; # as `zig cc` has it
        esac
        set -- "$@" "$argument"
    done
    exec "$ZIG" clang "@${{0%/*}}/flags" -Wno-date-time "-ffile-prefix-map=$SRC_DIR=." "$@"
    ;;
*" -shared "*) rpath=${{RPATH_LIBRARIES-}} ;;
*) rpath=${{RPATH_PROGRAMS-}} ;;
esac
exec "$ZIG" {" ".join(ZIG_CC)} -fno-sanitize=all -Wno-date-time "-ffile-prefix-map=$SRC_DIR=." \\
    -Wl,--undefined-version ${{rpath:+"-Wl,-rpath,$rpath"}} "$@"
"""
TOOLS = {
    "cc": COMPILER,
    "c++": f'#!/bin/sh\nexec "$ZIG" c++ -target {TARGET} -s "$@"\n',
    "ar": '#!/bin/sh\nexec "$ZIG" ar "$@"\n',
    "ranlib": '#!/bin/sh\nexec "$ZIG" ranlib "$@"\n',
}
"""Scripts on the PATH of every recipe."""
CONFIG_SITE = Path(__file__).parents[1] / "recipe" / "config.site"
"""Answers for configure scripts, about the target."""
PROGRAMS = ("autoreconf", "libtoolize", "make", "patch", "perl", "tclsh", "xz")
"""Programs of the build machine that recipes run."""


def zig() -> Path:
    """Return the path of the compiler, which is in the PyPI package ziglang."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise LittlestHubError(
            "the compiler (PyPI package ziglang) is not installed",
            "use the project's environment: make venv && .venv/bin/python -m construct",
        )
    return Path(found.origin).with_name("zig")


def compiler_flags(work: Path) -> list[str]:
    """Return the flags that `zig cc` passes to clang for an optimized file.

    `zig cc -c` compiles into a cache, and links that one object again because of `-s`. This takes
    as long as compiling a small file, and no file is compiled twice here.
    """
    (work / "probe.c").touch()
    done = subprocess.run(
        [zig(), *ZIG_CC, "-O2", "-c", "probe.c"],
        cwd=work,
        env={"ZIG_VERBOSE_CC": "1", "ZIG_GLOBAL_CACHE_DIR": str(work), "ZIG_LOCAL_CACHE_DIR": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    home = str(zig().parent.resolve())
    found = done.stderr.replace(home, "ZIG_HOME").split()
    if done.returncode != 0 or found[:3] != ["ZIG_HOME/zig", "clang", "probe.c"]:
        raise LittlestHubError(f"cannot read clang's flags from `zig cc`:\n{done.stderr.strip()}")
    files = found.index("-MD"), found.index("-MF") + 2
    flags = found[3 : files[0]] + found[files[1] : found.index("-c")]
    # zig also names every processor feature that the target lacks; those are off by default, and
    # naming them would overrule a file's own -mavx2.
    without = re.sub(r" -Xclang -target-feature -Xclang -\S+", "", " ".join(flags)).split()
    return [flag.replace("ZIG_HOME", home) for flag in without]


def check_programs() -> None:
    """Raise LittlestHubError if programs that the recipes run are not installed."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise LittlestHubError(
            f"missing programs: {', '.join(missing)}", "as root, install what is missing: make deps"
        )


def install(tools: Path) -> None:
    """Write TOOLS and the compiler's flags into the folder ``tools``."""
    for name, text in TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tools / "flags").write_text(shlex.join(compiler_flags(tools)))


def variables(tools: Path, cache: Path, scratch: Path) -> dict[str, str]:
    """Return the environment variables by which a recipe's script finds the tools."""
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "ZIG": str(zig()),
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(scratch),
        "CC": "cc",
        "CXX": "c++",
        "AR": "ar",
        "RANLIB": "ranlib",
        "CONFIG_SITE": str(CONFIG_SITE),
        "PKG_CONFIG_LIBDIR": "/nonexistent",
    }
