"""Archives of records with DOIs: where a DOI leads, and what is to be had there.

An archive is recognized by the address that it has registered for the DOI, as its documentation has
it; its answers are those of its API, unauthenticated:

- InvenioRDM, also Zenodo: HOST/records/ID; docs, "Drafts and records" and "Record files".
- figshare: …/articles/…/ID/VERSION; docs.figshare.com, "Public article".
- Dataverse: HOST/…?persistentId=DOI; its guides, "Native API" and "Data Access API".

Their answers contain texts of strangers, and are judged like everything else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import Remark
from littlest_hub.stacks.launch.published import Published
from littlest_hub.stacks.launch.resolver.record import (
    Record,
    RecordFile,
    left_out,
    refuse_closed,
)
from littlest_hub.stacks.launch.resolver.web import MOST_REDIRECTS, StatusError, Web, host_of

_FOUND, _UNKNOWN = 1, (100, 200)
"""Codes of the API of doi.org (DOI Resolution Documentation, "Proxy Server REST API")."""
_INVENIO = re.compile(r"/records?/([A-Za-z0-9-]{1,40})(?:/.*)?")
# A title may be a number too; identifiers are longer than numbers of versions.
_FIGSHARE = re.compile(r"/articles/(?:[^/]+/){0,2}([0-9]{5,12})(?:/([0-9]{1,4}))?/?")
_DATAVERSE = re.compile(r"doi:10\.[0-9]{4,9}/[A-Za-z0-9._/:-]{1,200}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NO_ACCESS = (401, 403)
_GONE = (404, 410)
Archive = Callable[[Web, str, str, Mapping[str, str]], Record | None]
"""Returns the record at an address for a DOI; None: the address is none of this archive."""


def find(web: Web, doi: str, services: Mapping[str, str]) -> Record:
    """Return the record that a DOI names now.

    Args:
        web: how servers are reached.
        doi: a DOI in lower case.
        services: addresses of "doi" and "figshare".

    Raises:
        LittlestHubError: there is no such DOI, or nothing of it can be launched.
    """
    page = first = _registered(web, doi, services["doi"])
    for _ in range(MOST_REDIRECTS):
        for archive in (_of_dataverse, _of_figshare, _of_invenio):
            if found := archive(web, page, doi, services):
                return found
        following = web.next_page(page)
        if not following:
            break
        page = following
    raise LittlestHubError(
        f"{doi} leads to {host_of(first)}, where this hub knows no files of software or data",
        "Expected a DOI of Zenodo or another InvenioRDM, of figshare, or of a Dataverse",
    )


def _registered(web: Web, doi: str, service: str) -> str:
    """Return the address that is registered for a DOI."""
    try:
        answer = web.document(f"{service}/api/handles/{quote(doi)}?type=URL")
    except StatusError as error:
        if error.status not in _GONE:
            raise
        answer = {"responseCode": _UNKNOWN[0]}
    with _of_host(service):
        code = answer["responseCode"]
        if code in _UNKNOWN:
            raise LittlestHubError(
                f"there is no DOI {doi}", f"Look whether https://doi.org/{doi} leads anywhere"
            )
        values = [each for each in answer["values"] if each["type"] == "URL"]
        if code != _FOUND or not values:
            raise ValueError(code)
        url = str(values[0]["data"]["value"])
    # Many were registered before archives had https; nothing is asked for without it.
    if url.startswith("http://"):
        url = f"https://{url.removeprefix('http://')}"
    return web.permitted(url)


def _of_invenio(web: Web, page: str, doi: str, _: Mapping[str, str]) -> Record | None:
    parts = urlsplit(page)
    named = _INVENIO.fullmatch(parts.path)
    if not named:
        return None
    api = f"https://{parts.netloc}/api/records"
    found = _asked(web, f"{api}/{named[1]}", doi)
    with _of_host(page):
        name = str(found["id"])
        if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", name):
            raise ValueError(name)
        # Zenodo lists them in the record, as it did before it became an InvenioRDM.
        listed, link = found.get("files"), "self"
        if _is_closed(found):
            listed = []
        elif not isinstance(listed, list):
            answer = _asked(web, f"{api}/{name}/files", doi)
            listed, link = answer.get("entries") or [], "content"
        files = tuple(
            RecordFile(
                path=_text(each["key"]),
                size_bytes=_size(each["size"]),
                checksum=_text(each["checksum"]),
                url=urljoin(page, _text(each["links"][link])),
            )
            for each in listed
        )
        about = _about_invenio(found, page)
        date = _date(found["metadata"].get("publication_date"))
    refuse_closed(host_of(page), doi, files)
    return Record(about, parts.netloc, name, date, files)


def _is_closed(found: dict[str, Any]) -> bool:
    """Return whether files are for some people only: as Zenodo says it, or InvenioRDM."""
    access = found.get("access") or {}
    said = [found["metadata"].get("access_right", "open") == "open"]
    said += [access.get(name, "public") == "public" for name in ("files", "record")]
    return not all(said)


def _about_invenio(found: dict[str, Any], page: str) -> Published:
    metadata = found["metadata"]
    kind = metadata.get("resource_type") or {}
    title = kind.get("title") or kind.get("id") or ""
    if isinstance(title, dict):
        title = title.get("en") or kind.get("id") or ""
    pids = found.get("pids") or {}
    return Published(
        title=_text(metadata["title"]),
        version=_text(metadata.get("version") or ""),
        doi=_text(found.get("doi") or (pids.get("doi") or {}).get("identifier") or ""),
        kind=_text(title),
        page=page,
    )


def _of_figshare(web: Web, page: str, doi: str, services: Mapping[str, str]) -> Record | None:
    named = _FIGSHARE.fullmatch(urlsplit(page).path)
    if not named:
        return None
    version = f"/versions/{int(named[2])}" if named[2] else ""
    try:
        found = _asked(web, f"{services['figshare']}/v2/articles/{named[1]}{version}", doi)
    except StatusError as error:
        if error.status in _GONE:
            return None
        raise
    with _of_host(services["figshare"]):
        actual = _text(found["doi"]).lower()
        # Addresses of journals look like those of figshare.
        if not re.fullmatch(rf"{re.escape(doi)}(?:\.v[0-9]+)?", actual):
            return None
        listed = found["files"] if not found.get("is_embargoed") else []
        elsewhere = [each for each in listed if each.get("is_link_only")]
        files = tuple(
            RecordFile(
                path=_text(each["name"]),
                size_bytes=_size(each["size"]),
                checksum=f"md5:{_text(each.get('computed_md5') or each.get('supplied_md5'))}",
                url=_text(each["download_url"]),
            )
            for each in listed
            if each not in elsewhere
        )
        about = Published(
            title=_text(found["title"]),
            version=str(int(found["version"])),
            doi=actual,
            kind=_text(found.get("defined_type_name") or ""),
            page=page,
        )
        remarks = tuple(
            left_out(_text(each["name"]), "it is a link to a place outside of the record")
            for each in elsewhere
        )
        name, date = f"{int(named[1])}/{about.version}", _date(found.get("published_date"))
    refuse_closed(host_of(page), doi, files)
    return Record(about, urlsplit(services["figshare"]).netloc, name, date, files, remarks)


def _of_dataverse(web: Web, page: str, doi: str, _: Mapping[str, str]) -> Record | None:
    parts = urlsplit(page)
    named = parse_qs(parts.query).get("persistentId", [""])[0]
    if not _DATAVERSE.fullmatch(named):
        return None
    if parts.path.endswith("/file.xhtml"):
        raise LittlestHubError(
            f"{doi} is the DOI of a single file at {host_of(page)}; expected that of its dataset"
        )
    site = f"https://{parts.netloc}"
    query = f"versions/:latest-published?persistentId={quote(named, safe=':/')}"
    answer = _asked(web, f"{site}/api/datasets/:persistentId/{query}", doi)
    with _of_host(page):
        found = answer["data"]
        version = f"{int(found['versionNumber'])}.{int(found['versionMinorNumber'])}"
        fields = found["metadataBlocks"]["citation"]["fields"]
        title = next(each["value"] for each in fields if each["typeName"] == "title")
        about = Published(_text(title), version, doi, "Dataset", page)
        files, remarks = _files_of_dataverse(found["files"], site)
        name, date = f"{named} {version}", _date(found.get("releaseTime"))
    refuse_closed(host_of(page), doi, files)
    return Record(about, parts.netloc, name, date, files, remarks)


def _files_of_dataverse(
    listed: list[dict[str, Any]], site: str
) -> tuple[tuple[RecordFile, ...], tuple[Remark, ...]]:
    files, remarks = [], []
    for each in listed:
        file = each["dataFile"]
        # A table that Dataverse has converted: the checksum is that of the file as it was uploaded.
        is_table = "originalFileFormat" in file
        label = file.get("originalFileName") if is_table else None
        path = "/".join(filter(None, (each.get("directoryLabel"), label or each["label"])))
        size = file.get("originalFileSize") if is_table else file["filesize"]
        if each.get("restricted") or file.get("restricted"):
            remarks.append(left_out(path, "it is restricted"))
            continue
        if size is None:
            remarks.append(left_out(path, "its archive does not say how large it was"))
            continue
        checksum = file.get("checksum") or {"type": "MD5", "value": file.get("md5")}
        algorithm = _text(checksum["type"]).lower().replace("-", "")
        files.append(
            RecordFile(
                path=_text(path),
                size_bytes=_size(size),
                checksum=f"{algorithm}:{_text(checksum['value']).lower()}",
                url=f"{site}/api/access/datafile/{int(file['id'])}"
                + ("?format=original" if is_table else ""),
            )
        )
    return tuple(files), tuple(remarks)


def _asked(web: Web, url: str, doi: str) -> dict[str, Any]:
    """Return the answer of an archive about a record."""
    try:
        found = web.document(url)
    except StatusError as error:
        if error.status in _NO_ACCESS:
            refuse_closed(host_of(url), doi, ())
        if error.status in _GONE:
            error = StatusError(url, error.status)
            error.message = f"{host_of(url)} has no record for {doi} (any more)"
            error.hint = f"Look at https://doi.org/{doi}"
        raise error from None
    if not isinstance(found, dict):
        raise LittlestHubError(f"{host_of(url)} answers with something else than a record")
    return found


@contextlib.contextmanager
def _of_host(url: str) -> Iterator[None]:
    """Raise what does not fit in an answer as a sentence."""
    try:
        yield
    except LittlestHubError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, OverflowError) as error:
        raise LittlestHubError(
            f"{host_of(url)} answers something else than its documentation says:"
            f" {type(error).__name__} {str(error)[:100]!r}"
        ) from None


def _text(value: object) -> str:
    """Return a text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {str(value)[:40]!r}")
    return value


def _size(value: object) -> int:
    """Return a number of bytes; InvenioRDM's documentation shows 89364.0.

    Raises:
        TypeError, ValueError, OverflowError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or int(value) != value:
        raise TypeError(f"expected a number of bytes, found {str(value)[:40]!r}")
    return int(value)


def _date(value: object) -> str:
    """Return the day of a date; "" for one that is none, such as "2019-07"."""
    found = _DATE.match(value) if isinstance(value, str) else None
    return found[0] if found else ""
