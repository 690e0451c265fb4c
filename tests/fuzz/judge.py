"""Oracles over generated fragments, and the reduction of what fails to a few statements."""

import ast
import itertools
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given
from hypothesis import seed as with_seed
from hypothesis import settings as with_settings

from tests.eventually import NotInTimeError
from tests.fuzz import scene
from tests.fuzz.pieces import Piece, fragments_together
from tests.fuzz.trial import Check, ServerProcess, Trial
from tests.hub import Hub
from tests.server import MachineError

# Refusals that say that something fails, which a hub can prove wrong. Others are decisions: a hub
# that starts may still do something else than its administrator means.
CLAIM = re.compile(r"Error\b|cannot|may not|in use by|would not|there is no (file|directory)")
# Of those, what only a check forbids, with the reason and what to write instead. A hub runs without
# its logo, and without a file for certificates that it does not obtain, but nobody wants that.
DECIDED = re.compile(
    r"may not write|send no signals|access to systemd|must not exit"
    r"|JupyterHub\.logo_file|acme_ca_file"
)
TOGETHER = 8
"""Number of fragments that are loaded together, as those in a directory are: imports of JupyterHub
and of JupyterLab, a second each, take most of the time."""
NO_LINE = "refused without a line"
ELSEWHERE = "refused together with another fragment"
"""No finding: the other fragment's line is named."""
# Stages with those that have to come before them.
_BEFORE = {"page after boot": ("boot",), "files": ("second reload", "boot")}
_NAMES_THE_SERVER = re.compile("c.Spawner|c.SystemdSpawner|c.JupyterHub|c.Authenticator")
_CHANGES_THE_HOME = re.compile("username_template|dynamic_users|HOME|username_map|Environment")
_PATH = re.compile(r"'(/[^']*new)'")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """A broken promise, and the few statements that show it."""

    stage: str
    pieces: tuple[Piece, ...]
    said: str
    """The message of the stage."""
    checked: str
    """The result of the check before."""

    def __str__(self) -> str:
        about = ", ".join(piece.about for piece in self.pieces) or "without a fragment"
        lines = [line for piece in self.pieces for line in str(piece).splitlines()]
        return "\n".join(
            [
                f"### {self.stage}: {about}",
                *(f"    {line}" for line in lines),
                f"check: {_clipped(self.checked)}",
                f"{self.stage}: {_clipped(self.said)}",
            ]
        )


@dataclass
class Judge:
    """The judge of one fragment after another; whatever failed once is left out later."""

    trial: Trial
    say: Callable[[str], None] = print
    findings: list[Finding] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    """Numbers of refusals of the check, by what it refused."""
    known: Counter[str] = field(default_factory=Counter)
    """Numbers of findings, by setting."""
    tries: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    """Numbers of times that each stage was reached."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Duration of each stage, all times together."""
    _accounts: tuple[str, ...] = tuple(scene.ACCOUNTS)
    _failing_anyway: dict[str, bool] = field(default_factory=dict)
    _after_reload: set[str] = field(default_factory=set)

    def judge(self, fragments: Sequence[Sequence[Piece]]) -> None:
        """Try fragments that are loaded together.

        Whatever fails is reduced, recorded, and left out of the next attempt.
        """
        # hypothesis begins with the simplest ones, of which most are empty.
        self.tries += sum(map(bool, fragments))
        pieces = itertools.chain.from_iterable(fragments)
        left = [piece for piece in pieces if not self._is_known(piece)]
        while left:
            failed = self._attempt(left)
            if failed is None:
                return
            stage, said, check = failed
            if stage == "refused":
                left = self._without_refused(left, check)
                continue
            few = self._reduce(left, stage, said)
            if stage == ELSEWHERE:
                self.refusals[f"{', '.join(piece.about for piece in few)}: {stage}"] += 1
                left = [piece for piece in left if piece not in few]
                continue
            self._record(Finding(stage, tuple(few), said, check.said))
            left = [piece for piece in left if piece not in few] if few else []
            self.trial.forget()

    def _is_known(self, piece: Piece) -> bool:
        # Services fail in several ways.
        return self.known[piece.about] >= (5 if piece.about.endswith("services") else 1)

    def _record(self, finding: Finding) -> None:
        self.findings.append(finding)
        if len(finding.pieces) == 1:
            self.known[finding.pieces[0].about] += 1
        if not finding.pieces:
            self._accounts = (scene.SOMEBODY,)
        self.say(f"{finding}\n(try {self.tries})\n")

    # --- an attempt

    def _attempt(self, pieces: Sequence[Piece], only: str = "") -> tuple[str, str, Check] | None:
        """Return the stage that failed, what it said, and the check; None: no stage failed.

        Args:
            pieces: the fragment.
            only: the stage that matters, after the check and the reload; "": each one.
        """
        self.trial.write(pieces)
        check = self._timed("check", self.trial.check)
        if check.code:
            elsewhere = ELSEWHERE if check.is_elsewhere else NO_LINE
            return "refused" if check.problems else elsewhere, check.said, check
        wanted = ("reload", only, *_BEFORE.get(only, ()))
        for stage, step in self._steps(pieces, check):
            if only and stage not in wanted:
                continue
            if said := self._timed(stage, step):
                return stage, said, check
        return None

    def _timed(self, stage: str, step: Callable[[], Result]) -> Result:
        self.stages[stage] += 1
        began = time.monotonic()
        try:
            return step()
        finally:
            self.seconds[stage] += time.monotonic() - began

    def _steps(
        self, pieces: Sequence[Piece], check: Check
    ) -> Iterator[tuple[str, Callable[[], str]]]:
        trial = self.trial
        text = "".join(piece.text for piece in pieces)
        paths = sorted(set(_PATH.findall(text)))
        yield "reload", trial.reload
        yield "page after reload", lambda: trial.page(check.seen)
        if paths:
            yield "second reload", lambda: self._reload_again(paths)
        yield "boot", trial.boot
        yield "page after boot", lambda: trial.page(check.seen)
        if paths:
            yield "files", lambda: self._lost_files(paths)
        yield "login", lambda: self._log_in(pieces, check)
        if "create_system_users = True" in text:
            yield "new user", lambda: trial.add_user(f"new{self.tries}")
        if not pieces or _NAMES_THE_SERVER.search(text):
            yield "start", lambda: self._start(pieces, check)

    def _log_in(self, pieces: Sequence[Piece], check: Check) -> str:
        said = self.trial.log_in()
        return "" if _explaining(said, pieces, check) else said

    def _start(self, pieces: Sequence[Piece], check: Check) -> str:
        """Start a server; if a statement explains that it does not, start one without it."""
        account = self._accounts[self.tries % len(self._accounts)]
        left = list(pieces)
        while True:
            said, server = self.trial.start(account)
            if not said:
                return "; ".join(_differences(account, server, left)) if server else ""
            explaining = _explaining(said, pieces, check)
            is_new = any(piece in left for piece in explaining)
            left = [piece for piece in left if piece not in explaining]
            if not is_new:
                break
            self._load(left)
        is_excused = bool(pieces) and self._fails_anyway(account, left)
        return "" if is_excused else f"{account}: {said}"

    def _fails_anyway(self, account: str, pieces: Sequence[Piece]) -> bool:
        """Return whether an account's server does not start without the fragment either."""
        if account not in self._failing_anyway:
            self._load([])
            self._failing_anyway[account] = bool(self.trial.start(account)[0])
            self._load(pieces)
        return self._failing_anyway[account]

    def _load(self, pieces: Sequence[Piece]) -> None:
        self.trial.write(pieces)
        self._timed("reload", self.trial.reload)
        self.trial.page([])  # perhaps below another base_url

    def _reload_again(self, paths: Sequence[str]) -> str:
        said = self.trial.reload()
        self._after_reload = self.trial.existing(paths)
        return said

    def _lost_files(self, paths: Sequence[str]) -> str:
        lost = self.trial.existing(paths) - self._after_reload
        return f"after a boot there are {sorted(lost)}, after a reload not" if lost else ""

    # --- refusals

    def _without_refused(self, pieces: Sequence[Piece], check: Check) -> list[Piece]:
        """Return the statements that are not refused, after a look at the others."""
        refused = check.problems
        for index, text in refused.items():
            kind = f"{pieces[index].about}: {re.sub(r'[0-9]+', '0', text)}"
            self.refusals[kind] += 1
            if self.refusals[kind] == 1 and CLAIM.search(text) and not DECIDED.search(text):
                self._judge_refusal(pieces[index])
        return [piece for index, piece in enumerate(pieces) if index not in refused]

    def _judge_refusal(self, piece: Piece) -> None:
        """Load a refused statement without a check: a hub that runs with it was wronged."""
        self.trial.write([piece])
        if not self._timed("unchecked reload", self.trial.reload_unchecked):
            # It may be wrong only together with others.
            check = self._timed("check", self.trial.check)
            if check.code:
                self._record(Finding("refused", (piece,), "the hub runs with it", check.said))

    # --- reduction

    def _reduce(self, pieces: Sequence[Piece], stage: str, said: str) -> list[Piece]:
        """Return few statements with which the same stage fails, after few attempts."""
        # A failure may be the consequence of another one.
        self.trial.forget()
        if stage == "start" and self._fails([], stage):
            return []
        suspects = [piece for piece in pieces if any(word in said for word in _words(piece))]
        for piece in suspects[:2] if len(pieces) > 1 else ():
            if self._fails([piece], stage):
                return [piece]
        few, size = list(pieces), len(pieces)
        while size > 1:
            size = (size + 1) // 2
            parts = [few[start : start + size] for start in range(0, len(few), size)]
            for part in parts:
                rest = [piece for piece in few if piece not in part]
                if rest and self._fails(rest, stage):
                    few, size = rest, min(size, len(rest))
                    break
        return few

    def _fails(self, pieces: Sequence[Piece], stage: str) -> bool:
        if self.trial.page([]).startswith("waited"):
            self.trial.forget()
        failed = self._attempt(pieces, stage)
        return failed is not None and failed[0] == stage


def judge(
    hub: Hub,
    tries: int,
    *,
    seed: int = 0,
    only: str = "",
    timeout_s: float | None = None,
    say: Callable[[str], None] = print,
) -> Judge:
    """Generate fragments, the same ones for the same seed, and judge them on a hub.

    Args:
        hub: a hub that runs; it is left as it was.
        tries: how many fragments.
        seed: another number generates other fragments.
        only: a pattern of the settings and kinds of code to generate; "": all of them.
        timeout_s: the time after which no further fragment is tried.
        say: called with each finding at once.
    """
    began = time.monotonic()
    deadline = began + timeout_s if timeout_s else None
    found = Judge(Trial(hub), say)

    @with_seed(seed)
    @with_settings(
        max_examples=math.ceil(tries / TOGETHER),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fragments_together(min(TOGETHER, tries), only))
    def each(fragments: list[list[Piece]]) -> None:
        if deadline and time.monotonic() > deadline:
            return
        try:
            found.judge(fragments)
        except (MachineError, NotInTimeError) as error:
            pieces = tuple(itertools.chain.from_iterable(fragments))
            found.findings.append(Finding("trial", pieces, str(error), ""))
            say(f"{found.findings[-1]}")
            found.trial.forget()
        say(f"{found.tries} tries in {time.monotonic() - began:.0f} s")

    with scene.scene(hub):
        found.trial.set_up()
        try:
            each()
        finally:
            found.trial.tear_down()
    return found


def _explaining(said: str, pieces: Sequence[Piece], check: Check) -> list[Piece]:
    """Return the statements that a message names, or of which the check has warned."""
    return [
        piece
        for index, piece in enumerate(pieces)
        if said and (piece.about in said or index in check.warned)
    ]


def _differences(account: str, server: ServerProcess, pieces: Sequence[Piece]) -> Iterator[str]:
    """Yield what a server has otherwise than its account and the fragment say."""
    text = "".join(piece.text for piece in pieces)
    home = f"/home/{account}"
    if not _CHANGES_THE_HOME.search(text) and server.variables.get("HOME") != home:
        yield f"HOME is {server.variables.get('HOME')}, expected {home}"
    for piece in pieces:
        name, _, value = piece.text.partition(" = ")
        if "{USER" in value or not value.startswith(("[", "{")):
            continue
        if name == "c.Spawner.args":
            for word in ast.literal_eval(value):
                if word not in server.words:
                    yield f"{word!r} is not among the arguments {server.words}"
        elif name == "c.Spawner.environment":
            for variable, wanted in ast.literal_eval(value).items():
                found = server.variables.get(variable)
                if found != wanted:
                    yield f"{variable} is {found!r}, expected {wanted!r}"


def _words(piece: Piece) -> list[str]:
    """Return what a message about a statement may contain: its setting, and its values."""
    return [piece.about, *re.findall(r"'([^']{3,})'", piece.text)]


def _clipped(text: str, limit: int = 1200) -> str:
    text = text.strip()
    return text if len(text) <= limit else f"{text[: limit // 2]} […] {text[-limit // 2 :]}"
