"""Packages that cannot be added are refused in one sentence with the way out; nothing changes."""

import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PackageSet
from littlest_hub.packages import changes
from littlest_hub.packages import lock as locks
from littlest_hub.packages.lock import Lock, Wheel
from littlest_hub.packages.source import Source
from littlest_hub.system.digests import sha256
from tests import wheels
from tests.unit.packages.here import Installation

pytestmark = pytest.mark.unit

HOST = "packages.invalid"


class Index:
    """A package index over HTTP (PEP 503), which is a forward proxy to HOST as well."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                body = index.answer(urlsplit(self.path).path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever).start()

    def answer(self, path: str) -> bytes | None:
        """Return a page of links to a project's files, or a file; None: there is none."""
        if path.startswith("/files/"):
            return (self.directory / Path(path).name).read_bytes()
        files = sorted(self.directory.glob(f"{Path(path).name}-*"))
        links = [f'<a href="/files/{each.name}">{each.name}</a>' for each in files]
        return (
            f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None
        )


@pytest.fixture
def index(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    here.wheels.mkdir()
    found = Index(here.wheels)
    for name in [each for each in os.environ if each.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{found.address}/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield found
    found.server.shutdown()
    found.server.server_close()


def add(here: Installation, *names: str, source: Source | None = None) -> None:
    wanted = {PackageSet.HUB: names}
    changes.add(here.layout, here.prefix, wanted, source or Source(), lambda _: None)


def unknown(index: Index) -> None:
    """Publish nothing."""


def other_platform(index: Index) -> None:
    made = wheels.make(index.directory, "shy")
    made.rename(made.with_name("shy-1.0-cp39-cp39-win_amd64.whl"))


@pytest.mark.parametrize(
    ("publish", "name", "reason", "hint"),
    [
        (unknown, "shy", "no wheel of shy is to be had", "spelled as on the index"),
        (other_platform, "shy", "no wheel", "Build one elsewhere|spelled as on the index"),
        (unknown, "shy @ http://evil.example/x.whl", "addresses and markers", "NAME==VERSION"),
        (unknown, "--index-url=http://evil.example", "names no package", "NAME==VERSION"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_way_out(
    here: Installation,
    index: Index,
    publish: Callable[[Index], None],
    name: str,
    reason: str,
    hint: str,
) -> None:
    publish(index)
    with pytest.raises(LittlestHubError) as refused:
        add(here, name)
    assert reason in refused.value.message
    assert re.search(hint, refused.value.hint or "")
    assert not [each for each in here.files if each.is_file()]


def edit_list(here: Installation) -> None:
    (here.layout.packages / "hub.txt").write_text("shy\ncoy\n")
    changes.rebuild(here.layout, here.prefix, lambda _: None)


def ask_for_another(here: Installation) -> None:
    add(here, "coy")


@pytest.mark.parametrize("ask", [edit_list, ask_for_another])
def test_without_a_network_the_way_out_is_a_bundle(
    here: Installation,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Installation], None],
) -> None:
    wheels.make(index.directory, "shy")
    add(here, "shy")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(LittlestHubError) as refused:
        ask(here)
    assert re.search(r"Without a network: .* packages add --from", refused.value.hint or "")


def test_a_proxy_of_pips_configuration_is_used(
    here: Installation, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.make(index.directory, "shy")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{HOST}/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", HOST)
    monkeypatch.setenv("PIP_PROXY", index.address)
    add(here, "shy")
    assert (here.overlay / "hub/shy.py").is_file()
    assert f"http://{HOST}/simple/shy/" in index.asked


def test_a_wheel_that_is_not_the_one_of_the_bundles_lock_is_refused(here: Installation) -> None:
    file = wheels.make(here.wheels, "shy")
    wheel = Wheel("shy", "1.0", file.name, "0" * 64)
    lock = Lock("1.0", {PackageSet.HUB: ("shy",)}, {PackageSet.HUB: (wheel,)})
    (here.wheels / locks.FILE).write_text(lock.to_json())
    with pytest.raises(LittlestHubError, match="its sha256 differs"):
        add(here, "shy", source=Source(here.wheels, lock))
    assert not [each for each in here.files if each.is_file()]


def test_a_bundle_of_another_release_is_named_when_it_does_not_fit(here: Installation) -> None:
    file = wheels.make(here.wheels, "shy", requires=["own<2"])
    wheel = Wheel("shy", "1.0", file.name, sha256(file))
    lock = Lock("0.9", {PackageSet.HUB: ("shy",)}, {PackageSet.HUB: (wheel,)})
    with pytest.raises(
        LittlestHubError, match=r"shy 1\.0 needs own<2, the release has own 2"
    ) as no:
        add(here, "shy", source=Source(here.wheels, lock))
    assert "the bundle is for 0.9, get that of this release" in (no.value.hint or "")


def test_a_disk_without_room_is_named(here: Installation) -> None:
    wheels.make(here.wheels, "shy", files={"shy.py": "#" * 100_000})
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file cannot become larger than this, as if the disk were full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, most))
    try:
        with pytest.raises(LittlestHubError, match="File too large"):
            add(here, "shy", source=Source(here.wheels))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert not [each for each in here.files if each.is_file()]


def test_a_script_in_a_wheel_replaces_no_program(here: Installation) -> None:
    script = "#!python\nraise SystemExit('evil')\n"
    wheels.make(here.wheels, "shy", files={"shy-1.0.data/scripts/jupyterhub": script})
    add(here, "shy", source=Source(here.wheels))
    assert not [*here.overlay.rglob("jupyterhub")]
