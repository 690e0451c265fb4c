"""The record of a DOI: found, its files fetched and compared with their checksums."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.published import Published
from littlest_hub.stacks.launch.repository import Repository
from littlest_hub.stacks.launch.resolver import providers, tree, unpacking
from littlest_hub.stacks.launch.resolver.limits import Deadline, TooMuchError, in_megabytes
from littlest_hub.stacks.launch.resolver.record import Record, RecordFile
from littlest_hub.stacks.launch.resolver.settings import Settings
from littlest_hub.stacks.launch.resolver.sources import Source, Sources
from littlest_hub.stacks.launch.resolver.tree import Tree
from littlest_hub.stacks.launch.resolver.web import Web, host_of
from littlest_hub.system.git import Entry

_REPORT_EVERY_S = 0.5
_FILE = 0o100644


class Publication:
    """The steps from a DOI to files.

    Args:
        web: how servers are reached.
        settings: what the administrator permits.
        sources: where files stay.
        work: an empty directory, for an archive file that is unpacked.
        deadline: when everything has to have ended.
        report: tells people how far it is.
    """

    def __init__(
        self,
        web: Web,
        settings: Settings,
        sources: Sources,
        work: Path,
        deadline: Deadline,
        report: Callable[[str], None],
    ) -> None:
        self._web, self._sources, self._work = web, sources, work
        self._limits, self._services = settings.limits, settings.services
        self._deadline, self._report = deadline, report

    def source(self, repository: Repository) -> Source:
        """Return what a DOI names; its files are in the directory of sources.

        Args:
            repository: the DOI; its ref is "", or the name of the state that is expected.

        Raises:
            LittlestHubError: it cannot be had, is not permitted, or has changed.
        """
        url, expected = repository.url, repository.ref
        if expected and (known := self._sources.find(url, expected)):
            return known
        record = providers.find(self._web, repository.doi, self._services)
        if expected and record.commit != expected:
            raise LittlestHubError(
                f"{repository.doi} has changed: it is {record.commit[:12]}… now, expected"
                f" {expected[:12]}…",
                "Launch it again without a version, and look at what there is now",
            )
        self._check_size(record)
        known = self._sources.find(url, record.commit)
        return known or self._fetched(url, record)

    def _check_size(self, record: Record) -> None:
        total_bytes = sum(each.size_bytes for each in record.files)
        if total_bytes > self._limits.pack_bytes:
            raise TooMuchError(
                f"the files have {in_megabytes(total_bytes)}; this hub fetches at most"
                f" {in_megabytes(self._limits.pack_bytes)}",
                "Launch a repository of git that downloads what it needs of them",
            )
        if len(record.files) > self._limits.files:
            raise TooMuchError(
                f"{len(record.files)} files; this hub fetches at most {self._limits.files}"
            )

    def _fetched(self, url: str, record: Record) -> Source:
        download = _Download(self._web, record.files, self._deadline, self._report)
        with self._sources.new() as partial:
            target = partial / "files"
            written, unpacked = self._written(download, record, target)
            if not written.files:
                raise LittlestHubError(f"{record.about.title!r} contains no files")
            source = Source(
                url=url,
                commit=record.commit,
                ref="",
                date=_seconds(record.date),
                files=tuple(written.files),
                size_bytes=written.size_bytes,
                is_reachable=True,
                left_out=(*record.left_out, *written.left_out),
                published=_with(record.about, unpacked),
            )
            self._sources.keep(partial, source)
        self._sources.make_room(self._limits.sources_bytes)
        return source

    def _written(self, download: _Download, record: Record, target: Path) -> tuple[Tree, str]:
        """Write the files, and return them, and the name of the archive that was unpacked."""
        if len(record.files) != 1 or not unpacking.is_archive(record.files[0].path):
            entries = download.entries()
            return tree.write(entries, download.contents, target, self._limits), ""
        (only,) = record.files
        file = self._work / "archive"
        with file.open("wb") as opened:
            opened.writelines(download.parts(only))
        self._report("unpacking")
        name = only.path.rpartition("/")[2]
        check_time = self._deadline.step_s
        unpacked = unpacking.opened(file, name, self._limits, check_time)
        written = tree.write(unpacked.entries(), unpacked.contents, target, self._limits)
        written.left_out += unpacked.left_out[: tree.MOST_REMARKS]
        return written, name


class _Download:
    """The files of a record, as `tree.write` takes them, each compared with its checksum."""

    def __init__(
        self,
        web: Web,
        files: tuple[RecordFile, ...],
        deadline: Deadline,
        report: Callable[[str], None],
    ) -> None:
        self._web, self._files = web, files
        self._deadline, self._report = deadline, report
        self._total_bytes, self._reported_s = 0, time.monotonic()

    def entries(self) -> Iterator[Entry]:
        for number, each in enumerate(self._files):
            # A name that is no text is left out by `tree`.
            path = each.path.encode(errors="surrogatepass")
            yield Entry(_FILE, str(number), each.size_bytes, path)

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        for entry in entries:
            yield entry, self.parts(self._files[int(entry.id)])

    def parts(self, file: RecordFile) -> Iterator[bytes]:
        """Yield a file as it comes.

        Raises:
            LittlestHubError: it cannot be had, or is not what the record says.
        """
        algorithm, expected = file.digest
        digest = hashlib.new(algorithm, usedforsecurity=False)
        size_bytes = 0
        with self._web.file(file.url) as answer:
            for part in answer.parts():
                self._deadline.step_s()
                digest.update(part)
                size_bytes += len(part)
                self._count(len(part))
                if size_bytes > file.size_bytes:
                    break
                yield part
        if size_bytes != file.size_bytes or digest.hexdigest() != expected:
            raise LittlestHubError(
                f"{file.path[:80]!r} of {host_of(file.url)} is not the file that the record names:"
                f" found {size_bytes} bytes with {algorithm} {digest.hexdigest()}, expected"
                f" {file.size_bytes} with {expected}",
                "Try again; if it stays so, tell its archive",
            )

    def _count(self, size_bytes: int) -> None:
        self._total_bytes += size_bytes
        if time.monotonic() - self._reported_s > _REPORT_EVERY_S:
            self._reported_s = time.monotonic()
            self._report(f"received {in_megabytes(self._total_bytes)}")


def _with(about: Published, unpacked: str) -> Published:
    return Published(**{**vars(about), "unpacked": unpacked})


def _seconds(date: str) -> int:
    """Return the beginning of a day, in seconds since 1970; 0: unknown."""
    try:
        return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0
