"""Known vulnerabilities: those of the release, those of the index, and those that it once told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING
from littlest_hub.doctor.packages import packages
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.installation import overlays_of
from littlest_hub.layout import PackageSet
from littlest_hub.packages import lock as locks
from littlest_hub.packages import overlay
from littlest_hub.packages.audit import Audit, audit
from littlest_hub.packages.lock import Lock, Wheel
from tests import wheels
from tests.unit.packages.here import Installation

pytestmark = pytest.mark.unit

ADVISORY = {
    "id": "CVE-2026-1",
    "package": "Shy",
    "affected": ["<1.1"],
    "fixed": "1.1",
    "source": "https://example.org/1",
    "about": "opens doors",
}
# As in docs.pypi.org/api/json.
RECORD = {
    "aliases": ["CVE-2026-2"],
    "details": "Closes doors.\nAnd windows.",
    "fixed_in": ["0.9", "2.0", "1.5"],
    "id": "PYSEC-2026-2",
    "link": "https://example.org/2",
    "summary": None,
    "withdrawn": None,
}


class Index:
    """A package index with PyPI's JSON interface."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str | None]] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append((self.path, self.headers["Authorization"]))
                records = index.records.get(self.path)
                self.send_response(404 if records is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"vulnerabilities": records}).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    found = Index()
    port = found.server.server_port
    monkeypatch.setenv("PIP_INDEX_URL", f"http://bob:s3cret@127.0.0.1:{port}/simple/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield found
    found.close()


@pytest.fixture
def shy(here: Installation) -> Installation:
    has(here, "1.0")
    return here


def has(here: Installation, version: str) -> None:
    """Let the user servers of an installation have that version of shy."""
    wheel = Wheel("shy", version, f"shy-{version}-py3-none-any.whl", "0" * 64)
    lock = Lock("1.0", {PackageSet.SERVER: ("shy",)}, {PackageSet.SERVER: (wheel,)})
    place = overlays_of(here.layout, here.prefix) / lock.digest
    place.mkdir(parents=True)
    (place / locks.FILE).write_text(lock.to_json())
    overlay.activate(here.layout, here.prefix, place)


def ids(found: Audit) -> list[str]:
    return [each.advisory.id for each in found.vulnerabilities]


def run(here: Installation, *, is_offline: bool = False) -> Audit:
    return audit(here.layout, here.prefix, is_offline=is_offline)


def ship(here: Installation, **changes: Any) -> None:
    record = {"newest": "2026-11-08", "advisories": [{**ADVISORY, **changes}]}
    here.layout.advisories.write_text(json.dumps(record))


def test_an_advisory_of_the_release_names_the_version_that_helps(shy: Installation) -> None:
    ship(shy)
    found = run(shy, is_offline=True)
    text = found.text(shy.layout)
    assert "shy 1.0 (server) has CVE-2026-1: opens doors; fixed in 1.1" in text
    assert "packages add --server 'shy>=1.1'" in text
    assert found.to_json()["vulnerabilities"][0]["id"] == "CVE-2026-1"
    ship(shy, affected=["<1.0"])
    assert not ids(run(shy, is_offline=True))


def test_the_index_is_asked_about_each_version_and_remembered(
    shy: Installation, index: Index
) -> None:
    index.records["/pypi/shy/1.0/json"] = [RECORD, {**RECORD, "id": "x", "withdrawn": "2026"}]
    (found,) = run(shy).vulnerabilities
    assert found.advisory.id == "CVE-2026-2"
    assert found.advisory.fixed == "1.5", "the lowest that is later"
    assert found.advisory.about == "Closes doors. And windows."
    assert index.asked == [("/pypi/shy/1.0/json", "Basic Ym9iOnMzY3JldA==")]
    index.close()
    later = run(shy)
    assert ids(later) == ["CVE-2026-2"]
    assert later.index_error
    assert "s3cret" not in later.text(shy.layout)
    assert ids(run(shy, is_offline=True)) == ["CVE-2026-2"]


def test_what_release_and_index_both_know_is_said_once(shy: Installation, index: Index) -> None:
    ship(shy)
    index.records["/pypi/shy/1.0/json"] = [{**RECORD, "aliases": ["CVE-2026-1"]}]
    assert ids(run(shy)) == ["CVE-2026-1"]


def test_an_index_that_knows_no_vulnerabilities_is_named(shy: Installation, index: Index) -> None:
    found = run(shy)
    assert found.index_error == "127.0.0.1 tells no vulnerabilities of these packages"
    assert "never asked" in found.text(shy.layout)


def test_what_was_remembered_does_not_concern_a_later_version(
    shy: Installation, index: Index
) -> None:
    index.records["/pypi/shy/1.0/json"] = [RECORD]
    assert ids(run(shy))
    has(shy, "1.5")
    assert not ids(run(shy, is_offline=True))


def test_without_packages_nothing_is_asked(here: Installation, index: Index) -> None:
    assert not ids(run(here))
    assert not index.asked


def test_doctor_names_a_vulnerable_package_with_the_command_that_helps(here: Installation) -> None:
    wheels.make(here.wheels, "shy")
    here.add("shy", to=PackageSet.SERVER)
    (here.prefix / "bin").mkdir()
    (here.prefix / "bin/python3").touch()
    for fixed, severity in (("1.1", PROBLEM), ("", WARNING)):
        ship(here, fixed=fixed)
        (found,) = packages(Snapshot(here.layout))
        assert (found.severity, found.text[:25]) == (severity, "shy 1.0 (server) has CVE-")
        assert ("add --server 'shy>=1.1'" in found.command) == bool(fixed)
    ship(here, affected=["<1"])
    assert [each.severity for each in packages(Snapshot(here.layout))] == [OK]
