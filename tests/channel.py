"""A channel of conda packages, made for tests."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def add_package(
    channel: Path, name: str, files: Mapping[str, str], depends: Sequence[str] = ()
) -> None:
    """Add version 1.0 of a package to a channel.

    Args:
        channel: its directory.
        name: of the package.
        files: contents by path below the prefix.
        depends: packages that it needs.
    """
    index = {
        **{"name": name, "version": "1.0", "build": "0", "build_number": 0},
        **{"depends": list(depends), "subdir": "noarch", "noarch": "generic"},
    }
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_in_bytes": len(text),
        }
        for path, text in files.items()
    ]
    contents = {
        **files,
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join(files),
    }
    subdir = channel / "noarch"
    subdir.mkdir(parents=True, exist_ok=True)
    file = subdir / f"{name}-1.0-0.tar.bz2"
    with tarfile.open(file, "w:bz2") as archive:
        for path, text in contents.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    repodata = subdir / "repodata.json"
    known = json.loads(repodata.read_text())["packages"] if repodata.exists() else {}
    data = file.read_bytes()
    entry = {**index, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    record = {"info": {"subdir": "noarch"}, "packages": {**known, file.name: entry}}
    repodata.write_text(json.dumps({**record, "packages.conda": {}}))
    (channel / "linux-64").mkdir(exist_ok=True)
    empty = {"info": {"subdir": "linux-64"}, "packages": {}, "packages.conda": {}}
    (channel / "linux-64" / "repodata.json").write_text(json.dumps(empty))
