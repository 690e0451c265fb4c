"""The builder's side of the code tier against a unit that a stranger's code has taken over."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.code import jobs
from littlest_hub.stacks.launch.code.client import CodeTier
from littlest_hub.stacks.launch.code.jobs import Job, Wheel

JOB = Job("/python", (Wheel("alpha==1", "alpha"), Wheel("./lib")))
DONE = b'{"done": {}}\n'
Answer = Callable[[IO[bytes]], object]


def file(path: str, data: bytes = b"x") -> bytes:
    line = {"file": path, "bytes": len(data), "program": False}
    return json.dumps(line).encode() + b"\n" + data


RIGHT = (file("0/alpha-1-py3-none-any.whl"), file("1/lib-1-py3-none-any.whl", b"y"), b"{}\n")


class Taken:
    """The code tier with one unit, which answers whatever a test wants."""

    def __init__(self, home: Path, *parts: bytes, is_ready: bool = True) -> None:
        self.place = Place(home)
        self.place.make()
        self._parts, self._is_ready = parts, is_ready
        self.connections = 0
        self.lines: list[str] = []
        self.tier = CodeTier(self.place, [self._connect])

    def build(self, job: Job = JOB) -> list[tuple[str, str, str]]:
        found = self.tier.build(job, None, self.lines.append)
        return [(each.name, each.file, each.digest) for each in found]

    def _connect(self) -> socket.socket:
        self.connections += 1
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._answer, args=[theirs], daemon=True).start()
        return ours

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            if self.connections == 1 and not self._is_ready:
                return
            with socket.create_server(("127.0.0.1", 0)) as listening:
                socket.send_fds(connection, [jobs.READY], [listening.fileno()])
            # The builder sends all of it first; its directories are empty here.
            job = json.loads(reader.readline())
            for _ in range(2 if job["script"] else 1):
                reader.readline()
            for part in self._parts:
                try:
                    connection.sendall(part)
                except OSError:
                    return


def kept(place: Place) -> list[str]:
    return sorted(str(each.relative_to(place.wheels)) for each in place.wheels.rglob("*"))


def test_wheels_are_kept_under_the_hash_that_is_computed_here(tmp_path: Path) -> None:
    taken = Taken(tmp_path / "launch", b'{"line": "building"}\n', DONE, *RIGHT)
    digests = [hashlib.sha256(each).hexdigest() for each in (b"x", b"y")]
    names = ["alpha-1-py3-none-any.whl", "lib-1-py3-none-any.whl"]
    assert taken.build() == [("alpha", names[0], digests[0]), ("lib", names[1], digests[1])]
    expected = {each for d, n in zip(digests, names, strict=True) for each in (d, f"{d}/{n}")}
    assert set(kept(taken.place)) == expected
    assert taken.lines == ["building"]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"x\n",),
        (b"[]\n",),
        (b'"done"\n',),
        (b'"failed"\n',),
        (b'{"line": 1' * 9000,),
        (b"[" * 50_000 + b"\n",),
        (b'{"line": "x"}\n' * 20_001,),
        (DONE,),
        (DONE, b"{}\n"),
        (DONE, RIGHT[0], b"{}\n"),
        (DONE, RIGHT[0], RIGHT[0], b"{}\n"),
        (DONE, RIGHT[1], RIGHT[0], b"{}\n"),
        (DONE, RIGHT[0], RIGHT[1], file("2/more-1-py3-none-any.whl"), b"{}\n"),
        (DONE, RIGHT[0], RIGHT[1][:-1]),
        (DONE, file("0/numpy-1-py3-none-any.whl"), RIGHT[1], b"{}\n"),
        (DONE, file("0/alpha.whl"), RIGHT[1], b"{}\n"),
        (DONE, file("0/../alpha-1-py3-none-any.whl"), RIGHT[1], b"{}\n"),
        (DONE, file("/etc/alpha-1-py3-none-any.whl"), RIGHT[1], b"{}\n"),
        (DONE, b'{"link": "0", "to": "/etc"}\n', RIGHT[0], RIGHT[1], b"{}\n"),
        (DONE, b'{"file": "0/alpha-1-py3-none-any.whl", "bytes": 9999999999, "program": false}\n'),
    ],
)
def test_an_answer_that_is_no_result_becomes_a_sentence(
    tmp_path: Path, parts: tuple[bytes, ...]
) -> None:
    taken = Taken(tmp_path / "launch", *parts)
    with pytest.raises(LittlestHubError):
        taken.build()
    names = {each.rpartition("/")[2] for each in kept(taken.place) if each.endswith(".whl")}
    assert names <= {"alpha-1-py3-none-any.whl", "lib-1-py3-none-any.whl"}
    assert not [each for each in kept(taken.place) if each.startswith(".")]


def test_a_reason_is_quoted_up_to_a_length(tmp_path: Path) -> None:
    taken = Taken(tmp_path / "launch", json.dumps({"failed": "why " * 9000}).encode() + b"\n")
    with pytest.raises(LittlestHubError, match=r"^why why") as found:
        taken.build()
    assert len(found.value.message) <= 2000


def test_a_unit_that_still_ends_is_asked_again(tmp_path: Path) -> None:
    taken = Taken(tmp_path / "launch", DONE, *RIGHT, is_ready=False)
    assert len(taken.build()) == 2
    assert taken.connections == 2


def test_an_environment_is_written_anew_and_no_link_leads_to_another(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "environment").mkdir()
    job = Job("/python", environment=str(tmp_path / "environment"), script="postBuild")
    outside = b'{"link": "share", "to": "../environment"}\n'
    taken = Taken(tmp_path / "launch", DONE, outside, file("share/kernel.json"), b"{}\n")
    taken.tier.run(job, tmp_path / "files", tmp_path / "result", taken.lines.append)
    assert (tmp_path / "result/share/kernel.json").read_text() == "x"
    assert list((tmp_path / "environment").iterdir()) == []


def test_a_job_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "TIMEOUT_S", 0.1)
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        socket.send_fds(theirs, [jobs.READY], [listening.fileno()])
    place = Place(tmp_path / "launch")
    place.make()
    with pytest.raises(LittlestHubError, match="building it took more than"):
        CodeTier(place, [lambda: ours]).build(JOB, None, lambda _: None)
    theirs.close()
