"""Lock files: which of their packages are built, and so run code.

They are scanned line by line, as the programs write them: a parser would take seconds for
megabytes, and forever for some. A file that is written otherwise is misjudged here; the builder
does not rely on it (`requirements`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.contents import (
    LOCK_LIMIT_BYTES,
    Contents,
    Line,
    shown,
)
from littlest_hub.stacks.launch.environment.requirements import (
    Built,
    Requirements,
    add_host,
    inside,
    is_name,
)

PLATFORM = "linux-64"
_HOSTS = re.compile(r"https://([A-Za-z0-9.-]{1,253})[:/]")
_PLAIN = re.compile(r"https://[A-Za-z0-9._~:/+%-]+")
_OUTSIDE = "expected packages at https://…"


def read_uv_lock(contents: Contents, requirements: Requirements, file: str) -> str:
    """Remark on a uv.lock, and return the Python versions that it is for.

    Its wheels are read by uv itself.
    """
    text = _text(contents, file, r"^version = 1$")
    asked = re.search(r'^requires-python = "([^"]*)"$', text, re.MULTILINE)
    for line, block in _blocks(text, "[[package]]"):
        name = _field(block, r'^name = "([^"]*)"$')
        source = re.search(r'^source = \{ (\w+) = "([^"]*)"', block, re.MULTILINE)
        kind, where = (source[1], source[2]) if source else ("", "")
        is_wheel = bool(re.search(r"^wheels = \[", block, re.MULTILINE)) or where.endswith(".whl")
        if kind != "virtual" and not (is_wheel and kind in ("registry", "url", "path")):
            why = f"{shown(name)} is built from its source ({kind or 'none'})"
            version = _field(block, r'^version = "([A-Za-z0-9.!+_-]*)"$')
            if built := _built_of_uv(file, name, version, kind, where):
                requirements.build(built, Line(file, line), why)
            else:
                contents.runs(Line(file, line), why)
    return asked[1] if asked else ""


def _built_of_uv(file: str, name: str, version: str, kind: str, where: str) -> Built | None:
    """Return a package of a uv.lock that is built; None: this kind of source is not supported."""
    if not is_name(name):
        return None
    if kind == "registry":
        return Built(f"=={version}", name) if version else None
    if kind in ("editable", "directory", "path"):
        path = inside(file, where)
        return Built(f"./{path}", name) if path else None
    address, _, commit = where.partition("#")
    address, _, query = address.partition("?")
    found = re.search(r"(?:^|&)subdirectory=([A-Za-z0-9._/-]+)", query)
    directory = f"#subdirectory={found[1]}" if found else ""
    if kind == "git" and _PLAIN.fullmatch(address) and re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return Built(f"git+{address}@{commit}{directory}", name)
    return Built(where, name) if kind == "url" and _PLAIN.fullmatch(address) else None


def read_conda_lock(contents: Contents, file: str, channels: Channels) -> None:
    """Remark on a conda-lock.yml of conda-lock.

    Args:
        contents: gets the remarks.
        file: its path.
        channels: those that are permitted.
    """
    text = _text(contents, file, r"^version: 1$")
    is_ours = False
    # Packages are the only list that is not indented; keys have had two orders.
    for line, block in _blocks(text, "- "):
        field = dict(re.findall(r"^(?:  )?(\w+): (\S+)$", block, re.M))
        if field.get("platform") != PLATFORM:
            continue
        is_ours = True
        at, address = Line(file, line), field.get("url", "")
        if not address.startswith("https://"):
            contents.refuse(at, f"{shown(address)}: {_OUTSIDE}")
        elif field.get("manager") == "conda":
            _check_channel(contents, at, address, channels)
        elif not _is_wheel(address):
            contents.runs(at, f"{shown(field.get('name'))} is built from its source")
    if text and not is_ours:
        contents.refuse(Line(file), f"it has no packages for {PLATFORM}")


def read_pixi_lock(contents: Contents, file: str, channels: Channels) -> None:
    """Remark on a pixi.lock.

    Args:
        contents: gets the remarks.
        file: its path.
        channels: those that are permitted.
    """
    text = _text(contents, file, r"^version: [67]$")
    if text and not re.search(rf"^ +{PLATFORM}:$", text, re.MULTILINE):
        contents.refuse(Line(file), f"it has no packages for {PLATFORM}")
    for number, line in enumerate(text.splitlines(), 1):
        # Below `packages:`; above, each environment names them once more, indented.
        found = re.match(r"- (pypi|conda): (\S+)$", line)
        kind, address = (found[1], found[2]) if found else ("", "")
        at = Line(file, number)
        if address.startswith("http://"):
            contents.refuse(at, f"{shown(address)}: {_OUTSIDE}")
        elif kind == "conda" and address.startswith("https://"):
            _check_channel(contents, at, address, channels)
        elif kind and not _is_wheel(address):
            contents.runs(at, f"{shown(address)} is built from its source")


def _check_channel(contents: Contents, at: Line, address: str, channels: Channels) -> None:
    """Refuse a package of a channel that is not permitted."""
    # CHANNEL/PLATFORM/FILE; this is for people, and other platforms' packages are not installed.
    channel = address.rsplit("/", 2)[0]
    if not channels.address(channel):
        contents.refuse(at, channels.why_not(channel))


def read_pipfile_lock(contents: Contents, requirements: Requirements, file: str) -> str:
    """Remark on a Pipfile.lock, and return the Python version that it is for."""
    text = _text(contents, file)
    try:
        data = json.loads(text or "{}")
    except (ValueError, RecursionError):
        contents.refuse(Line(file), "it is no JSON")
        return ""
    data = data if isinstance(data, dict) else {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r'\s*"([^"]+)"\s*:', line):
            lines.setdefault(found[1], number)
    for group in ("default", "develop"):
        for name, how in table(data, group).items():
            read_pipfile_entry(requirements, Line(file, lines.get(name, 1)), name, how)
    add_pipfile_sources(requirements, file, table(data, "_meta").get("sources"))
    return python_of_pipfile(table(data, "_meta"))


def read_pipfile_entry(requirements: Requirements, at: Line, name: str, how: Any) -> None:
    """Add a package of a Pipfile or Pipfile.lock: a version, or a table with a source."""
    how = how if isinstance(how, dict) else {"version": how}
    if "git" in how:
        requirements.add_source(git_source(name, how), at)
    elif found := how.get("path") or how.get("file"):
        requirements.add(f"{name} @ {found}" if "://" in str(found) else str(found), at)
    else:
        extras, hashes = how.get("extras"), how.get("hashes")
        text = f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) else name
        text += str(how.get("version") or "").strip().removeprefix("*")
        if markers := how.get("markers"):
            text += f" ; {markers}"
        given = map(str, hashes) if isinstance(hashes, list) else ()
        requirements.add(text, at, list(given))


def git_source(name: str, how: dict[str, Any]) -> Built:
    """Return a package of a git repository, as a Pipfile or a project's uv sources name it."""
    refs = (how.get(each) for each in ("ref", "rev", "tag", "branch"))
    ref = next((f"@{each}" for each in refs if each), "")
    directory = f"#subdirectory={how['subdirectory']}" if how.get("subdirectory") else ""
    extras = how.get("extras")
    names = f"[{','.join(map(str, extras))}]" if isinstance(extras, list) else ""
    return Built(f"git+{how['git']}{ref}{directory}", name, names)


def add_pipfile_sources(requirements: Requirements, file: str, sources: Any) -> None:
    """Add the indexes of a Pipfile or Pipfile.lock; the first is the main one."""
    for number, each in enumerate(sources if isinstance(sources, list) else ()):
        address = str(each.get("url", "")) if isinstance(each, dict) else ""
        option = "--extra-index-url" if number else "--index-url"
        requirements.add_index(address, Line(file), option)


def python_of_pipfile(data: dict[str, Any]) -> str:
    """Return the Python version that a Pipfile, or `_meta` of a Pipfile.lock, requires."""
    requires = table(data, "requires")
    return str(requires.get("python_full_version") or requires.get("python_version") or "")


def table(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a table in a table; empty if there is something else."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _text(contents: Contents, file: str, version: str = "") -> str:
    """Return the text of a lock file of a known version; "": it is refused."""
    text = contents.text(file, LOCK_LIMIT_BYTES)
    if text and version and not re.search(version, text, re.MULTILINE):
        contents.refuse(Line(file), f"expected a line {version.strip('^$')!r}")
        return ""
    add_hosts(contents, text)
    return text


def add_hosts(contents: Contents, text: str) -> None:
    """Add the hosts of all addresses in a text."""
    for host in sorted(set(_HOSTS.findall(text))):
        add_host(contents, host)


def _blocks(text: str, beginning: str) -> Iterator[tuple[int, str]]:
    """Yield the number of the line, and the text after each line's beginning, up to the next."""
    line = 1
    for number, block in enumerate(f"\n{text}".split(f"\n{beginning}")):
        if number:
            yield line, block
        line += block.count("\n") + (1 if number else 0)


def _field(block: str, pattern: str) -> str:
    found = re.search(pattern, block, re.MULTILINE)
    return found[1] if found else ""


def _is_wheel(address: str) -> bool:
    return address.partition("#")[0].endswith(".whl")
