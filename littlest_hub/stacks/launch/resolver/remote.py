"""A repository on a server, over git's smart HTTP (gitprotocol-http, gitprotocol-v2).

This is what git-remote-https(1) does, in a few requests and with our limits: git itself has no
option for the bytes that it accepts, follows redirects to anywhere, and before 2.37 cannot be told
an address to connect to (Debian 11, Ubuntu 22.04).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.repository import Policy, Repository
from littlest_hub.stacks.launch.resolver.connection import Answer, Connections, Credentials
from littlest_hub.stacks.launch.resolver.limits import Limits, counted
from littlest_hub.stacks.launch.resolver.pkt_line import (
    CUT_OFF,
    Mark,
    Packet,
    ProtocolError,
    demultiplexed,
    line,
    packets,
    text_of,
)

MOST_REDIRECTS = 5
_SERVICE = "git-upload-pack"
_SUFFIX = f"/info/refs?service={_SERVICE}"
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PEELED = "^{}"
_HISTORY = "filter tree:0"
"""The filter for commits without their files (git-rev-list(1), --filter)."""
_FLUSH, _DELIMITER = Mark.FLUSH.value, Mark.DELIMITER.value


@dataclass(frozen=True)
class Ref:
    """A branch or tag, and the commit that it names."""

    name: str
    commit: str
    target: str = ""
    """The branch of "HEAD", which the repository chooses, if the server names it."""


class NoAccessError(LittlestHubError):
    """A repository that is private, or that does not exist: servers do not say which."""


class Remote:
    """A repository on a server.

    Args:
        wanted: the repository.
        policy: which ones may be launched; a redirect may not leave it.
        connections: how servers are reached.
        limits: what they may send.
        credentials: of the person; None: without.

    Raises:
        LittlestHubError: it cannot be reached, or may not be launched.
    """

    def __init__(
        self,
        wanted: Repository,
        policy: Policy,
        connections: Connections,
        limits: Limits,
        credentials: Credentials | None = None,
    ) -> None:
        self._policy, self._connections, self._limits = policy, connections, limits
        self._credentials = credentials
        self._origin = urlsplit(wanted.url).netloc
        self.repository = wanted
        """Its present address: servers redirect from a repository's old name."""
        self._base = wanted.url
        self._capabilities: dict[str, str] = {}
        self._advertised: list[Ref] = []
        self._is_v2 = False
        self._greet()

    @property
    def is_sha256(self) -> bool:
        """Whether names of objects are SHA-256."""
        return self._capabilities.get("object-format", "sha1") == "sha256"

    @property
    def has_history(self) -> bool:
        """Whether the server sends commits without their files."""
        return self._is_v2 and "filter" in self._capabilities.get("fetch", "").split()

    def refs(self, *prefixes: str) -> Iterator[Ref]:
        """Yield the refs that begin with one of these; the server may name others too.

        Raises:
            LittlestHubError: the server fails, or there are too many.
        """
        if not self._is_v2:
            yield from self._advertised
            return
        wanted = [line(f"ref-prefix {each}") for each in prefixes]
        body = self._command("ls-refs", [line("peel"), line("symrefs"), *wanted])
        for packet in self._post(body, self._limits.refs_bytes, "the list of branches and tags"):
            if packet is Mark.FLUSH:
                return
            words = text_of(packet).split(" ")
            if len(words) < 2:
                raise ProtocolError
            more = dict(each.partition(":")[::2] for each in words[2:])
            if words[0] != "unborn":
                commit = more.get("peeled", words[0])
                yield _ref(words[1], commit, more.get("symref-target", ""))
        raise ProtocolError(CUT_OFF)

    def pack(self, commit: str) -> Iterator[bytes]:
        """Yield the pack of a commit and its files.

        Raises:
            LittlestHubError: the server fails, does not have it, or sends too much.
        """
        limit_bytes, what = self._limits.pack_bytes, "the repository, compressed,"
        if self._is_v2:
            wants = [line(f"want {commit}"), line("deepen 1")]
            return self._fetch(wants, limit_bytes, what)
        format_ = " object-format=sha256" if self.is_sha256 else ""
        wants = [
            line(f"want {commit} side-band-64k ofs-delta no-progress{format_}"),
            line("deepen 1"),
            _FLUSH,
            line("done"),
        ]
        return _pack_after("NAK", self._post(b"".join(wants), limit_bytes, what))

    def history(self, commits: Iterable[str]) -> Iterator[bytes]:
        """Yield the pack of commits and of all before them, without files, if `has_history`."""
        wants = [line(f"want {each}") for each in commits]
        return self._fetch([*wants, line(_HISTORY)], self._limits.history_bytes, "its history")

    def _fetch(self, arguments: list[bytes], limit_bytes: int, what: str) -> Iterator[bytes]:
        options = [line("ofs-delta"), line("no-progress"), *arguments, line("done")]
        answer = self._post(self._command("fetch", options), limit_bytes, what)
        # Before it, "shallow-info" says where the history has been cut.
        return _pack_after("packfile", answer)

    def _command(self, name: str, arguments: list[bytes]) -> bytes:
        head = [line(f"command={name}")]
        if self.is_sha256:
            head.append(line("object-format=sha256"))
        return b"".join([*head, _DELIMITER, *arguments, _FLUSH])

    def _greet(self) -> None:
        """Follow redirects to the repository, and read what its server can do."""
        for _ in range(MOST_REDIRECTS + 1):
            url = f"{self._base}{_SUFFIX}"
            with self._connections.request(url, self._headers()) as answer:
                location = answer.location(url)
                if not location:
                    self._check(answer, "advertisement")
                    what = "the list of branches and tags"
                    parts = counted(answer.parts(), self._limits.refs_bytes, what)
                    return self._read_greeting(packets(parts))
            self._follow(location)
        raise LittlestHubError(
            f"{self.repository.url} redirects more than {MOST_REDIRECTS} times; expected its"
            " present address"
        )

    def _follow(self, location: str) -> None:
        """Follow a redirect, if it leads to an address that people could have named themselves."""
        place = urlsplit(location)
        base = location.removesuffix(_SUFFIX)
        if base == location:
            raise NoAccessError(
                f"{self.repository.url}: the server redirects to a page of {place.hostname!r}"
                " instead; the repository is private, or does not exist"
            )
        try:
            found = repository.parse(base, self._policy)
        except LittlestHubError as error:
            raise LittlestHubError(
                f"{self.repository.url} redirects to a place that is not permitted: {error.message}"
            ) from None
        if found.place != self.repository.place:
            self.repository = Repository(found.url, self.repository.ref)
        # GitLab redirects to the name with .git, which `parse` takes away for gitlab.com.
        has_suffix = base.endswith(".git") and not found.url.endswith(".git")
        self._base = f"{found.url}.git" if has_suffix else found.url

    def _read_greeting(self, answer: Iterator[Packet]) -> None:
        first = next(answer, None)
        if first is None:
            raise ProtocolError
        if text_of(first) == f"# service={_SERVICE}":
            if next(answer, None) is not Mark.FLUSH:
                raise ProtocolError
            first = next(answer, Mark.FLUSH)
        text = text_of(first)
        if text == "version 2":
            self._is_v2 = True
            for packet in answer:
                name, _, value = text_of(packet).partition("=")
                self._capabilities[name] = value
            return
        rest = answer if text == "version 1" else chain([first], answer)
        self._read_advertised(rest)

    def _read_advertised(self, answer: Iterable[Packet]) -> None:
        """Read the refs and capabilities with which servers without version 2 begin."""
        found: dict[str, str] = {}
        targets: dict[str, str] = {}
        for number, packet in enumerate(answer):
            text, _, capabilities = text_of(packet).partition("\0")
            if packet is Mark.FLUSH:
                break
            if not number:
                pairs = [each.partition("=")[::2] for each in capabilities.split()]
                self._capabilities = dict(pairs)
                targets = dict(value.partition(":")[::2] for key, value in pairs if key == "symref")
            commit, _, name = text.partition(" ")
            if name and not commit.startswith("shallow"):
                found[name] = commit
        else:
            raise ProtocolError(CUT_OFF)
        for name, commit in found.items():
            # "capabilities^{}" stands for a repository that is empty.
            if not name.endswith(_PEELED):
                peeled = found.get(name + _PEELED, commit)
                self._advertised.append(_ref(name, peeled, targets.get(name, "")))

    def _post(self, body: bytes, limit_bytes: int, what: str) -> Iterator[Packet]:
        headers = {
            **self._headers(),
            "Content-Type": f"application/x-{_SERVICE}-request",
            "Accept": f"application/x-{_SERVICE}-result",
        }
        url = f"{self._base}/{_SERVICE}"
        with self._connections.request(url, headers, body) as answer:
            self._check(answer, "result")
            yield from packets(counted(answer.parts(), limit_bytes, what))

    def _headers(self) -> Mapping[str, str]:
        headers = {"Git-Protocol": "version=2"}
        if self._credentials and self._is_at_origin:
            headers |= self._credentials.header
        return headers

    @property
    def _is_at_origin(self) -> bool:
        """Whether the server is the one for which the person has given name and password."""
        return urlsplit(self._base).netloc == self._origin

    def _check(self, answer: Answer, kind: str) -> None:
        url = self.repository.url
        if answer.status in (401, 403, 404, 410):
            why = "it is private"
            if self._credentials:
                why = (
                    "this name and token do not open it"
                    if self._is_at_origin
                    else "it is private, and the name and token are for another host"
                )
            raise NoAccessError(
                f"there is no repository at {url}, or {why} (status {answer.status})"
            )
        if answer.status != 200:
            raise LittlestHubError(
                f"the server of {url} answers with status {answer.status}", "Try again later"
            )
        if answer.kind != f"application/x-{_SERVICE}-{kind}":
            raise ProtocolError(f"{url} is a web page, and no repository that git can fetch")


def _pack_after(word: str, answer: Iterator[Packet]) -> Iterator[bytes]:
    """Return the pack that follows a line of an answer."""
    for packet in answer:
        if text_of(packet) == word:
            return demultiplexed(answer)
    raise ProtocolError("the server has sent no files")


def _ref(name: str, commit: str, target: str) -> Ref:
    if not _ID.fullmatch(commit):
        raise ProtocolError
    return Ref(name, commit, target)
