"""A support archive: what helps to find a fault, without secrets."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from littlest_hub.backup.contents import drop_ins, is_secret
from littlest_hub.check.redaction import SECRET_WORD, SHORTEST, Redactor
from littlest_hub.doctor.snapshot import output_of
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.system.files import new_file
from littlest_hub.system.systemctl import ALL_JOURNALS

JOURNAL_LINES = 3000

Run = Callable[..., str]
"""Run a command and return its standard output."""


def write_bundle(layout: Layout, findings: str, file: Path, run: Run = output_of) -> None:
    """Write a support archive.

    Args:
        layout: of what.
        findings: the doctor's, as JSON.
        file: the archive, 0600; it must not exist.
        run: runs a command and returns its standard output.

    Raises:
        LittlestHubError: the file cannot be written; nothing is left of it.
    """
    redactor = Redactor(known_secrets(layout, run), layout.base)
    for source in _sources(layout):
        redactor.learn_python(source)
    name = file.name.partition(".")[0]
    with new_file(file) as opened, tarfile.open(fileobj=opened, mode="w:gz") as tar:
        for path, text in _contents(layout, findings, run):
            clean = redactor.python(text) if path.endswith(".py") else redactor.text(text)
            data = clean.encode(errors="replace")
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))


def known_secrets(layout: Layout, run: Run) -> Iterator[str]:
    """Yield every secret value of this installation that can be read."""
    shown = run("systemctl", "cat", *layout.started_unit_names)
    files = re.findall(r"^(?:EnvironmentFile|LoadCredential)=-?(?:\w+:)?(/\S+)", shown, re.M)
    yield from re.findall(rf"^Environment=.*?{SECRET_WORD}\w*=\"?([^\"\s]+)", shown, re.M | re.I)
    # c.X.client_secret_file = "/etc/keys/oauth"
    setting = re.compile(rf"\w*{SECRET_WORD}\w*_(?:file|path)\W{{1,4}}[\"'](/[^\"']+)[\"']", re.I)
    for source in _sources(layout):
        files += setting.findall(source)
    for directory in (layout.state, layout.fragments):
        for file in sorted(directory.rglob("*")):
            with contextlib.suppress(OSError):
                is_ours = file.is_file() and "backups" not in file.parts and file.suffix != ".py"
                if is_ours and file.stat().st_size < 1 << 16 and is_secret(layout, file):
                    files.append(str(file))
    for each in files:
        yield from _values(_read(Path(each)))
    yield from re.findall(r"\{SHA\}[\w+/=]+", _read(layout.routes))
    # Tokens of user servers that run.
    for file in sorted(layout.server_environments.glob("*.env")):
        for variable, value in re.findall(r"^(\w+)=(.*)$", _read(file), re.M):
            if re.search(r"TOKEN|SECRET|PASSW|KEY|CRYPT|COOKIE", variable):
                yield value.strip("'\"")


def _values(text: str) -> Iterator[str]:
    """Yield the lines of a file of secrets, and the values of its NAME=value lines."""
    for line in map(str.strip, text.splitlines()):
        if line.startswith(("#", "-----")) or len(line) < SHORTEST:
            continue
        yield line
        name, separator, value = line.partition("=")
        if separator and re.fullmatch(r"(?:export )?[\w.]+\s*", name):
            yield value.strip(" '\"")


def _contents(layout: Layout, findings: str, run: Run) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file of the archive."""
    yield "doctor.json", findings
    journal = ("journalctl", "--no-pager", f"--lines={JOURNAL_LINES}")
    for unit in layout.started_unit_names:
        if text := run(*journal, f"--unit={unit}"):
            yield f"journal/{unit}.txt", text
    servers = f"--unit={layout.user_unit_pattern}"
    yield "journal/user-servers.txt", run(*journal, ALL_JOURNALS, servers)
    status = (
        "systemctl",
        "--no-pager",
        "status",
        *layout.started_unit_names,
        layout.user_unit_pattern,
    )
    directories = map(str, (layout.base, layout.releases, layout.fragments))
    for path, command in (
        ("units/show", ("systemctl", "show", *layout.started_unit_names)),
        ("units/status", status),
        ("units/cat", ("systemctl", "cat", *layout.started_unit_names)),
        ("machine/uname", ("uname", "-a")),
        ("machine/systemd", ("systemctl", "--version")),
        ("machine/disks", ("df", "-hT")),
        ("machine/inodes", ("df", "-i")),
        ("machine/memory", ("free", "-m")),
        ("machine/addresses", ("ip", "-brief", "address")),
        ("machine/listening", ("ss", "-ltnp")),
        (
            "machine/base",
            ("ls", "-la", *directories),
        ),
        ("machine/state", ("find", str(layout.state), "-ls")),
        ("machine/time", ("timedatectl", "show")),
        ("machine/failed", ("systemctl", "--no-pager", "--failed")),
    ):
        yield f"{path}.txt", run(*command)
    files = {f"units/{file.parent.name}/{file.name}": file for file in drop_ins(layout)}
    files |= {f"jupyterhub_config.d/{file.name}": file for file in _fragments(layout)}
    with contextlib.suppress(OSError):  # without root
        for file in sorted(layout.proxy_state.rglob("*.toml")):
            files[f"proxy/{file.relative_to(layout.proxy_state)}"] = file
    for name in ("/etc/os-release", "/proc/meminfo", "/proc/mounts", "/proc/pressure/memory"):
        files[f"machine/{name[1:].replace('/', '-')}"] = Path(name)
    for path, file in files.items():
        if text := _read(file):
            yield path, text
    packages = sorted(p.stem for p in (layout.hub / "conda-meta").glob("*.json"))
    yield "packages.txt", "\n".join(packages) + "\n"


def _sources(layout: Layout) -> list[str]:
    return [_read(file) for file in _fragments(layout)]


def _fragments(layout: Layout) -> list[Path]:
    with contextlib.suppress(OSError):
        return fragment_files(layout)
    return []


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(errors="replace")
    return ""
