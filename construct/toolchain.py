"""The compiler of native packages: zig, for an old glibc.

zig brings the headers and link stubs of any glibc. The build machine may therefore be newer than
the oldest machine that runs the result, and two build machines produce the same bytes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from construct.condapkg import GLIBC_FLOOR
from littlest_hub.errors import LittlestHubError

TARGET = "x86_64-linux-gnu.{}.{}".format(*GLIBC_FLOOR)
COMPILER = """\
#!/bin/sh
# No debugging symbols, no path of this machine; RPATH_* say how a file finds its libraries.
case " $* " in
*" -shared "*) rpath=${{RPATH_LIBRARIES-}} ;;
*) rpath=${{RPATH_PROGRAMS-}} ;;
esac
exec "$ZIG" {driver} -target "${{ZIG_TARGET:-{target}}}" -s -Wno-date-time \\
    "-ffile-prefix-map=$SRC_DIR=." -Wl,--undefined-version ${{rpath:+"-Wl,-rpath,$rpath"}} "$@"
"""
TOOLS = {
    "cc": COMPILER.format(driver="cc", target=TARGET),
    "c++": COMPILER.format(driver="c++", target=TARGET),
    "ar": '#!/bin/sh\nexec "$ZIG" ar "$@"\n',
    "ranlib": '#!/bin/sh\nexec "$ZIG" ranlib "$@"\n',
}
"""Scripts on the PATH of every recipe."""
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


def check_programs() -> None:
    """Raise LittlestHubError if programs that the recipes run are not installed."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise LittlestHubError(
            f"missing programs: {', '.join(missing)}", "as root, install what is missing: make deps"
        )


def install(tools: Path) -> None:
    """Write TOOLS into the folder ``tools``."""
    for name, text in TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)


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
        "PKG_CONFIG_LIBDIR": "/nonexistent",
    }
