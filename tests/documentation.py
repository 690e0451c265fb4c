"""The pages of the documentation, and what they tell the reader to type.

In a ```console block, a line after `$ ` is a command (continued after `> `, or as a here-document,
which can be pasted, up to its end), and the other lines are what it prints, in which `…` stands for
any text. A ```python block whose first line names a
file, such as `# 20-class.py`, is that fragment. Other blocks are examples that nobody types.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'(\w+)'")
_FRAGMENT = re.compile(r"# (\d\d-[\w-]+\.py)\b")


@dataclass(frozen=True)
class Command:
    """One command of a page, and the lines that it prints according to the page."""

    text: str
    shown: tuple[str, ...]

    def missing_from(self, printed: str) -> str | None:
        """Return the first shown line that is not in an output, in order; None if all are."""
        rest = printed.splitlines()
        for line in self.shown:
            pattern = re.compile(".*".join(map(re.escape, line.strip().split("…"))))
            found = (n for n, each in enumerate(rest) if pattern.fullmatch(each.strip()))
            position = next(found, None)
            if position is None and line.strip() != "…":
                return line
            rest = rest[(position or 0) + 1 :] if line.strip() != "…" else rest
        return None


@dataclass(frozen=True)
class Fragment:
    """A fragment that a page shows in full."""

    name: str
    text: str


def code(page: Path) -> list[str]:
    """Return the blocks and spans of code on a page."""
    text = page.read_text()
    blocks = [block for _, _, block in _BLOCK.findall(text)]
    rest = _BLOCK.sub("", text)
    indented = re.findall(r"(?:^ {4,}\S.*\n)+", rest, re.MULTILINE)
    return [*blocks, *indented, *re.findall(r"`([^`]+)`", rest)]


def prose(page: Path) -> str:
    """Return the text of a page without its blocks of code."""
    return _BLOCK.sub("", page.read_text())


def steps(page: Path) -> list[Command | Fragment]:
    """Return the commands and fragments of a page, in its order."""
    found: list[Command | Fragment] = []
    for indent, language, block in _BLOCK.findall(page.read_text()):
        text = textwrap.dedent(block) if indent else block
        if language == "console":
            found += _commands(text)
        elif language == "python" and (name := _FRAGMENT.match(text)):
            found.append(Fragment(name[1], text))
    return found


def _commands(block: str) -> list[Command]:
    commands: list[tuple[list[str], list[str]]] = []
    end = ""
    for line in block.splitlines():
        if end:
            commands[-1][0].append(line)
            end = "" if line == end else end
        elif line.startswith("$ "):
            commands.append(([line.removeprefix("$ ")], []))
            here = _HERE.search(line)
            end = here[1] if here else ""
        elif line.startswith(">") and not commands[-1][1]:
            commands[-1][0].append(line.removeprefix(">").removeprefix(" "))
        else:
            commands[-1][1].append(line)
    return [Command("\n".join(typed), tuple(shown)) for typed, shown in commands]
