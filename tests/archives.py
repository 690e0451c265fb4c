"""Archives of records with DOIs, which answer as their APIs are documented.

As a program, `DIRECTORY ADDRESS`, they listen at port 443 under the names of doi.org and Zenodo.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.git_server import GitServer, Handler

HOSTS = ("doi.org", "zenodo.org")
Contents = Mapping[str, bytes | str]


class Archives:
    """All answers, by path.

    Args:
        site: the address of the archives, such as https://zenodo.org.
    """

    def __init__(self, site: str) -> None:
        self.site = site
        self.answers: dict[str, tuple[int, str]] = {}
        """A status, and the body in base64, or the address of a redirect."""
        self.asked: list[str] = []

    def answer(self, handler: Handler) -> None:
        """Answer a request."""
        self.asked.append(handler.path)
        status, text = self.answers.get(handler.path, (404, ""))
        if status in (301, 302):
            handler.redirect(text)
            return
        body = base64.b64decode(text)
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def put(self, path: str, content: Any, status: int = 200) -> None:
        """Answer a path with bytes, a redirect, or JSON."""
        if isinstance(content, str):
            self.answers[path] = (status, content)
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.answers[path] = (status, base64.b64encode(body).decode())

    def doi(self, doi: str, url: str) -> str:
        """Register an address for a DOI, and return the DOI's own."""
        values = [{"index": 1, "type": "URL", "data": {"format": "string", "value": url}}]
        answer = {"responseCode": 1, "handle": doi, "values": values}
        self.put(f"/api/handles/{doi}?type=URL", answer)
        return f"https://doi.org/{doi}"

    def zenodo(self, number: int, files: Contents, **metadata: Any) -> str:
        """Publish a record as Zenodo does, and return its DOI's address."""
        doi = f"10.5281/zenodo.{number}"

        def content_of(name: str) -> str:
            return f"/api/records/{number}/files/{quote(name)}/content"

        record: dict[str, Any] = {
            "id": number,
            "conceptrecid": "1",
            "doi": doi,
            "files": [
                {
                    "key": name,
                    **_about(content),
                    "links": {"self": f"{self.site}{content_of(name)}"},
                }
                for name, content in sorted(files.items())
            ],
            "metadata": {
                "title": "Waves",
                "version": "1.0",
                "publication_date": "2026-05-01",
                "access_right": "open",
                "resource_type": {"title": "Software", "type": "software"},
                **metadata,
            },
        }
        self.put(f"/api/records/{number}", record)
        for name, content in files.items():
            self.put(content_of(name), _bytes(content))
        return self.doi(doi, f"{self.site}/records/{number}")

    def invenio(self, name: str, doi: str, files: Contents, **more: Any) -> str:
        """Publish a record as an InvenioRDM does, and return its DOI's address."""
        record = {
            "id": name,
            "access": {"record": "public", "files": "public"},
            "files": {"enabled": True},
            "metadata": {
                "title": "Tides",
                "publication_date": "2026-06",
                "resource_type": {"id": "dataset", "title": {"en": "Dataset"}},
            },
            "pids": {"doi": {"identifier": doi, "provider": "datacite"}},
            **more,
        }
        self.put(f"/api/records/{name}", record)
        entries = []
        for key, content in files.items():
            about = _about(content)
            place = f"/api/records/{name}/files/{quote(key)}/content"
            links = {"self": place.removesuffix("/content"), "content": place}
            entries.append({"key": key, **about, "size": float(about["size"]), "links": links})
            self.put(place, _bytes(content))
        self.put(f"/api/records/{name}/files", {"enabled": True, "entries": entries})
        return self.doi(doi, f"{self.site}/records/{name}")

    def figshare(self, number: int, files: Contents, **more: Any) -> str:
        """Publish an article as figshare does, and return the address of its version's DOI."""
        doi = f"10.6084/m9.figshare.{number}.v1"
        listed = []
        for index, (name, content) in enumerate(files.items()):
            url = f"{self.site}/files/{number}{index}"
            md5 = _about(content)["checksum"].removeprefix("md5:")
            about = {"name": name, "size": len(_bytes(content)), "computed_md5": md5}
            listed.append({**about, "is_link_only": False, "download_url": url})
            # figshare keeps files at Amazon S3.
            self.put(f"/files/{number}{index}", f"{self.site}/bucket/{number}{index}?sig=x", 302)
            self.put(f"/bucket/{number}{index}?sig=x", _bytes(content))
        article = {
            **{"id": number, "version": 1, "doi": doi, "title": "Currents"},
            **{"published_date": "2026-07-01T10:00:00Z", "defined_type_name": "software"},
            **{"is_embargoed": False, "files": listed, **more},
        }
        self.put(f"/v2/articles/{number}/versions/1", article)
        self.put(f"/v2/articles/{number}", article)
        self.doi(doi.removesuffix(".v1"), f"{self.site}/articles/software/Currents/{number}")
        return self.doi(doi, f"{self.site}/articles/software/Currents/{number}/1")

    def dataverse(self, doi: str, listed: list[dict[str, Any]]) -> str:
        """Publish a dataset as a Dataverse does, and return its DOI's address."""
        named = f"doi:{doi.upper()}"
        fields = [{"typeName": "title", "multiple": False, "value": "Winds"}]
        version = {
            **{"versionNumber": 2, "versionMinorNumber": 1, "versionState": "RELEASED"},
            **{"releaseTime": "2026-08-01T10:00:00Z", "files": listed},
            "metadataBlocks": {"citation": {"fields": fields}},
        }
        place = f"/api/datasets/:persistentId/versions/:latest-published?persistentId={named}"
        self.put(place, {"status": "OK", "data": version})
        return self.doi(doi, f"{self.site}/citation?persistentId={named}")

    def dataverse_file(self, number: int, content: str, name: str, **more: Any) -> dict[str, Any]:
        """Return a file of a dataset, whose content is to be had."""
        self.put(f"/api/access/datafile/{number}", content.encode())
        md5 = _about(content)["checksum"].removeprefix("md5:")
        checksum = {"type": "MD5", "value": md5}
        file = {"id": number, "filename": name, "filesize": len(content), "checksum": checksum}
        return {"label": name, "restricted": False, "dataFile": file, **more}

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(self.answers))


def zipped(files: Mapping[str, bytes | str], **modes: int) -> bytes:
    """Return a zip archive; a mode is named by its file without what no keyword has."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = modes.get(name.rpartition("/")[2], 0o100644) << 16
            archive.writestr(info, content)
    return data.getvalue()


def tarred(*members: tuple[str, bytes | str | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    """Return a tar archive of files, or of members that are described."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(_bytes(content))
            archive.addfile(info, io.BytesIO(_bytes(content)))
    return data.getvalue()


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _about(content: bytes | str) -> dict[str, Any]:
    digest = hashlib.md5(_bytes(content), usedforsecurity=False).hexdigest()
    return {"size": len(_bytes(content)), "checksum": f"md5:{digest}"}


def main() -> None:
    """Serve what is in `answers.json` of a directory, until this process ends."""
    directory, address = Path(sys.argv[1]), sys.argv[2]
    server = GitServer(directory, address, 443, HOSTS)

    def answer(handler: Handler) -> None:
        archives = Archives("")
        archives.answers = json.loads((directory / "answers.json").read_text())
        archives.answer(handler)

    server.behaviors["/"] = answer
    print(server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
