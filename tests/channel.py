"""A channel of conda packages, made for tests, and served."""

import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Oddities:
    """Deviations of a package from a plain one."""

    members: Sequence[tarfile.TarInfo] = ()
    """Further members of the archive, without content."""
    paths: Sequence[Mapping[str, object]] | None = None
    """Entries of paths.json; None: those of the files and the members."""
    info: Mapping[str, object] = field(default_factory=dict)
    """Further files of info/, as JSON."""
    index: Mapping[str, object] = field(default_factory=dict)
    """Further fields of index.json and of the channel's entry."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """Modes of files by path; others have 0644."""
    sha256: str = ""
    """The digest that the channel says it has; "": the right one."""


def add_package(
    channel: Path,
    name: str,
    files: Mapping[str, str | bytes],
    depends: Sequence[str] = (),
    version: str = "1.0",
    oddities: Oddities | None = None,
) -> Path:
    """Add a package to a channel, and return it.

    Args:
        channel: its directory.
        name: of the package.
        files: contents by path below the prefix.
        depends: packages that it needs.
        version: of the package.
        oddities: what is unusual in it.
    """
    odd = oddities or Oddities()
    index = {
        **{"name": name, "version": version, "build": "0", "build_number": 0},
        **{"depends": list(depends), "subdir": "noarch", "noarch": "generic", **odd.index},
    }
    subdir = channel / str(index["subdir"])
    subdir.mkdir(parents=True, exist_ok=True)
    file = subdir / f"{name}-{version}-0.tar.bz2"
    paths = odd.paths
    if paths is None:
        paths = [_entry(path, data) for path, data in files.items()]
        paths += [
            {"_path": each.name, "path_type": "softlink" if each.issym() else "hardlink"}
            for each in odd.members
        ]
    info = {"index": index, "paths": {"paths": paths, "paths_version": 1}, **odd.info}
    contents = {
        **files,
        **{f"info/{each}.json": json.dumps(found) for each, found in info.items()},
        "info/files": "\n".join(files),
    }
    with tarfile.open(file, "w:bz2", compresslevel=1) as archive:
        for path, data in contents.items():
            member = tarfile.TarInfo(path)
            member.mode = odd.modes.get(path, 0o644)
            raw = _bytes(data)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
        for member in odd.members:
            archive.addfile(member)
    repodata = subdir / "repodata.json"
    known = json.loads(repodata.read_text())["packages"] if repodata.exists() else {}
    data = file.read_bytes()
    digest = odd.sha256 or hashlib.sha256(data).hexdigest()
    entry = {**index, "sha256": digest, "size": len(data)}
    _write(subdir, {**known, file.name: entry})
    for other in ("linux-64", "noarch"):
        if not (channel / other / "repodata.json").exists():
            _write(channel / other, {})
    return file


def _entry(path: str, data: str | bytes) -> dict[str, object]:
    raw = _bytes(data)
    digest = hashlib.sha256(raw).hexdigest()
    return {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(raw)}


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _write(subdir: Path, packages: Mapping[str, object]) -> None:
    subdir.mkdir(exist_ok=True)
    record = {"info": {"subdir": subdir.name}, "packages": packages, "packages.conda": {}}
    (subdir / "repodata.json").write_text(json.dumps(record))


def linked(path: str, target: str) -> tarfile.TarInfo:
    """Return a member that is a symbolic link."""
    member = tarfile.TarInfo(path)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def add_python(channel: Path, version: str, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Add a package `python`.

    Args:
        channel: its directory.
        version: of the package.
        files: contents and modes by path below the prefix, with bin/python3 among them.
    """
    minor = ".".join(version.split(".")[:2])
    links = [linked("bin/python", "python3"), linked(f"bin/python{minor}", "python3")]
    modes = {path: mode for path, (_, mode) in files.items()}
    odd = Oddities(links, modes=modes, index={"subdir": "linux-64", "noarch": None})
    contents = {path: data for path, (data, _) in files.items()}
    add_package(channel, "python", contents, ["__glibc >=2.17"], version, odd)


def add_kernel(channel: Path) -> None:
    """Add a stand-in for ipykernel, which no test starts."""
    spec = {
        "argv": ["python", "-m", "ipykernel_launcher"],
        "display_name": "?",
        "language": "python",
    }
    info = "site-packages/ipykernel-6.0.dist-info"
    files = {
        "site-packages/ipykernel_launcher.py": "",
        **{f"{info}/METADATA": "", f"{info}/RECORD": ""},
        "share/jupyter/kernels/python3/kernel.json": json.dumps(spec),
    }
    odd = Oddities(index={"noarch": "python"})
    add_package(channel, "ipykernel", files, ["python >=3"], "6.0", odd)


@dataclass
class ServedChannel:
    """A channel on the loopback interface."""

    directory: Path
    address: str
    requested: list[str]
    held: threading.Event
    """While it is not set, no package is answered."""
    waiting: threading.Semaphore

    def wait_for_held(self, timeout_s: float) -> bool:
        """Wait until somebody asks for a package while they are held."""
        return self.waiting.acquire(timeout=timeout_s)

    def add(
        self,
        name: str,
        files: Mapping[str, str | bytes],
        depends: Sequence[str] = (),
        version: str = "1.0",
        oddities: Oddities | None = None,
    ) -> Path:
        return add_package(self.directory, name, files, depends, version, oddities)

    def url(self, package: Path) -> str:
        """Return the address of a package."""
        return f"{self.address}/{package.relative_to(self.directory)}"


@contextmanager
def served(directory: Path, name: str = "conda-forge") -> Iterator[ServedChannel]:
    """Serve a channel of a directory."""
    requested: list[str] = []
    held, waiting = threading.Event(), threading.Semaphore(0)
    held.set()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not held.is_set() and self.path.endswith(".tar.bz2"):
                waiting.release()
                held.wait()
            super().do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            requested.append(self.path)

    channel = directory / name
    channel.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/{name}"
        yield ServedChannel(channel, address, requested, held, waiting)
        held.set()
        server.shutdown()
        thread.join()
