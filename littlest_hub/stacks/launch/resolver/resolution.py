"""A request resolved: repository, commit, files, and the environment that they ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.environment_files import Environment, environment
from littlest_hub.stacks.launch.repository import Repository
from littlest_hub.stacks.launch.resolver import lookup, tree
from littlest_hub.stacks.launch.resolver.connection import Connections
from littlest_hub.stacks.launch.resolver.limits import (
    Deadline,
    Limits,
    TooMuchError,
    in_megabytes,
)
from littlest_hub.stacks.launch.resolver.publication import Publication
from littlest_hub.stacks.launch.resolver.reference import Choice, choose
from littlest_hub.stacks.launch.resolver.remote import Remote
from littlest_hub.stacks.launch.resolver.request import Request
from littlest_hub.stacks.launch.resolver.settings import Settings
from littlest_hub.stacks.launch.resolver.sources import Source, Sources
from littlest_hub.stacks.launch.resolver.web import Web
from littlest_hub.system.git import Objects

Report = Callable[[str], None]
"""Tells people how far it is."""
_REPORT_EVERY_S = 0.5
_HEADER_BYTES = 12
"""The head of a pack: "PACK", its version, the number of its objects (gitformat-pack)."""


@dataclass(frozen=True)
class Resolved:
    """A repository at a commit."""

    repository: Repository
    """Its present address."""
    choice: Choice
    source: Source
    directory: Path
    environment: Environment


class Resolver:
    """The steps from a request to files.

    Args:
        settings: what the administrator permits.
        sources: where files stay.
        work: an empty directory for objects of git.
        names: socket of the program that looks up names; None: this process does.
        report: tells people how far it is.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        work: Path,
        names: Path | None,
        report: Report,
    ) -> None:
        self._settings, self._sources, self._work = settings, sources, work
        self._names, self._report = names, report
        self._limits = settings.limits
        self._networks = address.networks(settings.networks)

    def resolve(self, request: Request) -> Resolved:
        """Return the repository at its commit; its files are in the directory of sources.

        Raises:
            LittlestHubError: it cannot be had, or is not permitted.
        """
        deadline = Deadline(self._limits.seconds, self._limits.silence_s)
        self._report("looking for the repository")
        connections = Connections(self._addresses, self._settings.ca_file, deadline)
        if request.repository.doi:
            web = Web(connections, self._settings.policy)
            places = (self._sources, self._work)
            publication = Publication(web, self._settings, *places, deadline, self._report)
            source = publication.source(request.repository)
            return self._read(request, request.repository, Choice(source.commit), source)
        policy, credentials = self._settings.policy, request.credentials
        remote = Remote(request.repository, policy, connections, self._limits, credentials)
        choice = self._chosen(remote, request, deadline)
        # The server looks for its files by the address that was asked for, even if that has moved.
        url = request.repository.url
        known = self._sources.find(url, choice.commit, request.owner)
        source = known or self._fetched(remote, choice, request, deadline)
        return self._read(request, remote.repository, choice, source)

    def _read(
        self, request: Request, repository: Repository, choice: Choice, source: Source
    ) -> Resolved:
        """Return files with the environment that they ask for."""
        directory = self._sources.place(request.repository.url, choice.commit, request.owner)
        self._report("reading the environment's files")
        read = _Reader(directory / "files")
        channels = Channels(self._settings.channels)
        found = environment(source.files, read, self._settings.pythons, channels)
        return Resolved(repository, choice, source, directory, found)

    def _addresses(self, host: str) -> tuple[str, ...]:
        found, own = lookup.ask(host, self._names)
        return address.permitted(host, found, self._networks, own)

    def _chosen(self, remote: Remote, request: Request, deadline: Deadline) -> Choice:
        def search(tips: Sequence[str], beginning: str) -> list[str] | None:
            known = self._sources.find(request.repository.url, beginning, request.owner)
            if known and known.is_reachable:
                return [known.commit]
            self._report("reading the history")
            objects = self._objects("history", remote, deadline)
            try:
                objects.receive(self._reported(remote.history(tips)), [], is_whole=False)
            except TooMuchError:
                return None
            return objects.commits(beginning)

        choice = choose(remote, request.repository.ref, search)
        if not choice.is_reachable and self._settings.policy.allowed:
            raise LittlestHubError(
                f"whether {choice.commit} is on a branch of {remote.repository.url} cannot be found"
                " out, and this hub launches chosen repositories only",
                "Name a branch or a tag",
            )
        return choice

    def _fetched(
        self, remote: Remote, choice: Choice, request: Request, deadline: Deadline
    ) -> Source:
        """Fetch the files of a commit, and return what they are."""
        commit = choice.commit
        objects = self._objects("files", remote, deadline)
        pack = _bounded(remote.pack(commit), self._limits)
        objects.receive(self._reported(pack), [commit], is_whole=True)
        date = objects.commit_date(commit)
        self._report("unpacking")
        with self._sources.new() as partial:
            written = tree.write(
                objects.entries(commit), objects.contents, partial / "files", self._limits
            )
            source = Source(
                url=request.repository.url,
                commit=commit,
                ref=choice.ref,
                date=date,
                files=tuple(written.files),
                size_bytes=written.size_bytes,
                is_reachable=choice.is_reachable,
                left_out=tuple(written.left_out),
                owner=request.owner,
            )
            self._sources.keep(partial, source)
        self._sources.make_room(self._limits.sources_bytes)
        return source

    def _objects(self, name: str, remote: Remote, deadline: Deadline) -> Objects:
        directory = self._work / name
        directory.mkdir()
        return Objects(directory, deadline.at, is_sha256=remote.is_sha256)

    def _reported(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield parts, and report from time to time how many bytes they were."""
        total_bytes, reported = 0, time.monotonic()
        for part in parts:
            total_bytes += len(part)
            if time.monotonic() - reported > _REPORT_EVERY_S:
                reported = time.monotonic()
                self._report(f"received {in_megabytes(total_bytes)}")
            yield part


class _Reader:
    """Reads the beginning of regular files below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, file: str, size_bytes: int) -> bytes:
        with open(self._directory / file, "rb") as opened:
            return opened.read(size_bytes)


def _bounded(parts: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """Yield a pack, if it does not announce too many objects."""
    beginning = b""
    while len(beginning) < _HEADER_BYTES:
        part = next(parts, b"")
        if not part:
            break
        beginning += part
    objects = int.from_bytes(beginning[8:_HEADER_BYTES], "big")
    if objects > limits.objects:
        raise TooMuchError(
            f"the repository has {objects} files and directories; this hub accepts {limits.objects}"
        )
    yield beginning
    yield from parts
