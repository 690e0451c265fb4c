"""A repository as people name it: an address, a DOI, or a short form of Binder's links.

The short forms are those of BinderHub (its documentation, "Repository providers"). An address
that is returned is safe as an argument of git after "--", and has one spelling, so that it can be
compared. Whether the host's addresses may be connected to is decided in `address`.

A DOI, a name of something published, is the repository https://doi.org/10.…: a record of an
archive, whose files are downloaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Never
from urllib.parse import quote, unquote

from littlest_hub.errors import LittlestHubError

LONGEST_ADDRESS, LONGEST_REF, LONGEST_PATH = 500, 200, 500
GITHUB, GITLAB, GIST = "github.com", "gitlab.com", "gist.github.com"
_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?/(.+)")
_PORTS = {"https": "443", "http": "80"}
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
# Names that are not in the public DNS: RFC 6761 and RFC 6762 with its appendix G, RFC 7686,
# RFC 8375, RFC 9476.
_PRIVATE = re.compile(
    r"(?:.*\.)?(?:localhost|local|localdomain|internal|intranet|private|corp|home|lan|test|invalid"
    r"|onion|alt|home\.arpa)"
)
# inet_aton(3), which getaddrinfo(3) uses, takes 127.1, 0x7f.1 and 2130706433 for addresses. No
# top-level domain consists of digits.
_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")
_SEGMENT = re.compile(r"[A-Za-z0-9._~+-]+(?: +[A-Za-z0-9._~+-]+)*")
# A subset of git-check-ref-format(1), with all that people need. "-" would begin an option.
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+#=@-]*")
_NO_REF = re.compile(r"\.\.|//|/\.|\./|[./]$|\.lock(?:/|$)")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SSH = re.compile(r"(?:ssh://|git\+ssh://|[\w.-]+@[\w.-]+:).*")
_DOI = re.compile(
    r"(?:https?://(?:(?:dx|www)\.)?doi\.org/|https?://(?:www\.)?zenodo\.org/doi/|doi:\s*)?(10\..*)",
    re.IGNORECASE,
)
# Of the characters that a DOI may have, those that the archives use which `providers` knows.
_NAME = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]{1,9})*(?:/[a-z0-9._()-]*[a-z0-9_()-]){1,5}")
_ZENODO = re.compile(r"https?://(?:www\.)?zenodo\.org/records?/([0-9]{1,12})(?:[/?#].*)?")
_ARCHIVES = ("zenodo", "figshare", "dataverse")
_OTHER_ARCHIVES = {"hydroshare": "HydroShare", "ckan": "CKAN"}
_SHORT = {
    "gh": "gh/ORGANIZATION/REPOSITORY/REF",
    "gl": "gl/GROUP%2FREPOSITORY/REF",
    "gist": "gist/USER/ID",
    "git": "git/ADDRESS/REF, with the address as https%3A%2F%2F…",
}
_EXPECTED = (
    "expected the address of a git repository, such as https://github.com/ORG/REPOSITORY, or a DOI"
)
_RESOLVER = "https://doi.org/"
_SUCH_AS = "expected a DOI such as 10.5281/zenodo.3242074"
_LONGEST_WEB_ADDRESS = 4000


@dataclass(frozen=True)
class Policy:
    """The repositories that people may launch, as the stack's fragment says.

    A pattern is compared with HOST/PATH, regardless of case; "*" in it is any text.
    """

    allowed: tuple[str, ...] = ()
    """Patterns of which one has to match; none: every repository is allowed."""
    banned: tuple[str, ...] = ()
    """Patterns of which none may match."""
    hosts: tuple[str, ...] = ()
    """Further hosts, such as a local GitLab: a private name, an IPv4 address, or HOST:PORT."""
    https_only: bool = True

    def __post_init__(self) -> None:
        for name in ("allowed", "banned", "hosts"):
            found = getattr(self, name)
            # A text would be taken for many patterns of one letter, and ban nothing.
            if isinstance(found, str) or not all(isinstance(each, str) for each in found):
                raise ValueError(f"{name}: expected a list of texts, found {found!r}")

    def permits(self, place: str) -> bool:
        """Return whether a repository may be launched.

        Args:
            place: its HOST/PATH, without ".git" at the end.
        """
        return not self.bans(place) and (not self.allowed or _matches(place, self.allowed))

    def bans(self, place: str) -> bool:
        """Return whether nothing may come from a HOST/PATH."""
        return _matches(place, self.banned)


@dataclass(frozen=True)
class Repository:
    """A repository that may be launched."""

    url: str
    """The address, without credentials."""
    ref: str = ""
    """A branch, a tag or a commit; "": the branch that the repository itself chooses."""

    @property
    def place(self) -> str:
        """HOST/PATH, as patterns of `Policy` have it."""
        return unquote(self.url.partition("://")[2].removesuffix(".git"))

    @property
    def doi(self) -> str:
        """The DOI that it is named by; "": it is a git repository."""
        return self.url.removeprefix(_RESOLVER) if self.url.startswith(_RESOLVER) else ""

    @property
    def name(self) -> str:
        """The last part of its path, as `git clone` names a directory."""
        return self.place.rpartition("/")[2]


def parse(text: str, policy: Policy) -> Repository:
    """Return the repository that somebody has named.

    Raises:
        LittlestHubError: it is no repository, its kind is not supported, or the policy does not
            permit it.
    """
    text = text.strip()
    if len(text) > LONGEST_ADDRESS:
        raise LittlestHubError(f"{len(text)} characters; expected at most {LONGEST_ADDRESS}")
    kind, _, rest = text.rstrip("/").partition("/")
    if rest and kind in _OTHER_ARCHIVES:
        raise LittlestHubError(
            f"{_shown(text)}: records of {_OTHER_ARCHIVES[kind]} are not supported; {_SUCH_AS}"
        )
    if rest and kind in _ARCHIVES:
        repository = Repository(_address_of_doi(_doi(unquote(rest)), text))
    else:
        url, ref = _expanded(kind, rest) if rest and kind in _SHORT else (text, "")
        repository = Repository(_address(url, text, policy), ref_of(ref))
    if not policy.permits(repository.place):
        raise LittlestHubError(f"{repository.url}: this hub does not launch this repository")
    return repository


def web_address(url: str, policy: Policy) -> str:
    """Return an address from which files of a record come, if a program may connect to it.

    Raises:
        LittlestHubError: it may not, or it is none.
    """
    parts = _ADDRESS.fullmatch(url)
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not parts or not is_plain or len(url) > _LONGEST_WEB_ADDRESS:
        raise LittlestHubError(f"{_shown(url)} is no address of a file; expected https://HOST/PATH")
    if parts[1] != "https":
        raise LittlestHubError(f"{_shown(url)}: expected https://, found http://")
    host, port = parts[2].lower(), parts[3] or _PORTS["https"]
    authority = host if port == _PORTS["https"] else f"{host}:{port}"
    if authority not in (each.lower() for each in policy.hosts):
        _check_host(host, authority)
    if policy.bans(f"{authority}/{unquote(parts[4].partition('?')[0])}"):
        raise LittlestHubError(f"{_shown(url)}: this hub launches nothing from there")
    return f"https://{authority}/{parts[4]}"


def ref_of(text: str) -> str:
    """Return a branch, tag or commit that is safe as an argument of git; "" for "HEAD".

    Raises:
        LittlestHubError: it is none.
    """
    text = text.strip()
    if text in ("", "HEAD"):
        return ""
    if len(text) > LONGEST_REF or not _REF.fullmatch(text) or _NO_REF.search(text):
        raise LittlestHubError(
            f"{_shown(text)} is no branch, tag or commit; expected at most {LONGEST_REF} letters,"
            " digits and . _ / - + # = @"
        )
    return text


def is_commit(ref: str) -> bool:
    """Return whether a ref is the full name of a commit: a SHA-1 or SHA-256."""
    return bool(_COMMIT.fullmatch(ref))


def path_of(text: str) -> str:
    """Return the path of a file or directory of a repository, without slashes at its ends.

    Raises:
        LittlestHubError: it leads elsewhere, or is no path.
    """
    path = text.strip().strip("/")
    if path and (
        len(path) > LONGEST_PATH
        or not path.isprintable()
        or "\\" in path
        or not {"", ".", ".."}.isdisjoint(path.split("/"))
    ):
        raise LittlestHubError(
            f"{_shown(text)} is no path in the repository; expected such as week1/start.ipynb"
        )
    return path


def _matches(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place.lower(), each.lower()) for each in patterns)


def _address(url: str, text: str, policy: Policy) -> str:
    """Return the one spelling of the address of a repository, or of a DOI.

    Args:
        url: the address.
        text: what somebody has typed, for messages.
        policy: for hosts.

    Raises:
        LittlestHubError: it is neither, or its host may not be connected to.
    """
    if doi := _doi(url):
        return _address_of_doi(doi, text)
    found = _canonical(url, policy)
    if found.startswith(_RESOLVER):
        # Another spelling of a DOI: with a port, or with percent signs.
        return _address_of_doi(found.removeprefix(_RESOLVER), text)
    return found


def _doi(text: str) -> str:
    """Return the DOI in what somebody has typed; "": there is none."""
    if found := _ZENODO.fullmatch(text):
        return f"10.5281/zenodo.{found[1]}"
    found = _DOI.fullmatch(text)
    return found[1] if found and "/" in found[1] else ""


def _address_of_doi(doi: str, text: str) -> str:
    """Return the address of a DOI in its one spelling: upper and lower case are the same.

    Args:
        doi: the DOI, perhaps percent-encoded.
        text: what somebody has typed, for messages.

    Raises:
        LittlestHubError: it is none, or none of an archive that can be launched.
    """
    found = unquote(doi).strip().rstrip("/").lower()
    if not _NAME.fullmatch(found):
        raise LittlestHubError(f"{_shown(text)}: {_SUCH_AS}")
    return f"{_RESOLVER}{found}"


def _expanded(kind: str, rest: str) -> tuple[str, str]:
    """Return address and ref of a short form; its parts are percent-encoded once."""
    parts = [unquote(each) for each in rest.split("/", 2 if kind in ("gh", "gist") else 1)]
    has_both = len(parts) > 1 if kind in ("gh", "gist") else kind == "git" or "/" in parts[0]
    if not has_both or not all(parts):
        raise LittlestHubError(f"{_shown(f'{kind}/{rest}')}: expected {_SHORT[kind]}")
    if kind == "git":
        return parts[0], "".join(parts[1:])
    if kind == "gl":
        return f"https://{GITLAB}/{quote(parts[0])}", "".join(parts[1:])
    user, name, ref = (*parts, "")[:3]
    host = GITHUB
    if kind == "gist":
        # BinderHub takes these for the latest version, whatever the branch is called.
        host, ref = GIST, "" if ref in ("main", "master") else ref
    # Quoted whole: a decoded "/" would be another repository than the one of the link.
    return f"https://{host}/{quote(user, safe='')}/{quote(name, safe='')}", ref


def _canonical(url: str, policy: Policy) -> str:
    if "@" in unquote(url) and not _SSH.fullmatch(url):
        raise LittlestHubError(
            f"{_shown(url)} contains a name or password; expected an address without them: links"
            " and logs are seen by others"
        )
    parts = _ADDRESS.fullmatch(url)
    if not parts:
        _refuse_scheme(url)
    scheme, host, port, path = parts[1], parts[2].lower(), parts[3], parts[4]
    if scheme == "http" and policy.https_only:
        raise LittlestHubError(f"{_shown(url)}: expected https://, found http://")
    port = str(int(port)) if port else _PORTS[scheme]
    authority = host if port == _PORTS[scheme] else f"{host}:{port}"
    if authority not in (each.lower() for each in policy.hosts):
        _check_host(host, authority)
    segments = [_segment(each, url) for each in path.removesuffix("/").split("/")]
    if host in (GITHUB, GITLAB, GIST):
        segments[-1] = segments[-1].removesuffix(".git")
        _check_depth(host, segments)
    if not segments[-1].removesuffix(".git"):
        raise LittlestHubError(f"{_shown(url)} names no repository; {_EXPECTED}")
    return f"{scheme}://{authority}/{'/'.join(quote(each, safe='+') for each in segments)}"


def _refuse_scheme(url: str) -> Never:
    if _SSH.fullmatch(url):
        raise LittlestHubError(
            f"{_shown(url)} is an address for ssh, which needs a key; {_EXPECTED}"
        )
    if url.startswith(("https://", "http://")):
        raise LittlestHubError(
            f"{_shown(url)}: expected https://HOST/PATH, with a host of ASCII letters (xn--… for"
            " others) and no IPv6 address"
        )
    raise LittlestHubError(f"{_shown(url)}: {_EXPECTED}")


def _check_host(host: str, authority: str) -> None:
    if _NUMBER.fullmatch(host):
        raise LittlestHubError(f"{host}: expected the name of a host, found an address")
    if _PRIVATE.fullmatch(host) or not _HOST.fullmatch(host):
        raise LittlestHubError(
            f"{host} is no name in the public DNS; expected such as github.com, or a host that the"
            " administrator has listed"
        )
    if authority != host:
        raise LittlestHubError(
            f"{authority}: expected no port, or a host and port that the administrator has listed"
        )


def _check_depth(host: str, segments: list[str]) -> None:
    """Refuse the addresses of pages, which git does not understand."""
    is_right, expected = {
        GITHUB: (len(segments) == 2, "ORGANIZATION/REPOSITORY"),
        GIST: (len(segments) <= 2, "USER/ID"),
        GITLAB: (len(segments) > 1 and "-" not in segments, "GROUP/REPOSITORY"),
    }[host]
    if not is_right:
        raise LittlestHubError(
            f"https://{host}/{'/'.join(segments)[:80]}: expected https://{host}/{expected};"
            " branch and file are fields of their own"
        )


def _segment(text: str, url: str) -> str:
    """Return a part of a path, decoded; what is encoded twice, or hides a slash, is refused."""
    segment = unquote(text)
    if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
        raise LittlestHubError(
            f"{_shown(url)}: found {segment[:40]!r} in the path, expected letters, digits and"
            " . _ ~ + -"
        )
    return segment


def _shown(text: str) -> str:
    """Return a text as messages show it: short, escaped, and without what may be a password."""
    visible = f"…@{text.rpartition('@')[2]}" if "@" in text else text
    if "@" in unquote(text) and "@" not in text:
        visible = "…"
    return repr(visible[:80])
