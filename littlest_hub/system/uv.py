"""uv, which resolves and installs packages: nothing of a repository or of a package is run.

`--only-binary :all:` alone does not hold that: uv 0.13 builds what is given as `--editable`
("We always allow editable builds" in its source), and reads settings beside a project. So callers
pass requirements that they have written themselves, and installing requires hashes, which a
directory cannot have.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.system import authorities, pip
from littlest_hub.system.progress import Progress

_NO_CODE = ("--only-binary", ":all:")
_TIMEOUT_S = 30
_AUTHORITIES = (Path("/etc/ssl/certs"), Path("/etc/pki/tls/certs"))
_LONGEST = 600
_MOST_LINES = 1000
_NOT_REACHED = re.compile(r"Failed to fetch|error sending request|Could not connect|dns error")
_NEEDS_CODE = re.compile(
    r"Wheels are required for `([^`]+)`|distributions for `([^`]+)` is disabled"
)
_CONCLUSION = " we can conclude that "


class NoSolutionError(LittlestHubError):
    """Requirements that cannot be satisfied together; the message has the pins that conflict."""

    def __init__(self, message: str, sources: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.sources = tuple(sources)
        """Packages that are to be had as sources only."""


class NotReachedError(LittlestHubError):
    """No answer of a package index."""


@dataclass(frozen=True)
class Indexes:
    """The sources of packages, as this machine is configured."""

    default: str = ""
    """Address of the index; "": uv's own default."""
    certificates: str = ""
    """File with certificate authorities; "": those of this machine."""
    proxy: str = ""

    @classmethod
    def of_pip(cls) -> Indexes:
        """Return those of pip's configuration, as for all packages of an installation."""
        found = pip.options()
        return cls(found.get("index-url", ""), found.get("cert", ""), found.get("proxy", ""))

    @property
    def authorities(self) -> str:
        """The file with the certificate authorities that count here, for programs beside uv."""
        return self.certificates or authorities.file()

    @property
    def variables(self) -> dict[str, str]:
        """The variables that tell uv; they may contain passwords, which arguments must not."""
        values = {
            "UV_DEFAULT_INDEX": self.default,
            "SSL_CERT_FILE": self.certificates,
            "HTTPS_PROXY": self.proxy,
            "HTTP_PROXY": self.proxy,
            # By default, uv takes only authorities that it brings. A machine may have none.
            "UV_SYSTEM_CERTS": "true" if any(map(Path.is_dir, _AUTHORITIES)) else "",
        }
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True)
class Uv:
    """The program uv with a cache."""

    program: Path
    cache: Path
    indexes: Indexes = field(default_factory=Indexes)
    descriptors: tuple[int, ...] = ()
    """Files that it keeps open: a lock that they hold outlives a caller that is killed."""

    @property
    def version(self) -> str:
        """Its version, such as 0.13.8."""
        return self._output(["--version"]).split()[1]

    def without_default(self) -> Uv:
        """Return the same for a file that names its main index, which this machine's would beat."""
        return replace(self, indexes=replace(self.indexes, default=""))

    def resolve(
        self,
        requirements: Path,
        constraints: Path,
        python: Path,
        *,
        as_of: str = "",
        prereleases: bool = False,
        version: str = "",
    ) -> str:
        """Return a list of exact versions with hashes, in pip's format, one package after another.

        Args:
            requirements: a file in pip's format, written by the caller.
            constraints: the same.
            python: the interpreter that they are for.
            as_of: a date; what was uploaded later is left out.
            prereleases: whether versions may be preliminary.
            version: the version of the Python that they are for, if it is another than that of
                the interpreter, which is run.

        Raises:
            NoSolutionError: they cannot be satisfied together.
            NotReachedError: an index does not answer.
            LittlestHubError: uv fails otherwise.
        """
        options = ["--generate-hashes", "--no-header", "--no-annotate", "--python", str(python)]
        # Like pip, take the best version of all indexes, not that of the first index that has any.
        options += ["--index-strategy", "unsafe-best-match", "--no-sources"]
        options += ["--exclude-newer", as_of] if as_of else []
        options += ["--prerelease", "allow"] if prereleases else []
        options += ["--python-version", version] if version else []
        options += ["--constraints", str(constraints)]
        return self._output(["pip", "compile", *_NO_CODE, *options, str(requirements)])

    def exported(self, project: Path, python: Path) -> str:
        """Return what a project's uv.lock contains, without the project, in pip's format.

        Raises:
            LittlestHubError: the lock file does not fit the project, or is damaged.
        """
        options = ["--frozen", "--no-emit-project", "--no-header", "--no-annotate"]
        options += ["--no-editable", "--python", str(python), "--project", str(project)]
        return self._output(["export", *options])

    def make(self, environment: Path, python: Path) -> None:
        """Make a virtual environment without packages.

        Raises:
            LittlestHubError: it cannot be made.
        """
        self._output(["venv", "--no-project", "--python", str(python), str(environment)])

    def install(self, lock: Path, environment: Path, report: Progress) -> None:
        """Make the packages of an environment those of a lock: wheels alone, with these hashes.

        Args:
            lock: a file in pip's format, written by the caller.
            environment: the virtual environment.
            report: gets uv's lines.

        Raises:
            NotReachedError: an index does not answer.
            LittlestHubError: a package is no wheel, or its hash differs.
        """
        options = ["--require-hashes", "--link-mode", "hardlink"]
        # Versions and hashes are fixed: which index has them makes no difference.
        options += ["--index-strategy", "unsafe-best-match"]
        options += ["--python", str(environment / "bin" / "python")]
        self._output(["pip", "sync", *_NO_CODE, *options, str(lock)], report)

    def unpack(
        self, lock: Path, prefix: Path, python: Path, version: str, report: Progress
    ) -> None:
        """Install the packages of a lock into a prefix for another Python, which is not run.

        Args:
            lock: a file in pip's format, written by the caller.
            prefix: the directory; its modules are where those of the interpreter would be.
            python: an interpreter, which is run, and which scripts name.
            version: the version of the Python that will use the packages.
            report: gets uv's lines.

        Raises:
            NotReachedError: an index does not answer.
            LittlestHubError: a package is no wheel, or its hash differs.
        """
        options = ["--require-hashes", "--no-deps", "--link-mode", "hardlink"]
        options += ["--index-strategy", "unsafe-best-match"]
        options += ["--python", str(python), "--python-version", version, "--prefix", str(prefix)]
        self._output(["pip", "install", *_NO_CODE, *options, "-r", str(lock)], report)

    def prune(self, names: Iterable[str] = ()) -> None:
        """Remove from the cache what uv itself no longer needs, and what it has of packages.

        Raises:
            LittlestHubError: uv fails.
        """
        self._output(["cache", "prune"])
        if given := sorted(names):
            self._output(["cache", "clean", *given])

    def clear(self) -> None:
        """Remove everything from the cache; environments keep their files.

        Raises:
            LittlestHubError: uv fails.
        """
        self._output(["cache", "clean"])

    def _output(self, words: Sequence[str], report: Progress | None = None) -> str:
        options = ["--no-config", "--color", "never", "--no-progress", "--cache-dir"]
        command = [str(self.program), *words, *options, str(self.cache)]
        with (
            tempfile.TemporaryDirectory(prefix="uv-") as home,
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(
                command,
                cwd=home,
                env=self._variables(home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                pass_fds=self.descriptors,
            ) as running,
        ):
            assert running.stderr
            errors: list[str] = []
            for line in running.stderr:
                if len(errors) < _MOST_LINES:
                    errors.append(line)
                if report and line.strip():
                    report(line.strip())
            if running.wait():
                raise _error("".join(errors))
            output.seek(0)
            return output.read()

    def _variables(self, home: str) -> dict[str, str]:
        """Return its environment: no setting, password or program of anybody's home."""
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": home,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_HTTP_TIMEOUT": str(_TIMEOUT_S),
            **self.indexes.variables,
        }


def _error(printed: str) -> LittlestHubError:
    """Return what uv's messages say, as one sentence."""
    text = " ".join(printed.split())
    sources = [first or second for first, second in _NEEDS_CODE.findall(text)]
    cause = _short(text)
    if "No solution found" in text or sources:
        return NoSolutionError(cause, list(dict.fromkeys(sources)))
    if _NOT_REACHED.search(text):
        return NotReachedError(f"a package index does not answer: {cause}")
    return LittlestHubError(f"uv: {cause}")


def _short(text: str) -> str:
    """Return the part of uv's explanation that names pins: without conclusions and hints."""
    text = text.partition(" hint: ")[0].rpartition("error: ")[2]
    text = text.removeprefix("No solution found when resolving dependencies cause: ")
    text = re.sub(r" \(\d\)|we know from \(\d\) that ", "", text)
    sentences = re.split(r"(?<=\.) (?=Because |And )", text)
    found = [each.partition(_CONCLUSION)[0].rstrip(".,") for each in sentences]
    causes = [re.sub(r"^(?:And )?[Bb]ecause ", "", each) for each in found]
    facts = [each for each in causes if not each.endswith("are incompatible")]
    short = "; ".join(dict.fromkeys(filter(None, facts)))
    return short if len(short) <= _LONGEST else f"{short[:_LONGEST]}…"
