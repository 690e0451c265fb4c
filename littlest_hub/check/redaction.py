"""Secrets removed from text: from fragments, journals, unit files and configuration.

In a fragment, every string is masked unless it is on a short list of harmless values. Other text
is searched in three steps: for values whose names suggest a secret, for values that have the form
of one, and for every secret value that was found on this machine.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import tokenize
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

REDACTED = "[redacted]"
# Shorter values are words; masking them everywhere would make the text unreadable.
SHORTEST = 6

SECRET_WORD = (
    r"(?:pass(?!ed|ing|es|ive|enger)|pwd|secret|token|credential|api_?-?key|private_?-?key"
    r"|access_?-?key|crypt_?-?key|signing_?-?key|encryption_?-?key|\bauth\b|authorization|cookie"
    r"|salt\b|hmac|hashed|bearer|jwt|session_?id|otp|\bpin\b|jupyterhub_"
    r"|(?:\b|_)pw\b|(?:\b|_)keys?\b|\bconsumers\b)"
)
# Names that end so are names of something that is not secret itself.
_HARMLESS_NAME = re.compile(
    r"(?:_file|_path|_dir|_class|_expiry|_expires\w*|_timeout|_scopes?|_max_age\w*|_len(?:gth)?"
    r"|_type|_header|_enabled|_endpoint|_interval|_url|_uri|_age_days|_options"
    r"|(?:username|user|groups?|ssl|public|primary|sort)_keys?)$",
    re.I,
)
_SECRET_NAME = re.compile(SECRET_WORD, re.I)

# name = value, name: value, --name value; the value quoted or up to the next blank.
_ASSIGNED = re.compile(
    rf"""(?P<name>["']?(?:--?)?[\w.-]*{SECRET_WORD}[\w.-]*["']?\]?)(?P<is>\s*(?:=|:|=>)\s*)"""
    r"""(?P<value>[bru]{0,2}"(?:[^"\\]|\\.)*"?|[bru]{0,2}'(?:[^'\\]|\\.)*'?"""
    # Up to a blank, or to the quote around the whole.
    r"""|(?:(?!["'](?:[\s,;:)\]}]|$))\S)+)""",
    re.I,
)
_OPTION = re.compile(rf"(?P<name>--[\w-]*{SECRET_WORD}[\w-]*)(?P<is>\s+)(?P<value>[^\s\"']+)", re.I)
_IN_A_SENTENCE = re.compile(
    r"(?P<name>\b(?:password|passwort|passphrase|secret|token|api key)(?: is| was))"
    r"(?P<is>\s*[:=]?\s*)(?P<value>\S+)",
    re.I,
)
_MYSQL_OPTION = re.compile(
    r"(?P<name>\b(?:mysql|mariadb)[\w-]*\s(?:[^\n|;]*?\s)?-p)(?P<is>)(?P<value>[^\s\"']+)"
)
# The rest of the line: headers, and settings of units with several words.
_REST_OF_LINE = re.compile(
    r"(?P<name>\b(?:authorization|proxy-authorization|cookie|set-cookie|x-[\w-]*(?:token|key|auth)"
    r"[\w-]*|SetCredential\w*)[\"']?)(?P<is>\s*[:=]\s*)(?P<value>[^\n]+)",
    re.I,
)
_ENVIRONMENT = re.compile(
    rf"^(?P<name>\s*Environment=.*?[\w.-]*{SECRET_WORD}[\w.-]*)(?P<is>=)(?P<value>.+)$",
    re.I | re.M,
)

_NAMED = (_REST_OF_LINE, _ENVIRONMENT, _ASSIGNED, _OPTION, _MYSQL_OPTION, _IN_A_SENTENCE)

# Shapes of secrets, whatever their name.
_SHAPES = (
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)", re.S),
    # A password may have a slash; a host and its port are followed by one, a user by "@".
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
    # Long, with digits and both cases: neither a word nor a path.
    re.compile(r"(?<![\w/.-])(?=[\w+-]*\d)(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])[\w+-]{24,}={0,2}(?![\w/.])"),
    re.compile(r"(?<![\w/.-])(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])"
               r"(?=[\w/-]*\+)[\w+/-]{30,}={0,2}(?![\w.])"),
)  # fmt: skip

# Strings of fragments that are not masked: protocols, addresses, names in JupyterHub's interfaces.
_HARMLESS_STRING = re.compile(
    r"https?|tcp|localhost|127\.0\.0\.1|0\.0\.0\.0|::1|utf-8|__main__|bash|python3|sudo|/hub|/lab"
    r"|/tree|/user|PATH|HOME|LANG|SHELL|PYTHONPATH|lab|notebook|jupyterhub(?:-singleuser)?|name|url"
    r"|command|services|users|groups|roles|scopes|api_token|environment|oauth_client_id"
    r"|DEBUG|INFO|WARNING|ERROR|..?|"
)
_CLASS = re.compile(r"([a-z]\w*)(?:\.[a-z_]\w*)*\.[A-Z][A-Za-z]+")
_STRING = re.compile(r"""([a-zA-Z]*)('{3}|"{3}|'|")(.*)\2""", re.S)


class Redactor:
    """Removes secrets from text.

    Args:
        secrets: values that are secret wherever they appear.
        base: the base directory; paths below it are harmless.
    """

    def __init__(self, secrets: Iterable[str] = (), base: Path | None = None) -> None:
        self._secrets: set[str] = set()
        self._path_below = re.compile(rf"{re.escape(str(base))}/[\w./-]*") if base else None
        groups = ("jupyterhub.authenticators", "jupyterhub.spawners", "jupyterhub.proxies")
        self._plugins = {each.name for group in groups for each in entry_points(group=group)}
        for secret in secrets:
            self.learn(secret)

    def learn(self, value: str) -> None:
        """Mask a value wherever it appears from now on, also in common encodings."""
        value = value.strip()
        if len(value) < SHORTEST or value == REDACTED:
            return
        encoded = value.encode(errors="surrogateescape")
        self._secrets |= {value, quote(value, safe=""), encoded.hex(), json.dumps(value)[1:-1]}
        # Within longer data encoded as base64, a value begins at one of three offsets.
        for offset in range(3):
            text = base64.b64encode(b"\0" * offset + encoded).decode()
            # Without the characters that depend on the neighboring bytes.
            inner = text[(0, 2, 3)[offset] :].rstrip("=")
            inner = inner[: len(inner) - (1 if (len(encoded) + offset) % 3 else 0)]
            if len(inner) >= 2 * SHORTEST:
                self._secrets |= {inner, inner.replace("+", "-").replace("/", "_")}

    def learn_python(self, source: str) -> None:
        """Learn the strings of a fragment that follow the name of a secret."""
        variable = key = ""
        for kind, begin, end in _tokens(source):
            if kind == "NAME":
                variable, key = source[begin:end], ""
            elif kind == "STRING":
                _, value = _prefix_and_value(source[begin:end])
                if is_secret_name(variable) or is_secret_name(key):
                    self.learn("" if self._is_harmless(value) else value)
                key = value if re.fullmatch(r"[\w.-]+", value) else ""

    def text(self, text: str) -> str:
        """Return any text without its secrets."""
        for pattern in _NAMED:
            text = pattern.sub(_without_value, text)
        return self._without_shapes(text)

    def python(self, source: str) -> str:
        """Return a fragment without its secrets; every line stays where it is."""
        parts, done = [], 0
        for kind, begin, end in _tokens(source):
            text = source[begin:end]
            if kind == "COMMENT":
                text = self.text(text)
            elif kind == "STRING":
                prefix, value = _prefix_and_value(text)
                if not self._is_harmless(value):
                    lines = text.count("\n")
                    quotes = '"""' if lines else '"'
                    text = f"{prefix}{quotes}{REDACTED}" + "\n" * lines + quotes
            parts += [source[done:begin], text]
            done = end
        return self._without_shapes("".join([*parts, source[done:]]))

    def _without_shapes(self, text: str) -> str:
        for pattern in _SHAPES:
            text = pattern.sub(lambda found: REDACTED + "\n" * found[0].count("\n"), text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def _is_harmless(self, value: str) -> bool:
        if _HARMLESS_STRING.fullmatch(value) or value in self._plugins:
            return True
        if self._path_below and self._path_below.fullmatch(value):
            return True
        found = _CLASS.fullmatch(value)
        return found is not None and find_spec(found[1]) is not None


def _tokens(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, begin and end of names, strings and comments; the rest after an error is one."""
    starts = [0, *itertools.accumulate(len(line) + 1 for line in source.split("\n"))]
    done = depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = tokenize.tok_name[token.type]
            begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
            if kind == "ERRORTOKEN":
                raise SyntaxError
            # From Python 3.12 on, an f-string is several tokens.
            if kind == "FSTRING_START":
                done = done if depth else begin
                depth += 1
            elif kind == "FSTRING_END":
                depth -= 1
                if not depth:
                    yield "STRING", done, end
            elif not depth and kind in ("NAME", "STRING", "COMMENT"):
                yield kind, begin, end
            done = done if depth else min(end, len(source))
    except (tokenize.TokenError, SyntaxError, ValueError, SystemError):
        yield "STRING", done, len(source)


def _prefix_and_value(literal: str) -> tuple[str, str]:
    """Return "b" for bytes and what is between the quotes."""
    found = _STRING.fullmatch(literal)
    return ("b" if "b" in found[1].lower() else "", found[3]) if found else ("", literal)


def is_secret_name(name: str) -> bool:
    """Return whether what has this name is probably secret."""
    return _SECRET_NAME.search(name) is not None and not _HARMLESS_NAME.search(name)


def _without_value(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if _HARMLESS_NAME.search(name.strip("\"'[]")) or value.startswith(REDACTED):
        return match[0]
    return f"{name}{match['is']}{REDACTED}"
