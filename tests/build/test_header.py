"""The contract of the installer, driven through the real file by real shells.

Most tests use a small environment (`payloads.py`); those that take `script` also run against the
installer of this project, whichever way it was built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import zstandard

from construct import installer as builder
from construct.installer import Payload
from tests.build import payloads
from tests.capabilities import missing, need
from tests.eventually import eventually

SHELLS = {
    "dash": ["dash"],
    "bash": ["bash"],
    "zsh": ["zsh"],
    "busybox": ["busybox", "sh"],
}
# The shells that people name, or that run what has no other; the tests with the others are long.
USUAL_SHELLS = ("bash", "dash")
# Of coreutils, what a minimal image has besides these is not needed either.
MINIMAL = (
    *("sh", "sed", "tar", "getconf", "cat", "cut", "dd", "df", "env", "head", "id", "ls", "mkdir"),
    *("mv", "readlink", "rm", "rmdir", "sha256sum", "sleep", "stat", "tr", "uname", "wc"),
)
# Run a script as on a machine without flock.
WITHOUT_FLOCK = (
    *("unshare", "-m", "sh", "-c"),
    'for f in $(which -a flock); do mount --bind /dev/null "$f"; done; exec sh "$@"',
    "sh",
)
DAMAGED = "ERROR: this file is damaged, nothing was changed. Please download it again"

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    return payloads.small(tmp_path_factory.mktemp("payload"))


@pytest.fixture(scope="session")
def demo(payload: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small installer, with a script to run after it and without a license."""
    return builder.write(payload, tmp_path_factory.mktemp("demo") / "demo-1.0-Linux-x86_64.sh")


@pytest.fixture(scope="session")
def anywhere(payload: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small installer with a default prefix that does not restrict others."""
    free = dataclasses.replace(payload, default_prefix="/opt/demo")
    return builder.write(free, tmp_path_factory.mktemp("anywhere") / "anywhere.sh")


@pytest.fixture(scope="session")
def licensed(payload: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small installer with license terms."""
    script = tmp_path_factory.mktemp("licensed") / "licensed.sh"
    return builder.write(payloads.licensed(payload), script)


@pytest.fixture(scope="session", params=["small", "product"])
def script(request: pytest.FixtureRequest) -> Path:
    """An installer: the small one, and the one of this project."""
    path: Path = request.getfixturevalue({"small": "demo", "product": "installer"}[request.param])
    return path


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in USUAL_SHELLS else pytest.mark.long)
        for name in sorted(SHELLS)
    ]
)
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    need(command[0])
    return command


@pytest.fixture
def namespace() -> None:
    """A mount namespace for a test that mounts, which needs root."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        missing("mounting needs root")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """The prefix: two levels below a directory that is otherwise empty."""
    return tmp_path / "machine" / "releases" / "1.0"


@pytest.fixture
def machine(prefix: Path) -> Path:
    """The directory that contains everything the test creates."""
    prefix.parent.parent.mkdir()
    return prefix.parent.parent


def run(
    script: Path | str,
    *options: str | Path,
    shell: Sequence[str] = ("sh",),
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    umask: int = -1,
) -> Done:
    """Run an installer to its end."""
    return subprocess.run(
        [*shell, script, *options],
        input=stdin,
        env=os.environ | (env or {}),
        cwd=cwd,
        umask=umask,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def run_where_mounted(script: Path, where: Path, options: str, then: str = "") -> Done:
    """Install into a separate file system, mounted at `where` with mount's `options`.

    What is left there is listed at the end of the output, after the output of the commands `then`.
    """
    commands = """
        mount -t tmpfs -o "$2" tmpfs "$1"
        sh "$3" -b -s -p "$1/releases/1.0"
        code=$?
        cd "$1"
        eval "$4"
        echo "left: $(ls -A)"
        exit $code
    """
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", commands, "sh", where, options, script, then],
        capture_output=True,
        text=True,
        check=False,
    )


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def contents_of(directory: Path) -> dict[str, bytes]:
    """Return every regular file with its content, except those that its script wrote."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("post_install.env", "fifo")
    }


def rest_of(script: Path) -> str:
    """Return the end that a prefix of this installer must have: `releases/VERSION`."""
    found = re.search("/base/([^ ]+) if not", run(script, "-h", env=based_in("/base")).stdout)
    assert found is not None
    return found[1]


def based_in(directory: Path | str) -> dict[str, str]:
    return {"LITTLEST_HUB_BASE": str(directory)}


def refused(done: Done, *messages: str, code: int = 1) -> None:
    """Assert that an installer ended with these lines on standard error and this code."""
    assert done.returncode == code, done
    for message in messages:
        assert message in done.stderr, done


def checked_records(prefix: Path) -> int:
    """Assert that every recorded file exists and has its hash. Return their number.

    Like `conda doctor`, which follows links, and skips entries without `sha256_in_prefix`. Only
    links and directories have none (conda/core/path_actions.py, LinkPathAction).
    """
    count = 0
    for file in (prefix / "conda-meta").glob("*.json"):
        for entry in json.loads(file.read_bytes())["paths_data"]["paths"]:
            path = prefix / entry["_path"]
            assert path.is_symlink() == (entry["path_type"] == "softlink"), entry
            assert ("sha256_in_prefix" in entry) == (entry["path_type"] == "hardlink"), entry
            if "sha256_in_prefix" in entry:
                found = hashlib.sha256(path.read_bytes()).hexdigest()
                assert found == entry["sha256_in_prefix"], entry
                count += 1
    return count


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["-h"], ["--help"], ["-b", "--help"]])
def test_help_is_printed_with_exit_code_2(
    script: Path, shell: list[str], options: list[str]
) -> None:
    done = run(script, *options, shell=shell)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("usage: ")
    letters = {line[1] for line in done.stdout.splitlines() if line.startswith("-")}
    assert letters == set("bfhikpsu")


def test_help_names_the_default_prefix_below_the_chosen_base(script: Path) -> None:
    done = run(script, "-h", env={"LITTLEST_HUB_BASE": "/srv/physics"})
    assert "/srv/physics/releases/" in done.stdout


def test_help_lists_the_variables_with_a_line_each(payload: Payload, tmp_path: Path) -> None:
    variables = {"DEMO_BASE": 'it\'s "here"', "DEMO_ADMINISTRATOR": "$USER"}
    listed = dataclasses.replace(payload, variables=variables)
    done = run(builder.write(listed, tmp_path / "listed.sh"), "-h")
    assert done.stdout.endswith('\n\nDEMO_BASE           it\'s "here"\nDEMO_ADMINISTRATOR  $USER\n')


def test_help_without_variables_ends_with_the_options(demo: Path) -> None:
    assert "variables" not in run(demo, "-h").stdout


@pytest.mark.parametrize("name", ["BASE", "ADMIN", "PORT"])
def test_help_of_the_product_lists_its_variables(installer: Path, name: str) -> None:
    assert f"\nLITTLEST_HUB_{name} " in run(installer, "-h").stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-b", "-z"], "-z"),
        (["-bz"], "-z"),
        (["-m"], "-m"),
        (["--batch"], "--batch"),
        (["-b", "--prefix=/srv/hub"], "--prefix=/srv/hub"),
    ],
)
def test_an_unknown_option_is_refused(
    script: Path, shell: list[str], options: list[str], named: str
) -> None:
    done = run(script, *options, shell=shell)
    refused(done)
    assert done.stderr == f"ERROR: did not recognize option '{named}', please try -h\n"


def test_an_option_without_its_value_is_refused(script: Path, shell: list[str]) -> None:
    done = run(script, "-b", "-p", shell=shell)
    refused(done)
    assert done.stderr == "ERROR: option '-p' needs a value, please try -h\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["-b", "/srv/hub"], "Did you mean LITTLEST_HUB_BASE=/srv/hub sh {} -b ?"),
        (["-u", "/srv/hub", "-b"], "Did you mean LITTLEST_HUB_BASE=/srv/hub sh {} -u -b ?"),
        (["/srv/hub/releases/1"], "Did you mean LITTLEST_HUB_BASE=/srv/hub sh {} ?"),
        (["-b", "~/hub"], "Did you mean LITTLEST_HUB_BASE=~/hub sh {} -b ?"),
        (["-b", "hub"], "Did you mean LITTLEST_HUB_BASE=DIRECTORY sh {} -b ?"),
        (["-b", ""], "an argument is empty"),
        (["-b", "LITTLEST_HUB_BASE=/srv"], "Variables come first: LITTLEST_HUB_BASE=/srv sh "),
    ],
)
def test_a_positional_argument_is_refused_with_the_likely_intended_command(
    script: Path, arguments: list[str], hint: str
) -> None:
    refused(run(script, *arguments), "ERROR: ", "argument", hint.format(script))


@pytest.mark.parametrize(("argument", "meant"), [("/srv/hub", "/srv/hub"), ("hub", "DIRECTORY")])
def test_a_positional_argument_is_suggested_as_the_prefix_if_any_prefix_is_allowed(
    anywhere: Path, argument: str, meant: str
) -> None:
    refused(run(anywhere, "-b", argument), f"Did you mean -p {meant} ?")


def test_the_file_runs_only_under_a_name_that_ends_in_sh(
    demo: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    other = shutil.copy(demo, machine.parent / "installer")
    done = run(other, "-b", "-p", prefix, shell=shell)
    refused(done, "keep its name ending in .sh")
    assert files_in(machine) == []


def test_sourcing_the_file_installs_nothing_and_leaves_the_shell_running(
    demo: Path, shell: list[str]
) -> None:
    done = subprocess.run(
        [*shell, "-c", '. "$1"; echo "still here: $?"', "-", demo],
        capture_output=True,
        text=True,
        check=False,
    )
    # bash finds by itself that the file is "binary".
    assert done.stdout in ("still here: 1\n", "still here: 126\n")
    assert "cannot be sourced" in done.stderr or "cannot execute binary file" in done.stderr


# --- an installation ----------------------------------------------------------------------------


def test_batch_mode_installs_without_a_question(
    demo: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    done = run(demo, "-b", "-p", prefix, shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"PREFIX={prefix}" in lines
    assert lines[-2:] == ["post_install of demo", "installation finished."]
    assert files_in(prefix.parent)[0] == "1.0"
    assert not list(machine.rglob(".*install*g"))
    assert (
        subprocess.run([prefix / "bin/tool"], capture_output=True, check=True).stdout == b"works\n"
    )
    for name, (mode, content) in payloads.contents().items():
        file = prefix / name
        assert file.stat().st_mode & 0o7777 == mode
        assert file.stat().st_uid == os.getuid()
        if payloads.PLACEHOLDER.encode() not in content:
            assert file.read_bytes() == content


def test_the_placeholder_remains_only_in_its_records(
    demo: Path, machine: Path, prefix: Path
) -> None:
    assert run(demo, "-b", "-p", prefix).returncode == 0
    found = {
        name
        for name, content in contents_of(prefix).items()
        if payloads.PLACEHOLDER.encode() in content
    }
    assert found == {payloads.RECORD}
    assert not (prefix / "conda-meta/relocate.json").exists()
    assert f"install -p {prefix}\n" in (prefix / "conda-meta/history").read_text()


def test_the_product_installs_with_every_recorded_hash(
    script: Path, machine: Path, prefix: Path
) -> None:
    done = run(script, "-b", "-s", "-p", prefix)
    assert done.returncode == 0, done
    assert done.stderr == "WARNING: skipping post_install.sh by user request\n"
    assert not (prefix / "post_install.env").exists()
    assert json.loads((prefix / ".installer.info").read_bytes())["name"]
    assert checked_records(prefix) > 100
    assert files_in(machine)[:2] == ["releases", "releases/1.0"]
    assert names_in(prefix.parent) == ["1.0"]


def test_the_script_gets_the_variables_of_the_contract_and_the_prefix_as_its_directory(
    demo: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    done = run(
        demo.name, "-b", "-p", prefix, shell=shell, cwd=demo.parent, env={"LITTLEST_HUB_X": "1"}
    )
    assert done.returncode == 0, done
    lines = (prefix / "post_install.env").read_text().splitlines()
    expected = {
        "PREFIX": prefix,
        "INSTALLER_NAME": "demo",
        "INSTALLER_VER": "1.0",
        "INSTALLER_PLAT": "linux-64",
        "INSTALLER_TYPE": "SH",
        "INSTALLER_UNATTENDED": "1",
        "INSTALLER_PATH": demo,
        "FORCE": "0",
        "GREETING": 'it\'s $HOME "here"',
        "LITTLEST_HUB_X": "1",
        "cwd": prefix,
    }
    assert {f"{name}={value}" for name, value in expected.items()} <= set(lines)


def test_the_default_prefix_is_below_the_chosen_base(demo: Path, machine: Path) -> None:
    assert run(demo, "-b", env={"LITTLEST_HUB_BASE": str(machine / "base")}).returncode == 0
    assert (machine / "base/releases/1.0/bin/tool").exists()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("hub", "hub"),
        ("./a//b/./../hub/", "a/hub"),
        ("../machine/hub", "hub"),
        ("x/../../machine/y/../hub", "hub"),
    ],
)
def test_a_relative_prefix_counts_from_the_current_directory(
    anywhere: Path, machine: Path, shell: list[str], given: str, meant: str
) -> None:
    done = run(anywhere, "-b", "-p", given, cwd=machine, shell=shell)
    assert f"PREFIX={machine / meant}\n" in done.stdout
    assert (machine / meant / "bin/tool").read_text().startswith(f"#!{machine / meant}/bin")


def test_an_existing_empty_directory_is_used(demo: Path, machine: Path, prefix: Path) -> None:
    prefix.mkdir(parents=True)
    assert run(demo, "-b", "-p", prefix).returncode == 0
    assert (prefix / "bin/tool").exists()


def test_a_user_who_is_not_root_can_install_and_it_is_noted(installer: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="installer-") as scratch:
        prefix = Path(scratch) / "hub"
        shell = ["sh"]
        if os.getuid() == 0:
            nobody = 65534
            shell = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", "sh"]
            installer = Path(shutil.copy(installer, scratch))
            os.chown(scratch, nobody, nobody)
        done = run(installer, "-b", "-s", "-p", prefix, shell=shell)
        assert done.returncode == 0, done
        assert (prefix / ".nonadmin").exists()
        assert checked_records(prefix) > 100


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.row(17)
def test_twenty_random_flipped_bytes_are_all_refused(
    script: Path, machine: Path, prefix: Path
) -> None:
    chance = random.Random(20)
    data = script.read_bytes()
    header = data.index(b"\nmain ") + 20
    # Half of them in the header, which is a small part of the file and the part that is executed.
    places = [chance.randrange(header) for _ in range(10)]
    places += [chance.randrange(header, len(data)) for _ in range(10)]
    copy = machine / "copy.sh"
    copy.write_bytes(data)
    for place in places:
        flipped = bytes([data[place] ^ chance.randrange(1, 256)])
        with copy.open("r+b") as stream:
            stream.seek(place)
            stream.write(flipped)
        done = run(copy, "-b", "-s", "-p", prefix, cwd=machine)
        assert done.returncode != 0, (place, flipped)
        assert files_in(machine) == ["copy.sh"], (place, flipped)
        with copy.open("r+b") as stream:
            stream.seek(place)
            stream.write(data[place : place + 1])
    done = run(copy, "-b", "-s", "-p", prefix)
    assert done.returncode == 0, "the copy is whole again, and is to be accepted"


def test_no_damaged_byte_turns_a_refusal_into_a_success(
    demo: Path, machine: Path, prefix: Path
) -> None:
    data = demo.read_bytes()
    start = data.index(b"        damaged header ")
    copy = machine / "copy.sh"
    copy.write_bytes(data)
    with copy.open("r+b", buffering=0) as stream:
        for place in range(start, data.index(b"\nesac", start)):
            for byte in set(b"01;&#\n") - {data[place]}:
                os.pwrite(stream.fileno(), bytes([byte]), place)
                done = run(copy, "-b", "-p", prefix, cwd=machine)
                assert done.returncode != 0, (place, chr(byte))
            os.pwrite(stream.fileno(), data[place : place + 1], place)
    assert not prefix.exists()


def test_a_refusal_of_a_damaged_payload_names_both_sums(
    demo: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    data = bytearray(demo.read_bytes())
    data[-1000] ^= 1
    copy = machine / "copy.sh"
    copy.write_bytes(data)
    start = int(data.split(b"\nHEADER_BLOCKS=")[1].split(b"\n")[0]) * 512
    found = hashlib.sha256(data[start:]).hexdigest()
    expected = hashlib.sha256(demo.read_bytes()[start:]).hexdigest()
    done = run(copy, "-b", "-p", prefix, shell=shell)
    refused(done, DAMAGED, f"sha256 of its payload is {found} and should be {expected}")
    assert files_in(machine) == ["copy.sh"]


def damaged(script: Path, copy: Path, content: bytes) -> Path:
    """Return the installer with one byte changed, in the middle of a text that it contains once."""
    data = bytearray(script.read_bytes())
    assert data.count(content) == 1
    data[data.index(content) + len(content) // 2] ^= 1
    copy.write_bytes(data)
    return copy


def test_no_part_of_a_damaged_payload_is_run(
    payload: Payload, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    """It does not run even if it unpacks without an error."""
    ran = tmp_path / "ran"
    content = random.Random(3).randbytes(300)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, mode, data in (
            ("bin/says", 0o755, f"#!/bin/sh\n: >{ran}\n".encode()),
            ("share/data", 0o644, content),
        ):
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(data)
            tar.addfile(member, io.BytesIO(data))
    parts = [[zstandard.compress(archive.getvalue())]]
    script = builder.write(
        dataclasses.replace(payload, parts=parts, python="bin/says", post_install=None),
        tmp_path / "says.sh",
    )
    refused(run(damaged(script, tmp_path / "copy.sh", content), "-b", "-p", prefix), DAMAGED)
    assert not ran.exists()
    assert files_in(machine) == []
    assert run(script, "-b", "-p", prefix).returncode == 0
    assert ran.exists(), "the test would have noticed"


def test_a_damaged_decompressor_is_not_run(
    payload: Payload, demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    copy = damaged(demo, tmp_path / "copy.sh", payload.zstd)
    done = run(copy, "-b", "-p", prefix)
    refused(done, DAMAGED)
    assert "Unpacking" not in done.stdout
    assert files_in(machine) == []


def test_a_damaged_file_asks_no_question(demo: Path, shell: list[str], tmp_path: Path) -> None:
    data = bytearray(demo.read_bytes())
    data[-1000] ^= 1
    copy = tmp_path / "copy.sh"
    copy.write_bytes(data)
    done = run(copy, shell=shell, stdin="\n")
    refused(done, DAMAGED)
    assert ">>>" not in done.stdout


@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
def test_a_truncated_download_is_refused(
    script: Path, machine: Path, prefix: Path, part: float
) -> None:
    data = script.read_bytes()
    copy = machine / "copy.sh"
    copy.write_bytes(data[: int(len(data) * part)])
    done = run(copy, "-b", "-s", "-p", prefix)
    assert done.returncode != 0
    assert files_in(machine) == ["copy.sh"]
    if part > 0.1:
        refused(
            done, DAMAGED, f"The file has {copy.stat().st_size} bytes and should have {len(data)}."
        )


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.12", "2.27.9", "1.99", "2.08", "none"])
def test_an_older_glibc_is_refused(
    script: Path, shell: list[str], machine: Path, prefix: Path, version: str
) -> None:
    done = run(script, "-b", "-p", prefix, shell=shell, env={"CONDA_OVERRIDE_GLIBC": version})
    refused(done, f"Installer requires GLIBC >=2.28, but system has {version}.")
    assert files_in(machine) == []


@pytest.mark.parametrize("version", ["2.28", "2.100", "3.0", ""])
def test_a_glibc_that_is_new_enough_is_accepted(
    demo: Path, machine: Path, prefix: Path, version: str
) -> None:
    done = run(demo, "-b", "-p", prefix, env={"CONDA_OVERRIDE_GLIBC": version})
    assert done.returncode == 0, done


def test_another_architecture_is_refused_in_batch_mode_and_asked_about_otherwise(
    script: Path, machine: Path, prefix: Path
) -> None:
    need("linux32")
    batch = run(script, "-b", "-p", prefix, shell=["linux32", "sh"])
    refused(batch, "ERROR: this installer is for Linux x86_64, and this machine is Linux i686")
    asked = run(script, "-p", prefix, shell=["linux32", "sh"], stdin="no\n")
    assert asked.returncode == 2
    assert "WARNING: this installer is for Linux x86_64" in asked.stdout
    assert files_in(machine) == []


def test_a_minimal_machine_is_sufficient(
    licensed: Path, machine: Path, prefix: Path, tmp_path: Path, namespace: None
) -> None:
    """It has a shell, coreutils, sed, tar and getconf: no find, flock, more, envsubst or ldd."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in MINIMAL:
        found = shutil.which(name)
        assert found is not None, name
        shutil.copy(found, tools / name)
    # The interpreter of the small environment is the machine's.
    python = Path(sys.executable).resolve()
    shutil.copy(python, tools / python.name)
    commands = 'mount --bind "$1" /usr/sbin && mount --bind "$1" /usr/bin && exec sh "$2" -p "$3"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", commands, "sh", tools, licensed, prefix],
        input="\nyes\n\nx\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "You may do as you like." in done.stdout
    assert checked_records(prefix) > 100


# --- the caller's environment -------------------------------------------------------------------


@pytest.mark.row(24)
def test_the_callers_umask_does_not_matter(demo: Path, machine: Path, prefix: Path) -> None:
    assert run(demo, "-b", "-p", prefix, umask=0o077).returncode == 0
    assert "umask=0022" in (prefix / "post_install.env").read_text()
    for path in (prefix.parent, *prefix.parent.rglob("*")):
        expected = 0o755 if path.is_dir() or path.parent.name == "bin" else 0o644
        if path.name != "post_install.env":
            assert path.stat().st_mode & 0o777 == expected or path.is_symlink(), path


def test_the_callers_variables_do_not_matter(
    script: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    hostile = {
        "CONDA_ALWAYS_SOFTLINK": "1",
        "CONDA_PREFIX": "/nowhere",
        "MAMBA_ROOT_PREFIX": "/nowhere",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": "/nowhere",
        "LD_LIBRARY_PATH": str(tmp_path),
        "TAR_OPTIONS": "--exclude=bin",
        "TMPDIR": "/nowhere",
        "TMP": "/nowhere",
        "TEMP": "/nowhere",
        "CDPATH": "/usr",
        "POSIXLY_CORRECT": "1",
        "ENV": "/nowhere",
        "BASH_ENV": "/nowhere",
    }
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    done = run(script, "-b", "-s", "-p", prefix, env=hostile, cwd=tmp_path)
    assert done.returncode == 0, done
    assert checked_records(prefix) > 100
    done = run(script, "-b", "-s", "-p", prefix, env=hostile, shell=["bash"])
    refused(done, "File or directory already exists")


def test_an_empty_path_does_not_become_the_current_directory(
    demo: Path, machine: Path, prefix: Path
) -> None:
    assert run(demo, "-b", "-p", prefix, shell=["/bin/sh"], env={"PATH": ""}).returncode == 0
    lines = (prefix / "post_install.env").read_text().splitlines()
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin" in lines


def test_the_script_sees_none_of_them(demo: Path, machine: Path, prefix: Path) -> None:
    names = ["CONDA_X", "MAMBA_X", "PYTHONHOME", "LD_PRELOAD", "TMPDIR", "TMP", "TEMP", "CONDARC"]
    hostile = dict.fromkeys(names, "/nowhere")
    assert run(demo, "-b", "-p", prefix, env=hostile).returncode == 0
    lines = (prefix / "post_install.env").read_text().splitlines()
    assert not set(names) & {line.partition("=")[0] for line in lines}


@pytest.mark.row(24)
def test_temporary_files_on_a_noexec_file_system_do_not_matter(
    script: Path, machine: Path, prefix: Path, namespace: None
) -> None:
    (machine / "tmp").mkdir()
    commands = 'mount -t tmpfs -o noexec tmpfs "$1" && TMPDIR="$1" sh "$2" -b -s -p "$3"'
    command: list[str | Path] = [
        "unshare",
        "-m",
        "sh",
        "-c",
        commands,
        "sh",
        machine / "tmp",
        script,
        prefix,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert checked_records(prefix) > 100


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"])
def test_the_environment_of_a_service_is_no_obstacle(
    demo: Path, shell: list[str], machine: Path, prefix: Path, closed: str
) -> None:
    script = f'prefix=$1; shift; exec "$@" -b -p "$prefix" {closed}'
    command: list[str | Path] = ["sh", "-c", script, "sh", prefix, *shell, demo]
    # As a service has it (systemd.exec(5), IgnoreSIGPIPE=): nothing may depend on that signal.
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, restore_signals=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- the prefix ---------------------------------------------------------------------------------


@pytest.mark.row(34)
@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("uid", "gid", "mode", "is_accepted"),
    [
        (1000, 0, 0o755, False),
        (0, 50, 0o775, False),
        (0, 0, 0o757, False),
        (0, 0, 0o775, True),
        (0, 50, 0o1777, True),
    ],
)
def test_root_installs_only_where_nobody_else_can_replace_the_prefix(
    demo: Path, shell: list[str], tmp_path: Path, uid: int, gid: int, mode: int, is_accepted: bool
) -> None:
    # A link to a link, through a directory that is relative to it.
    real = tmp_path / "disk/class"
    (real / "hub").mkdir(parents=True)
    (tmp_path / "srv").symlink_to("./disk/../disk")
    (tmp_path / "machine").symlink_to(tmp_path / "srv/class")
    os.chown(real, uid, gid)
    real.chmod(mode)
    done = run(demo, "-b", "-p", tmp_path / "machine/hub/releases/1.0", shell=shell)
    if is_accepted:
        assert done.returncode == 0, done.stderr
    else:
        refused(done, f"'{real}' belongs to ", f"has mode {mode:o}", f"chmod go-w {real}")
        assert names_in(real / "hub") == []


def test_a_prefix_with_spaces_is_refused(script: Path, machine: Path) -> None:
    done = run(script, "-b", "-p", machine / "two words")
    refused(done, "ERROR: Cannot install into directories with spaces")
    assert files_in(machine) == []


@pytest.mark.parametrize("character", "'\"$:%#;&|<>()*?[]{}!^`\\~\t\n")
def test_a_prefix_that_would_break_scripts_or_units_is_refused(
    demo: Path, machine: Path, shell: list[str], character: str
) -> None:
    given = machine / f"a{character}b"
    done = run(demo, "-b", "-p", given, shell=shell)
    refused(done, f"ERROR: Cannot install into '{given}'", "cannot be used in a prefix")
    assert files_in(machine) == []


def test_a_prefix_may_contain_letters_of_all_languages(anywhere: Path, machine: Path) -> None:
    prefix = machine / "jürgen-Ωmega@x86_64+1,2=3"
    assert run(anywhere, "-b", "-p", prefix, env={"LC_ALL": "C"}).returncode == 0
    assert (
        subprocess.run([prefix / "bin/tool"], capture_output=True, check=True).stdout == b"works\n"
    )


def test_the_longest_prefix_works_and_one_byte_more_is_refused(
    anywhere: Path, machine: Path
) -> None:
    limit = 127 - len("#!/bin/python3")
    if len(str(machine)) > limit - 10:
        missing("the temporary directory has too long a name")
    longest = machine / ("x" * (limit - len(str(machine)) - 1))
    done = run(anywhere, "-b", "-p", f"{longest}y")
    refused(done, f"has {limit + 1} bytes, and the limit is {limit}")
    assert files_in(machine) == []
    assert run(anywhere, "-b", "-p", longest).returncode == 0
    assert (
        subprocess.run([longest / "bin/tool"], capture_output=True, check=True).stdout == b"works\n"
    )


def test_a_prefix_that_the_script_cannot_use_is_refused_before_anything_is_unpacked(
    script: Path, shell: list[str], machine: Path
) -> None:
    rest = rest_of(script)
    done = run(script, "-b", "-u", "-p", f"{machine}/hub/", shell=shell)
    refused(
        done,
        f"ERROR: the prefix '{machine}/hub' does not end in /{rest}",
        f"Did you mean LITTLEST_HUB_BASE={machine}/hub sh {script} -b -u ?",
        f"Or -p {machine}/hub/{rest}\n",
    )
    assert "Unpacking" not in done.stdout
    assert files_in(machine) == []
    other_release = run(script, "-b", "-p", machine / "hub/releases/0")
    refused(
        other_release,
        f"Did you mean LITTLEST_HUB_BASE={machine}/hub sh ",
        f"Or -p {machine}/hub/{rest}\n",
    )


def test_without_the_script_every_prefix_is_allowed(demo: Path, machine: Path) -> None:
    assert run(demo, "-b", "-s", "-p", machine / "hub").returncode == 0
    assert run(demo, "-s", stdin=f"{machine}/typed\n").returncode == 0
    assert names_in(machine) == ["hub", "typed"]


def test_an_installer_without_a_script_allows_every_prefix(
    payload: Payload, machine: Path, tmp_path: Path
) -> None:
    plain = builder.write(dataclasses.replace(payload, post_install=None), tmp_path / "plain.sh")
    assert run(plain, "-b", "-p", machine / "hub").returncode == 0
    assert names_in(machine) == ["hub"]


def test_a_user_without_access_to_the_default_prefix_gets_a_command_for_another(
    script: Path,
) -> None:
    need("root")
    with tempfile.TemporaryDirectory(prefix="installer-") as scratch:
        Path(scratch).chmod(0o755)
        copy = Path(shutil.copy(script, scratch))
        name = "demo" if "demo" in copy.name else "littlest-hub"
        shell = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh"]
        done = run(copy, "-b", shell=shell, env=based_in(f"{scratch}/base"))
        refused(
            done,
            f"'{scratch}' cannot be written to by ",
            f"Use sudo, or a directory of your own: LITTLEST_HUB_BASE=$HOME/{name} sh {copy} -b\n",
        )


def test_an_existing_prefix_is_refused(script: Path, machine: Path, prefix: Path) -> None:
    prefix.mkdir(parents=True)
    (prefix / "precious").touch()
    done = run(script, "-b", "-s", "-p", prefix)
    refused(
        done,
        f"ERROR: File or directory already exists: '{prefix}'",
        "If you want to update an existing installation, use the -u option.",
    )
    assert files_in(machine) == ["releases", "releases/1.0", "releases/1.0/precious"]


def test_a_file_in_the_way_is_refused(demo: Path, machine: Path, prefix: Path) -> None:
    prefix.parent.touch()
    done = run(demo, "-b", "-p", prefix)
    refused(done, f"ERROR: Could not create directory: '{prefix}'", "is not a directory")
    assert prefix.parent.is_file()


def test_a_read_only_target_is_refused(demo: Path, machine: Path, namespace: None) -> None:
    done = run_where_mounted(demo, machine, "ro")
    refused(
        done, f"Could not create directory: '{machine}/releases/1.0'", "cannot be written to by"
    )


def test_a_noexec_target_is_refused_and_left_empty(
    script: Path, machine: Path, namespace: None
) -> None:
    done = run_where_mounted(script, machine, "noexec")
    refused(done, f"ERROR: programs cannot be run in '{machine}/releases'", "noexec")
    assert done.stdout.endswith("left: \n")


def test_too_small_a_disk_is_refused_and_left_empty(
    script: Path, machine: Path, namespace: None
) -> None:
    done = run_where_mounted(script, machine, "size=30m")
    refused(done, "ERROR: Not enough free disk space. Only 29 MB are available, but")
    assert "Unpacking" not in done.stdout
    assert done.stdout.endswith("left: \n")


@pytest.mark.parametrize("before", [0, 1], ids=["the only part", "the second part"])
def test_a_disk_that_fills_up_is_left_empty(
    payload: Payload, machine: Path, namespace: None, tmp_path: Path, before: int
) -> None:
    """Another process may write to the disk at the same time. Here the recorded size is wrong."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("large")
        member.size = 80 << 20
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    parts = [*payload.parts[:before], [zstandard.compress(archive.getvalue())]]
    larger = dataclasses.replace(payload, parts=parts, size_bytes=1)
    script = builder.write(larger, tmp_path / "larger.sh")
    done = run_where_mounted(script, machine, "size=70m")
    # The reason as tar has it, although there was no room for it on that disk.
    assert re.match("tar: large: (Cannot write|Wrote only)", done.stderr), done
    refused(done, "ERROR: unpacking into", "There are 0 MB left on that disk")
    assert done.stdout.endswith("left: \n")


def test_a_disk_without_inodes_is_left_empty(demo: Path, machine: Path, namespace: None) -> None:
    for inodes in (2, 3, 4, 6, 50):
        done = run_where_mounted(demo, machine, f"size=100m,nr_inodes={inodes}")
        assert done.returncode == 1, done
        assert "ERROR: " in done.stderr
        assert not re.search("^(cat|tr|head):", done.stderr, re.MULTILINE), done
        assert done.stdout.endswith("left: \n"), done


# --- failure and interruption -------------------------------------------------------------------


def test_a_failing_script_leaves_nothing_and_a_retry_succeeds(
    demo: Path, machine: Path, prefix: Path
) -> None:
    done = run(demo, "-b", "-p", prefix, env={"LITTLEST_HUB_TEST": "fail"})
    refused(done, "units cannot be written", "ERROR: executing post_install.sh failed")
    assert files_in(machine) == []
    assert run(demo, "-b", "-p", prefix).returncode == 0


def test_a_failing_script_restores_an_empty_directory(
    demo: Path, machine: Path, prefix: Path
) -> None:
    prefix.mkdir(parents=True)
    assert run(demo, "-b", "-p", prefix, env={"LITTLEST_HUB_TEST": "fail"}).returncode == 1
    assert files_in(machine) == ["releases", "releases/1.0"]


def test_a_payload_that_does_not_relocate_leaves_nothing(
    payload: Payload, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    broken = dataclasses.replace(payload, python="bin/missing")
    script = builder.write(broken, tmp_path / "broken.sh")
    refused(run(script, "-b", "-p", prefix), "ERROR: setting paths in")
    assert files_in(machine) == []


def test_a_decompressor_that_fails_is_noticed(
    payload: Payload, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    """It is noticed even if tar succeeds: the exit code of both ends of the pipe counts."""
    zstd = b'#!/bin/sh\n[ "$1" = --version ] || { head -c 10240 /dev/zero; exit 1; }\n'
    script = builder.write(dataclasses.replace(payload, zstd=zstd), tmp_path / "broken.sh")
    refused(run(script, "-b", "-p", prefix), "ERROR: unpacking into")
    assert files_in(machine) == []


@pytest.fixture(scope="session")
def slow(payload: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installer with slow phases, so that each can be interrupted."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3000):
            tar.addfile(tarfile.TarInfo(f"share/slow/{number}"))
        member = tarfile.TarInfo("share/slow/large")
        member.size = 100 << 20
        tar.addfile(member, io.BytesIO(bytes(member.size)))
        end = tar.offset
    # Everything of the small one comes behind it, and ends the archive.
    first, *others = payload.parts
    parts = [[zstandard.compress(archive.getvalue()[:end], 1), *first], *others]
    larger = dataclasses.replace(payload, parts=parts, size_bytes=payload.size_bytes + (100 << 20))
    return builder.write(larger, tmp_path_factory.mktemp("slow") / "slow.sh")


@contextlib.contextmanager
def started(
    script: Path,
    prefix: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    shell: Sequence[str] = ("sh",),
) -> Iterator[subprocess.Popen[str]]:
    """Run an installer in a new process group, and kill it at the end."""
    # A process that ignores hang-ups (nohup) passes that on, and may have started the tests.
    process = subprocess.Popen(
        ["env", "--default-signal", *shell, script, "-b", *options, "-p", prefix],
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def moments(script: Path, prefix: Path, count: int) -> list[float]:
    """Return `count` times in seconds, spread over one installation, which is then removed."""
    start = os.times().elapsed
    assert run(script, "-b", "-s", "-p", prefix).returncode == 0
    duration = os.times().elapsed - start
    shutil.rmtree(prefix.parent)
    return [duration * (number + 0.5) / count for number in range(count)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_at_any_moment_leaves_nothing_and_a_retry_succeeds(
    slow: Path, machine: Path, prefix: Path, name: str
) -> None:
    number = signal.Signals[name]
    interrupted = 0
    for moment in moments(slow, prefix, 8):
        with started(slow, prefix) as process:
            if ends_within(process, moment):
                shutil.rmtree(prefix.parent)
                continue
            process.send_signal(number)
            code = process.wait(60)
        if code == 0:  # the moment was one after which all is in place
            shutil.rmtree(prefix.parent)
            continue
        # Before the installer has anything to undo, a signal just ends it.
        assert code in (128 + number, -number)
        assert files_in(machine) == [], (moment, code)
        interrupted += 1
    assert interrupted >= 4
    assert run(slow, "-b", "-p", prefix).returncode == 0


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh"])
def test_a_hang_up_during_unpacking_has_its_own_code_in_every_shell(
    slow: Path, machine: Path, prefix: Path, shell: str
) -> None:
    need(shell)
    staging = prefix.with_name(".1.0.installing")
    with started(slow, prefix, shell=[shell]) as process:
        eventually((staging / "prefix/share").exists, 20, "unpacking", interval_s=0.001)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
        assert files_in(machine) == []


def test_control_c_in_a_terminal_leaves_nothing(slow: Path, machine: Path, prefix: Path) -> None:
    """A terminal sends SIGINT to all foreground processes, not only to the shell."""
    for moment in moments(slow, prefix, 4):
        with started(slow, prefix) as process:
            if not ends_within(process, moment):
                os.killpg(process.pid, signal.SIGINT)
                assert process.wait(60) != 0
                assert files_in(machine) == []
            else:
                shutil.rmtree(prefix.parent)


def test_a_signal_while_the_directory_is_locked_leaves_nothing(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    """The first call of flock, here a function, lasts until the signal."""
    waiting = tmp_path / "waiting"
    wait_once = f"""() {{
        if [ -e {waiting} ]; then command flock "$@"; return; fi
        : >{waiting}
        while :; do command sleep 0.01; done
    }}"""
    with started(demo, prefix, env={"BASH_FUNC_flock%%": wait_once}, shell=["bash"]) as process:
        eventually(waiting.exists, 20, "the lock to be taken", interval_s=0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert files_in(machine) == []


def test_a_signal_during_the_script_ends_it_and_leaves_nothing(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    waiting = tmp_path / "waiting"
    with started(demo, prefix, env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}) as process:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert files_in(machine) == []


def test_the_script_has_90_s_to_undo_its_changes(
    payload: Payload, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    """The installer counts time by its calls of sleep, here a function that returns at once.

    The 850th call, at 85 s, returns when the script has undone everything.
    """
    waiting, ticks, undone = tmp_path / "waiting", tmp_path / "ticks", tmp_path / "undone"
    post_install = f"""
        undo() {{
            while [ "$(cat {ticks} | wc -l)" -lt 850 ]; do command sleep 0.01; done
            : > {undone}
            exit 1
        }}
        trap undo TERM
        : > {waiting}
        while :; do command sleep 0.01; done
    """
    script = builder.write(
        dataclasses.replace(payload, post_install=post_install), tmp_path / "undo.sh"
    )
    count = f"""() {{
        echo tick >>{ticks}
        calls=$((${{calls-0}} + 1))
        while [ "$calls" -ge 850 ] && [ ! -e {undone} ]; do command sleep 0.01; done
    }}"""
    counted = {"BASH_FUNC_sleep%%": count}
    with started(script, prefix, env=counted, shell=["bash"]) as process:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        ticks.write_text("")
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 143
    assert undone.exists()
    assert not prefix.exists()


def test_a_reader_that_exits_leaves_nothing_or_a_complete_installation(
    demo: Path, machine: Path, prefix: Path
) -> None:
    command: list[str | Path] = [
        "bash",
        "-c",
        'sh "$1" -b -p "$2" | head -n 1; exit "${PIPESTATUS[0]}"',
        "-",
        demo,
        prefix,
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode == 0) == prefix.exists()
    assert files_in(machine) == [] or done.returncode == 0


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def test_the_next_run_removes_the_remains_after_sigkill(
    slow: Path, machine: Path, prefix: Path
) -> None:
    left = set()
    for moment in moments(slow, prefix, 8):
        with started(slow, prefix) as process:
            if not ends_within(process, moment):
                kill_group(process)
                process.wait(60)
        left |= {path.name for path in prefix.parent.glob("*")} | {
            path.name for path in prefix.parent.glob(".*")
        }
        done = run(slow, "-b", "-p", prefix)
        if done.returncode != 0:  # it was complete before it was killed
            refused(done, "File or directory already exists")
        assert names_in(prefix.parent) == ["1.0"]
        assert checked_records(prefix) > 100
        shutil.rmtree(prefix.parent)
    assert left <= {"1.0", ".1.0.installing"}
    assert ".1.0.installing" in left


def test_after_sigkill_at_any_moment_an_immediate_retry_succeeds(
    slow: Path, machine: Path, prefix: Path
) -> None:
    """Only the shell is killed. What it has started still runs, and holds the lock."""
    orphans = 0
    for moment in moments(slow, prefix, 4):
        with started(slow, prefix) as process:
            if not ends_within(process, moment * random.uniform(0.9, 1.1)):
                process.kill()
                process.wait(60)
            staging = prefix.with_name(".1.0.installing")
            orphans += bool(holders_of(staging / "lock"))
            done = run(slow, "-b", "-p", prefix)
            assert holders_of(staging / "lock") == []
        if done.returncode != 0:  # it was complete before it was killed
            refused(done, "File or directory already exists")
        assert names_in(prefix.parent) == ["1.0"]
        assert checked_records(prefix) > 100
        shutil.rmtree(prefix.parent)
    assert orphans > 0


def holders_of(lock: Path) -> list[str]:
    """Return the names of the processes that have a file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.samefile(lock):
                found.append((link.parents[1] / "comm").read_text())
    return found


@pytest.mark.parametrize("has_flock", [True, False])
def test_a_retry_waits_for_the_script_of_a_killed_installer(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path, namespace: None, has_flock: bool
) -> None:
    waiting = tmp_path / "waiting"
    shell = ["sh"] if has_flock else WITHOUT_FLOCK
    with started(demo, prefix, env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}, shell=shell) as first:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        first.kill()
        first.wait(60)
        with started(demo, prefix, shell=shell) as retry:
            assert retry.stdout is not None
            lines = iter(retry.stdout.readline, "")
            assert "Waiting for the processes of an earlier installation to end...\n" in lines
            assert (prefix / "fifo").exists(), "the script is not disturbed"
            (prefix / "fifo").write_text("go on\n")
            assert retry.wait(60) == 0
    assert not (prefix / "fifo").exists()
    assert names_in(prefix.parent) == ["1.0"]


def test_a_retry_that_has_waited_long_enough_names_what_still_runs(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    waiting = tmp_path / "waiting"
    with started(demo, prefix, env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}) as first:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        first.kill()
        first.wait(60)
        before = files_in(machine)
        # The installer counts time by its calls of sleep, here a function that returns at once.
        done = run(demo, "-b", "-p", prefix, env={"BASH_FUNC_sleep%%": "() { :; }"}, shell=["bash"])
        refused(done, ".1.0.installing/lock' is still locked, by processes of an earlier")
        named = re.findall(r" (\d+)", done.stderr)
        assert named
        commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in named]
        assert any("post_install.sh" in command for command in commands)
        assert all(str(prefix.parent) in command for command in commands)
        assert files_in(machine) == before


def test_an_installation_killed_in_its_script_is_replaced_by_the_next_run(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    waiting = tmp_path / "waiting"
    with started(demo, prefix, env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}) as process:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        kill_group(process)
        process.wait(60)
    assert (prefix / "fifo").exists()
    # A run that fails leaves it as it was, for the next one to replace: it may be in use by now.
    failed = run(demo, "-b", "-p", prefix, env={"LITTLEST_HUB_TEST": "fail"})
    refused(failed, "ERROR: executing post_install.sh failed")
    assert (prefix / "fifo").exists()
    assert run(demo, "-b", "-p", prefix).returncode == 0
    assert not (prefix / "fifo").exists()
    assert names_in(prefix.parent) == ["1.0"]


@pytest.mark.parametrize("has_flock", [True, False])
def test_another_running_installer_is_left_alone(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path, namespace: None, has_flock: bool
) -> None:
    waiting = tmp_path / "waiting"
    shell = ["sh"] if has_flock else WITHOUT_FLOCK
    with started(demo, prefix, env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}, shell=shell) as first:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        before = files_in(machine)
        done = run(demo, "-b", "-p", prefix, shell=shell)
        refused(
            done,
            f"ERROR: another installation into '{prefix}' is running (process {first.pid})",
            "Wait until it has ended",
        )
        assert files_in(machine) == before
        (prefix / "fifo").write_text("go on\n")
        assert first.wait(60) == 0
    assert names_in(prefix.parent) == ["1.0"]


def test_of_many_installers_started_at_once_one_installs(
    demo: Path, machine: Path, prefix: Path
) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(demo, prefix)) for _ in range(6)]
        ended = []
        for process in processes:
            assert process.stdout is not None
            output = process.stdout.read()
            ended.append((process.wait(60), output))
    assert [code for code, _ in ended].count(0) == 1, ended
    for code, output in ended:
        assert code == 0 or "is running (process" in output or "already exists" in output
    assert names_in(prefix.parent) == ["1.0"]
    assert checked_records(prefix) > 100


def test_a_staging_directory_of_another_user_is_not_touched(
    demo: Path, machine: Path, prefix: Path
) -> None:
    need("root")
    staging = prefix.with_name(".1.0.installing")
    staging.mkdir(parents=True)
    (staging / "theirs").touch()
    os.chown(staging, 65534, 65534)
    refused(run(demo, "-b", "-p", prefix), "belongs to another user")
    assert (staging / "theirs").exists()
    assert not prefix.exists()


# --- replacing an installation ------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-u", "-f"])
def test_an_update_replaces_an_installation_completely(
    demo: Path, machine: Path, prefix: Path, option: str
) -> None:
    assert run(demo, "-b", option, "-p", prefix).returncode == 0
    whole = contents_of(prefix)
    (prefix / "etc/plain").write_text("changed")
    (prefix / "lib/dropped-package.py").touch()
    (prefix / "bin/tool").unlink()
    done = run(demo, "-b", option, "-p", prefix)
    assert done.returncode == 0, done
    assert contents_of(prefix) == whole
    assert names_in(prefix.parent) == ["1.0"]
    assert "FORCE=1" in (prefix / "post_install.env").read_text().splitlines()


def test_a_failing_update_restores_the_old_installation(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    assert run(demo, "-b", "-p", prefix).returncode == 0
    (prefix / "etc/plain").write_text("the old one")
    before, inode = contents_of(prefix), prefix.stat().st_ino
    done = run(demo, "-b", "-u", "-p", prefix, env={"LITTLEST_HUB_TEST": "fail"})
    refused(done, "ERROR: executing post_install.sh failed")
    assert (contents_of(prefix), prefix.stat().st_ino) == (before, inode)
    waiting = tmp_path / "waiting"
    with started(demo, prefix, "-u", env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}) as process:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert (contents_of(prefix), prefix.stat().st_ino) == (before, inode)
    assert names_in(prefix.parent) == ["1.0"]


def test_the_next_run_restores_the_old_installation_after_a_killed_update(
    demo: Path, machine: Path, prefix: Path, tmp_path: Path
) -> None:
    assert run(demo, "-b", "-p", prefix).returncode == 0
    (prefix / "etc/plain").write_text("the old one")
    before = contents_of(prefix)
    waiting = tmp_path / "waiting"
    with started(demo, prefix, "-u", env={"LITTLEST_HUB_TEST": f"wait:{waiting}"}) as process:
        eventually(waiting.exists, 20, "the script to run", interval_s=0.01)
        kill_group(process)
        process.wait(60)
    assert contents_of(prefix) != before
    refused(run(demo, "-b", "-p", prefix), "File or directory already exists")
    assert contents_of(prefix) == before
    assert names_in(prefix.parent) == ["1.0"]


def test_an_update_refuses_a_directory_that_is_not_an_installation(
    anywhere: Path, machine: Path, prefix: Path
) -> None:
    (machine / "precious").write_text("mine")
    refused(run(anywhere, "-b", "-u", "-p", machine), "is not an installation")
    assert run(anywhere, "-b", "-p", prefix).returncode == 0
    (prefix / "envs").mkdir()
    refused(run(anywhere, "-b", "-u", "-p", prefix), "has environments in it, which would be lost")
    link = machine / "hub"
    link.symlink_to(prefix)
    refused(run(anywhere, "-b", "-u", "-p", link), "is a symbolic link", f"Use -p {prefix}")
    assert (machine / "precious").read_text() == "mine"
    assert link.is_symlink()


def test_an_update_replaces_no_other_conda_installation(
    demo: Path, machine: Path, prefix: Path
) -> None:
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta/history").touch()
    (prefix / "conda-meta/python-3.13.5-0.json").touch()
    done = run(demo, "-b", "-s", "-u", "-p", prefix)
    refused(done, f"ERROR: '{prefix}' is not an installation of demo, and is not replaced")
    assert names_in(prefix / "conda-meta") == ["history", "python-3.13.5-0.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-b"], "ERROR: File or directory already exists"),
        (["-b", "-u"], "is not an installation of demo, and is not replaced"),
    ],
)
def test_a_directory_that_appears_at_the_prefix_during_unpacking_is_kept(
    payload: Payload,
    machine: Path,
    prefix: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
) -> None:
    tree = tmp_path / "tree.tar"
    part = payload.parts[0]
    tree.write_bytes(b"".join(zstandard.decompress(f) for f in part if isinstance(f, bytes)))
    unpack = f"cat >/dev/null; mkdir {prefix}; : >{prefix}/precious; cat {tree}"
    zstd = f'#!/bin/sh\nif [ "$1" = -d ]; then {unpack}; fi\n'.encode()
    meanwhile = dataclasses.replace(payload, zstd=zstd, parts=[part])
    script = builder.write(meanwhile, tmp_path / "meanwhile.sh")
    refused(run(script, *options, "-p", prefix), message)
    assert files_in(machine) == ["releases", "releases/1.0", "releases/1.0/precious"]


# --- questions ----------------------------------------------------------------------------------


def test_interactive_mode_asks_for_the_location_and_passes_answers_on(
    demo: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    done = run(demo, shell=shell, stdin=f"{prefix}\nfor the script\n")
    assert done.returncode == 0, done
    assert "Welcome to demo 1.0" in done.stdout
    assert "[/opt/demo/releases/1.0] >>> " in done.stdout
    assert done.stdout.endswith("Thank you for installing demo!\n")
    assert (prefix / "answer").read_text() == "for the script\n"
    assert "INSTALLER_UNATTENDED=0" in (prefix / "post_install.env").read_text().splitlines()


def test_a_typed_location_is_a_base_directory_or_ends_like_the_default(
    demo: Path, machine: Path
) -> None:
    prefix = machine / "releases/1.0"
    for answer in (str(machine), f"{machine}/", str(prefix), f"{prefix}/", "releases/1.0"):
        done = run(demo, stdin=f"{answer}\nx\n", cwd=machine)
        assert done.returncode == 0, done
        assert (
            "  - or type another base directory, to install into its releases/1.0\n" in done.stdout
        )
        assert names_in(machine) == ["releases"]
        assert names_in(prefix.parent) == ["1.0"]
        shutil.rmtree(prefix.parent)


def test_a_location_that_expands_to_nothing_is_refused(demo: Path) -> None:
    need("envsubst")
    refused(run(demo, stdin="$NOT_SET_ANYWHERE\nx\n"), "ERROR: the prefix is empty")


def test_a_typed_location_is_used_unchanged_if_any_prefix_is_allowed(
    anywhere: Path, machine: Path
) -> None:
    done = run(anywhere, stdin=f"{machine}/hub\nx\n")
    assert done.returncode == 0, done
    assert "  - or type another location\n" in done.stdout
    assert names_in(machine) == ["hub"]


def test_enter_confirms_the_given_location(demo: Path, machine: Path, prefix: Path) -> None:
    assert run(demo, "-p", prefix, stdin="\nx\n").returncode == 0
    assert (prefix / "bin/tool").exists()


@pytest.mark.parametrize("answer", ["~/hub", "$HOME/hub"])
def test_a_location_may_name_the_home_directory(demo: Path, machine: Path, answer: str) -> None:
    if "$" in answer:
        need("envsubst")
    done = run(demo, stdin=f"{answer}\nx\n", env={"HOME": str(machine)})
    assert done.returncode == 0, done
    assert (machine / "hub/releases/1.0/bin/tool").exists()


def test_the_license_is_shown_and_only_yes_or_no_is_an_answer(
    licensed: Path, shell: list[str], machine: Path, prefix: Path
) -> None:
    done = run(licensed, "-p", prefix, shell=shell, stdin="\ny\nmaybe\nYES\n\nx\n")
    assert done.returncode == 0, done
    assert "You may do as you like." in done.stdout
    assert done.stdout.count("Do you accept the license terms? [yes|no]\n>>> ") == 1
    assert done.stdout.count("Please answer 'yes' or 'no':\n>>> ") == 2


def test_a_license_that_is_not_accepted_ends_with_2(
    licensed: Path, machine: Path, prefix: Path
) -> None:
    done = run(licensed, "-p", prefix, stdin="\nNo\n")
    assert done.returncode == 2
    assert "The license agreement wasn't approved, aborting installation.\n" in done.stdout
    assert files_in(machine) == []
    assert run(licensed, "-b", "-p", prefix).returncode == 0


@pytest.mark.parametrize("stdin", ["", "\n", "\nyes\n"])
def test_an_end_of_input_during_the_questions_is_refused(
    licensed: Path, machine: Path, prefix: Path, stdin: str
) -> None:
    done = run(licensed, "-p", prefix, stdin=stdin)
    refused(done, "ERROR: no answer on standard input", "use -b")
    assert files_in(machine) == []


def test_in_a_terminal_all_questions_can_be_answered(
    licensed: Path, machine: Path, prefix: Path
) -> None:
    need("script")
    command = ["script", "-qec", f"sh {licensed} -p {prefix}", "/dev/null"]
    done = subprocess.run(
        command, input="\nyes\n\nfor the script\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert (prefix / "answer").read_text() == "for the script\n"


# --- the product --------------------------------------------------------------------------------


def test_py_rattler_reads_the_installed_records_back(
    installer: Path, machine: Path, prefix: Path
) -> None:
    if importlib.util.find_spec("rattler") is None:
        missing("py-rattler is not installed")
    from rattler import PrefixRecord

    assert run(installer, "-b", "-s", "-p", prefix).returncode == 0
    records = [PrefixRecord.from_path(path) for path in (prefix / "conda-meta").glob("*.json")]
    assert {"python", "jupyterhub", "traefik"} <= {record.name.normalized for record in records}
    links = []
    for entry in (entry for record in records for entry in record.paths_data.paths):
        file = prefix / entry.relative_path
        if entry.path_type.softlink:
            links.append(entry)
        elif entry.path_type.hardlink:
            # rattler omits the second digest if both are the same.
            digest = entry.sha256_in_prefix or entry.sha256
            assert hashlib.sha256(file.read_bytes()).digest() == digest, entry
    assert "bin/python3" in {str(entry.relative_path) for entry in links}
    assert [entry for entry in links if entry.sha256_in_prefix] == []
    listed = {str(path) for record in records for path in record.files}
    present = {
        str(path.relative_to(prefix))
        for path in prefix.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    unlisted = {path for path in present - listed if not path.startswith("conda-meta/")}
    assert unlisted <= {".installer.info", ".nonadmin", "LICENSE.txt"}
    assert listed <= present


def test_the_product_runs_where_it_was_installed(
    installer: Path, machine: Path, prefix: Path
) -> None:
    assert run(installer, "-b", "-s", "-p", prefix).returncode == 0
    done = subprocess.run(
        [prefix / "bin/jupyterhub", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("6.")
