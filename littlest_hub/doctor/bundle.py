"""An archive for somebody who helps, without the secrets of whoever asks.

Three nets, one below the other: what a name says is secret (in Python by its syntax, so that the
layout survives), what looks like a secret wherever it stands, and every literal value of the
secrets that this machine knows, in whatever else it appears.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import tarfile
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from littlest_hub.backup.archive import new_file
from littlest_hub.backup.contents import drop_ins, is_secret
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout

REDACTED = "[redacted]"
JOURNAL_LINES = 3000
_SHORTEST = 6
"""Shorter values are words; to remove them everywhere would remove the text."""

_WORD = (
    r"(?:pass(?!ed|ing|es|ive|enger)|pwd|secret|token|credential|api_?-?key|private_?-?key"
    r"|access_?-?key|crypt_?-?key|signing_?-?key|encryption_?-?key|\bauth\b|authorization|cookie"
    r"|salt\b|hmac|hashed|bearer|jwt|session_?id|otp|\bpin\b|jupyterhub_"
    r"|(?:\b|_)pw\b|(?:\b|_)keys?\b|\bconsumers\b)"
)
# The name of something that is no secret itself.
_HARMLESS = re.compile(
    r"(?:_file|_path|_dir|_class|_expiry|_expires\w*|_timeout|_scopes?|_max_age\w*|_len(?:gth)?"
    r"|_type|_header|_enabled|_endpoint|_interval|_url|_uri|_age_days|_options"
    r"|(?:username|user|groups?|ssl|public|primary|sort)_keys?)$",
    re.I,
)
_SMELLS = re.compile(_WORD, re.I)

# name = value, name: value, --name value; the value quoted or up to the next blank.
_ASSIGNED = re.compile(
    rf"""(?P<name>["']?(?:--?)?[\w.-]*{_WORD}[\w.-]*["']?\]?)(?P<is>\s*(?:=|:|=>)\s*)"""
    r"""(?P<value>[bru]{0,2}"(?:[^"\\]|\\.)*"?|[bru]{0,2}'(?:[^'\\]|\\.)*'?"""
    # Up to a blank, or to the quote around it all.
    r"""|(?:(?!["'](?:[\s,;:)\]}]|$))\S)+)""",
    re.I,
)
_OPTION = re.compile(rf"(?P<name>--[\w-]*{_WORD}[\w-]*)(?P<is>\s+)(?P<value>[^\s\"']+)", re.I)
_SAID = re.compile(
    r"(?P<name>\b(?:password|passwort|passphrase|secret|token|api key)(?: is| was))"
    r"(?P<is>\s*[:=]?\s*)(?P<value>\S+)",
    re.I,
)
_FLAG = re.compile(
    r"(?P<name>\b(?:mysql|mariadb)[\w-]*\s(?:[^\n|;]*?\s)?-p)(?P<is>)(?P<value>[^\s\"']+)"
)
# Whole rest of the line: headers, and settings of units with several words.
_LINE = re.compile(
    r"(?P<name>\b(?:authorization|proxy-authorization|cookie|set-cookie|x-[\w-]*(?:token|key|auth)"
    r"[\w-]*|SetCredential\w*)[\"']?)(?P<is>\s*[:=]\s*)(?P<value>[^\n]+)",
    re.I,
)
_ENVIRONMENT = re.compile(
    rf"^(?P<name>\s*Environment=.*?[\w.-]*{_WORD}[\w.-]*)(?P<is>=)(?P<value>.+)$",
    re.I | re.M,
)

# What is a secret whatever it is called.
_SHAPES = (
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)", re.S),
    # A password may have a slash; a host with its port is followed by one, and a user by "@".
    re.compile(r"(?<=://)(?!(?:localhost|[\w-]+(?:\.[\w-]+)+|\[[\da-f:]+\]):\d{1,5}/)"
               r"[^\s/@:\"']*:[^\s\"']+(?=@)"),
    re.compile(r"(?<=[?&])(?:\w*(?:token|code|state|key|secret|sig|password))=[^\s&\"']+", re.I),
    re.compile(r"(?<=[Bb]earer )[\w.~+/=-]{6,}|(?<=[Bb]asic )[\w.~+/=-]{8,}"),
    re.compile(r"(?<=\b[Tt]oken )(?=\S*[\d_])[\w.~+/=-]{12,}"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),
    re.compile(r"\b(?:gh[pousr]|glpat|github_pat|xox[abposr]|sk|rk|pk|hf|npm|dop_v1|AIza|ya29)"
               r"[-_.]?[\w-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"\{(?:S?SHA\d*|CRYPT)\}[\w+/=.$-]+|\$(?:2[abxy]|5|6|y|7|apr1|argon2\w*)\$[\w./$+=,-]+"),
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),
    # Long, and with digits and both cases: no word, no path.
    re.compile(r"(?<![\w/.-])(?=[\w+-]*\d)(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])[\w+-]{24,}={0,2}(?![\w/.])"),
    re.compile(r"(?<![\w/.-])(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])"
               r"(?=[\w/-]*\+)[\w+/-]{30,}={0,2}(?![\w.])"),
)  # fmt: skip


class Redactor:
    """Takes secrets out of text.

    Args:
        literals: values that are secret wherever they appear.
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        self._literals: set[str] = set()
        for literal in literals:
            self.learn(literal)

    def learn(self, value: str) -> None:
        """A value that is secret wherever it appears, and in the usual encodings of it."""
        value = value.strip()
        if len(value) < _SHORTEST or value == REDACTED:
            return
        encoded = value.encode(errors="surrogateescape")
        self._literals |= {value, quote(value, safe=""), encoded.hex(), json.dumps(value)[1:-1]}
        # A value inside something that is encoded as a whole begins at one of three offsets.
        for offset in range(3):
            text = base64.b64encode(b"\0" * offset + encoded).decode()
            # Without the characters that its neighbours decide.
            inner = text[(0, 2, 3)[offset] :].rstrip("=")
            inner = inner[: len(inner) - (1 if (len(encoded) + offset) % 3 else 0)]
            if len(inner) >= 2 * _SHORTEST:
                self._literals |= {inner, inner.replace("+", "-").replace("/", "_")}

    def text(self, text: str) -> str:
        """Any text."""
        for pattern in (_LINE, _ENVIRONMENT, _ASSIGNED, _OPTION, _FLAG, _SAID):
            text = pattern.sub(_without_value, text)
        return self.shapes(text)

    def shapes(self, text: str) -> str:
        """Only what is a secret whatever it is called."""
        for pattern in _SHAPES:
            text = pattern.sub(_same_lines, text)
        for literal in sorted(self._literals, key=len, reverse=True):
            text = text.replace(literal, REDACTED)
        return text

    def learn_python(self, source: str) -> None:
        """The secrets of a fragment, to find them elsewhere."""
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            for node in _secret_strings(ast.parse(source)):
                value = node.value if isinstance(node, ast.Constant) else ""
                if isinstance(value, bytes):
                    value = value.decode(errors="replace")
                if isinstance(value, str):
                    self.learn(value)

    def python(self, source: str) -> str:
        """A fragment; every line stays where it is."""
        try:
            spans = [_span(node) for node in _secret_strings(ast.parse(source))]
        except (SyntaxError, ValueError, RecursionError):
            return self.text(source)
        source = _replace(source, spans, lambda text: _literal(text))
        # What strings and comments say, but not the code around them.
        try:
            spans = list(_told(source))
        except (tokenize.TokenError, SyntaxError, IndentationError):
            return self.text(source)
        return self.shapes(_replace(source, spans, self._inside))

    def _inside(self, text: str) -> str:
        opening = re.match(r"""(?i)[brfu]*('{3}|"{3}|'|")""", text)
        if not opening:
            return self.text(text)
        begin, end = opening.end(), len(text) - len(opening[1])
        return text[:begin] + self.text(text[begin:end]) + text[end:]


def _without_value(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if _HARMLESS.search(name.strip("\"'[]")) or value.startswith(REDACTED):
        return match[0]
    return f"{name}{match['is']}{REDACTED}"


def _same_lines(match: re.Match[str]) -> str:
    return REDACTED + "\n" * match[0].count("\n")


# --- Python


def _secret_strings(tree: ast.AST) -> list[ast.expr]:
    """Every string that becomes the value of something whose name says that it is secret."""
    names: set[str] = set()
    found: dict[int, ast.expr] = {}
    while True:
        before = len(found) + len(names)
        for node in ast.walk(tree):
            for value in _secret_values(node, names):
                for part in _values(value):
                    if isinstance(part, ast.Name):
                        # pw = "..."; c.X.password = pw
                        names.add(part.id)
                    else:
                        found[id(part)] = part
        if len(found) + len(names) == before:
            return list(found.values())


def _values(value: ast.AST) -> Iterator[ast.expr]:
    """Strings and variables that make a value; not the names inside it: dict keys, subscripts."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str | bytes) and value.value:
            yield value
    elif isinstance(value, ast.JoinedStr | ast.Name):
        yield value
    elif isinstance(value, ast.Dict):
        for each in value.values:
            yield from _values(each)
    elif isinstance(value, ast.Subscript):
        # os.environ["CLIENT_SECRET"]: a name.
        return
    elif isinstance(value, ast.Call):
        # os.environ.get("NAME", "default"), open("file"): names first, then values.
        is_reader = re.search(r"(?:get|getenv|open|Path|read\w*)$", ast.unparse(value.func))
        if isinstance(value.func, ast.Attribute):
            yield from _values(value.func.value)
        for each in value.args[1:] if is_reader else value.args:
            yield from _values(each)
        for keyword in value.keywords:
            yield from _values(keyword.value)
    else:
        for child in ast.iter_child_nodes(value):
            yield from _values(child)


def _secret_values(node: ast.AST, names: set[str]) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign) and any(_is_secret(t, names) for t in node.targets):
        yield node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            # user, password = "a", "b"
            if isinstance(target, ast.Tuple | ast.List) and isinstance(
                node.value, ast.Tuple | ast.List
            ):
                for left, right in zip(target.elts, node.value.elts, strict=False):
                    if _is_secret(left, names):
                        yield right
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        if node.value is not None and _is_secret(node.target, names):
            yield node.value
    elif isinstance(node, ast.keyword):
        # sorted(..., key=lambda ...) is none.
        if node.arg and _smells(node.arg) and not isinstance(node.value, ast.Lambda):
            yield node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and _is_secret(key, names):
                yield value
    elif isinstance(node, ast.JoinedStr):
        inside = list(_in_address(node.values))
        if any(isinstance(each, ast.Constant) for each in inside):
            # Its own text has no quotes to be replaced in: the whole, and what variables hold.
            inside = [node, *(each for each in inside if isinstance(each, ast.Name))]
        yield from inside
    elif isinstance(node, ast.BinOp):
        yield from _in_address(_summands(node))
    elif isinstance(node, ast.Call):
        yield from _secret_arguments(node)
    elif isinstance(node, ast.Tuple | ast.List):
        yield from _after_name(node.elts)
    elif isinstance(node, ast.Compare):
        # password == "..."
        sides = [node.left, *node.comparators]
        if any(_is_secret(side, names) for side in sides):
            yield from (side for side in sides if not _is_secret(side, names))
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = node.args
        with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
        pairs = [
            *zip(with_default, arguments.defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        yield from (d for argument, d in pairs if d is not None and _smells(argument.arg))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _smells(node.name):
            yield from (r.value for r in ast.walk(node) if isinstance(r, ast.Return) and r.value)


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return [node]


def _text_of(node: ast.expr) -> str:
    """What stands in a string, as far as it does."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text_of, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _in_address(parts: list[ast.expr]) -> Iterator[ast.AST]:
    """f"postgresql://{user}:{this}@{host}/x", or the same with "+"."""
    texts = [_text_of(part) for part in parts]
    before = ""
    for index, (part, text) in enumerate(zip(parts, texts, strict=True)):
        _, begun, user = before.rpartition("://")
        is_inside = begun and ":" in user and "@" not in user
        if is_inside and "@" not in text and any("@" in later for later in texts[index + 1 :]):
            yield part.value if isinstance(part, ast.FormattedValue) else part
        before += text


def _secret_arguments(node: ast.Call) -> Iterator[ast.AST]:
    yield from _after_name(node.args)
    function = ast.unparse(node.func).rpartition(".")[2]
    if _smells(function) and not re.match(
        r"(?:get|read|load|open|token_(?:hex|urlsafe))", function
    ):
        yield from node.args


def _after_name(elements: list[ast.expr]) -> Iterator[ast.AST]:
    """("CLIENT_SECRET", "..."), setdefault("TOKEN", "..."), ["--token", "..."]"""
    for index, each in enumerate(elements[:-1]):
        is_name = isinstance(each, ast.Constant) and isinstance(each.value, str)
        if is_name and re.fullmatch(r"[\w.-]+", str(each.value)) and _smells(str(each.value)):  # type: ignore[attr-defined]
            yield elements[index + 1]


def _is_secret(target: ast.AST, names: set[str]) -> bool:
    if isinstance(target, ast.Name):
        return target.id in names or _smells(target.id)
    if isinstance(target, ast.Attribute):
        return _smells(target.attr)
    if isinstance(target, ast.Constant):
        return isinstance(target.value, str) and _smells(target.value)
    if isinstance(target, ast.Subscript):
        return _is_secret(target.slice, names)
    return isinstance(target, ast.Starred) and _is_secret(target.value, names)


def _smells(name: str) -> bool:
    return _SMELLS.search(name) is not None and not _HARMLESS.search(name)


Span = tuple[int, int, int, int]
"""First line (from 1) and column in characters, and the same of the end."""


def _span(node: ast.expr) -> Span:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    # ast counts columns in bytes; `_replace` is told by a negative one.
    return node.lineno, -1 - node.col_offset, node.end_lineno, -1 - node.end_col_offset


def _told(source: str) -> Iterator[Span]:
    begin: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("STRING", "COMMENT"):
            yield (*token.start, *token.end)
        elif kind == "FSTRING_START":
            begin.append(token.start)
        elif kind == "FSTRING_END":
            start = begin.pop()
            if not begin:
                yield (*start, *token.end)


def _replace(source: str, spans: Iterable[Span], change: Callable[[str], str]) -> str:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        if column < 0:
            prefix = lines[line - 1].encode()[: -1 - column]
            column = len(prefix.decode(errors="replace"))
        return starts[line - 1] + column

    places = sorted({(offset(a, b), offset(c, d)) for a, b, c, d in spans}, reverse=True)
    done = len(source) + 1
    for begin, end in places:
        if end <= done:
            source = source[:begin] + change(source[begin:end]) + source[end:]
            done = begin
    return source


def _literal(text: str) -> str:
    """A string of as many lines; adjacent ones ("a" "b") become one."""
    lines = text.count("\n")
    if not lines:
        return f'"{REDACTED}"'
    opening = '"""' if re.match(r"""(?i)[brfu]*('{3}|\"{3})""", text) else "("
    return f'"""{REDACTED}' + "\n" * lines + '"""' if opening == '"""' else _joined(lines)


def _joined(lines: int) -> str:
    # Inside parentheses already, or it would not go over lines.
    return f'"{REDACTED}"' + "\n" * lines + '""'


# --- what this machine knows


def known_secrets(layout: Layout, run: Callable[..., str]) -> Iterator[str]:
    """Every value that is secret here, as far as it can be read."""
    for directory in (layout.state, layout.fragments):
        for file in sorted(directory.rglob("*")):
            with contextlib.suppress(OSError):
                is_ours = file.is_file() and "backups" not in file.parts and file.suffix != ".py"
                if is_ours and file.stat().st_size < 1 << 16 and is_secret(layout, file):
                    yield from _values_in(file.read_text(errors="replace"))
    with contextlib.suppress(OSError):
        yield from re.findall(r"\{SHA\}[\w+/=]+", layout.rules.read_text())
    # Tokens of the servers that run.
    for file in sorted(layout.server_environments.glob("*.env")):
        with contextlib.suppress(OSError):
            found = re.findall(r"^(\w+)=(.*)$", file.read_text(errors="replace"), re.M)
            yield from (value.strip("'\"") for name, value in found if _is_token(name))
    shown = run("systemctl", "cat", *layout.units)
    for name in re.findall(r"^(?:EnvironmentFile|LoadCredential)=-?(?:\w+:)?(/\S+)", shown, re.M):
        with contextlib.suppress(OSError):
            yield from _values_in(Path(name).read_text(errors="replace"))
    yield from re.findall(rf"^Environment=.*?{_WORD}\w*=\"?([^\"\s]+)", shown, re.M | re.I)
    for fragment in _readable(layout):
        # c.X.client_secret_file = "/etc/keys/oauth"
        named = re.findall(
            rf"\w*{_WORD}\w*_(?:file|path)\W{{1,4}}[\"'](/[^\"']+)[\"']", fragment, re.I
        )
        for name in named:
            with contextlib.suppress(OSError):
                yield from _values_in(Path(name).read_text(errors="replace"))


def _is_token(name: str) -> bool:
    return bool(re.search(r"TOKEN|SECRET|PASSW|KEY|CRYPT|COOKIE", name))


def _readable(layout: Layout) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for file in fragment_files(layout):
            with contextlib.suppress(OSError):
                yield file.read_text(errors="replace")


def _values_in(text: str) -> Iterator[str]:
    """A file of one secret, of NAME=value lines, or a key: each of its lines, and each value."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(("#", "-----")) or len(line) < _SHORTEST:
            continue
        yield line
        name, separator, value = line.partition("=")
        if separator and re.fullmatch(r"(?:export )?[\w.]+\s*", name):
            yield value.strip(" '\"")


# --- the archive


def write_bundle(layout: Layout, findings: str, file: Path, run: Callable[..., str]) -> None:
    """Write an archive of what somebody who helps wants to see.

    Args:
        layout: whose.
        findings: the doctor's, as JSON.
        file: what to write, 0600; must not exist.
        run: gives the standard output of a command.

    Raises:
        LittlestHubError: the file cannot be written; nothing is left of it.
    """
    redactor = Redactor(known_secrets(layout, run))
    for source in _readable(layout):
        redactor.learn_python(source)
    name = file.name.partition(".")[0]
    with new_file(file) as opened, tarfile.open(fileobj=opened, mode="w:gz") as tar:
        for path, text in _contents(layout, findings, run):
            is_python = path.endswith(".py")
            clean = redactor.python(text) if is_python else redactor.text(text)
            data = clean.encode(errors="replace")
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))


def _contents(layout: Layout, findings: str, run: Callable[..., str]) -> Iterator[tuple[str, str]]:
    yield "doctor.json", findings
    for unit in layout.units:
        if text := run("journalctl", "--no-pager", f"--lines={JOURNAL_LINES}", f"--unit={unit}"):
            yield f"journal/{unit}.txt", text
    pattern = layout.user_units
    yield (
        "journal/user-servers.txt",
        run("journalctl", "--no-pager", f"--lines={JOURNAL_LINES}", f"--unit={pattern}"),
    )
    yield "units/show.txt", run("systemctl", "show", *layout.units)
    yield "units/status.txt", run("systemctl", "--no-pager", "status", *layout.units, pattern)
    yield "units/cat.txt", run("systemctl", "cat", *layout.units)
    for file in drop_ins(layout):
        yield from _file(f"units/{file.parent.name}/{file.name}", file)
    with contextlib.suppress(OSError):
        for file in fragment_files(layout):
            yield from _file(f"jupyterhub_config.d/{file.name}", file)
    with contextlib.suppress(OSError):
        for file in sorted(layout.proxy_state.rglob("*.toml")):
            yield from _file(f"proxy/{file.relative_to(layout.proxy_state)}", file)
    for name, command in (
        ("uname", ("uname", "-a")),
        ("systemd", ("systemctl", "--version")),
        ("disks", ("df", "-hT")),
        ("inodes", ("df", "-i")),
        ("memory", ("free", "-m")),
        ("addresses", ("ip", "-brief", "address")),
        ("listening", ("ss", "-ltnp")),
        ("base", ("ls", "-la", str(layout.base), str(layout.releases), str(layout.fragments))),
        ("state", ("find", str(layout.state), "-ls")),
        ("time", ("timedatectl", "show")),
        ("failed", ("systemctl", "--no-pager", "--failed")),
    ):
        yield f"machine/{name}.txt", run(*command)
    for name in ("/etc/os-release", "/proc/meminfo", "/proc/mounts", "/proc/pressure/memory"):
        yield from _file(f"machine/{name[1:].replace('/', '-')}", Path(name))
    packages = sorted(p.stem for p in (layout.hub / "conda-meta").glob("*.json"))
    yield "packages.txt", "\n".join(packages) + "\n"


def _file(path: str, file: Path) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):
        yield path, file.read_text(errors="replace")
