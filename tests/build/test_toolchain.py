"""The compiler of native packages, and the answers that configure scripts get about the target."""

from __future__ import annotations

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from construct import toolchain
from construct.cache import Cache

ANSWER = re.compile(r"ac_cv_(func|header|sizeof|alignof)_(\w+)=(\w+)")
SOURCE = """\
#include <assert.h>
static int scaled(int value, int factor) { return value / 7 * factor; }
long mixed(const int *values, double ratio) {
    assert(values);
    return values[0] + scaled(values[1], values[2]) + (long)(ratio * values[3]);
}
"""


def answers(kind: str) -> dict[str, str]:
    """Return the answers of one kind by name."""
    found = ANSWER.findall(toolchain.CONFIG_SITE.read_text())
    return {name: value for each, name, value in found if each == kind}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment variables of a recipe's script, with the tools installed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    toolchain.install(tools)
    found = toolchain.variables(tools, Cache().root / "zig", tmp_path / "zig")
    return {**found, "HOME": str(tmp_path), "SRC_DIR": str(tmp_path)}


def compiled(
    environment: dict[str, str], folder: Path, source: str, *options: str, program: str = "cc"
) -> subprocess.CompletedProcess[str]:
    """Run the compiler on a file with that source."""
    (folder / "probe.c").write_text(source)
    return subprocess.run(
        [*program.split(), *options, "probe.c"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_compiler_produces_the_code_that_zig_cc_produces(
    environment: dict[str, str], tmp_path: Path
) -> None:
    zig = " ".join([environment["ZIG"], *toolchain.ZIG_CC])
    code = []
    for number, program in enumerate(["cc", zig]):
        options = ["-O3", "-c", "-o", f"{number}.o"]
        done = compiled(environment, tmp_path, SOURCE, *options, program=program)
        assert done.returncode == 0, done.stderr
        sections = ["objcopy", "-O", "binary", "--only-section=.text", f"{number}.o", "text"]
        subprocess.run(sections, cwd=tmp_path, check=True)
        code.append((tmp_path / "text").read_bytes())
    assert code[0] == code[1]
    assert len(code[0]) > 50


def test_a_file_may_use_instructions_that_the_target_may_lack(
    environment: dict[str, str], tmp_path: Path
) -> None:
    source = "#include <immintrin.h>\n__m256i twice(__m256i x) { return _mm256_add_epi8(x, x); }\n"
    assert compiled(environment, tmp_path, source, "-O2", "-c").returncode != 0
    done = compiled(environment, tmp_path, source, "-O2", "-mavx2", "-c")
    assert done.returncode == 0, done.stderr


def test_every_answer_about_a_function_is_that_of_the_c_library(
    environment: dict[str, str], tmp_path: Path
) -> None:
    functions = answers("func")
    calls = "\n".join(f"char {name}(); char (*const of_{name})() = {name};" for name in functions)
    source = f"{calls}\nint main(void) {{ return 0; }}\n"
    options = ["-w", "-fno-builtin", "-o", "probe"]
    done = compiled(environment, tmp_path, source, *options)
    missing = set(re.findall(r"undefined symbol: (\w+)", done.stderr))
    assert missing == {name for name, value in functions.items() if value == "no"}
    assert len(functions) > 200


def test_every_answer_about_a_header_is_that_of_the_c_library(
    environment: dict[str, str], tmp_path: Path
) -> None:
    lines = []
    for name, value in answers("header").items():
        words = name.removesuffix("_h").split("_")
        candidates = [
            words[0] + "".join(map("".join, zip(separators, words[1:], strict=True))) + ".h"
            for separators in product("/_", repeat=len(words) - 1)
        ]
        condition = " || ".join(f"__has_include(<{path}>)" for path in candidates)
        wanted = "" if value == "no" else "!"
        lines.append(f"#if {wanted}({condition})\n#error {name} is not {value}\n#endif")
    done = compiled(environment, tmp_path, "\n".join(lines), "-c")
    assert done.returncode == 0, done.stderr
    assert len(lines) > 50


def test_every_answer_about_a_size_is_that_of_the_compiler(
    environment: dict[str, str], tmp_path: Path
) -> None:
    headers = ("pthread.h", "stddef.h", "stdint.h", "stdio.h", "sys/types.h", "time.h", "wchar.h")
    lines = [f"#include <{header}>" for header in headers]
    for kind, operator in (("sizeof", "sizeof"), ("alignof", "_Alignof")):
        for name, value in answers(kind).items():
            words = name if name.endswith("_t") or name == "_Bool" else name.replace("_", " ")
            words = words.replace("void p", "void *")
            lines.append(f'_Static_assert({operator}({words}) == {value}, "{kind} {name}");')
    done = compiled(environment, tmp_path, "\n".join(lines), "-c")
    assert done.returncode == 0, done.stderr


def test_no_answer_is_about_a_recipe_or_the_build_machine() -> None:
    lines = toolchain.CONFIG_SITE.read_text().splitlines()
    assert toolchain.TARGET in lines[0], "made for another target"
    rest = [line for line in lines if not line.startswith("#")]
    assert [line for line in rest if not ANSWER.fullmatch(line)] == []
