"""Failed starts of user servers, with the reason from the journal of the hub and the servers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from littlest_hub.doctor.explanations import CONFIGURATION, REFUSED, explain
from littlest_hub.doctor.journal import JournalEntry
from littlest_hub.layout import Layout

# Messages of JupyterHub 6.1 about a failed spawn (jupyterhub/user.py).
_FAILED = re.compile(
    r"(?P<late>(\S+)'s server failed to start in \d+ seconds)"
    r"|(?P<silent>(\S+)'s server never showed up at \S+ after [\d.]+ seconds)"
    r"|(?P<refused>(\S+)'s server at \S+ (?:never|did not)\b.*)"
    r"|(?P<error>(?:Unhandled error|Error) starting (\S+)'s server: .*)"
    r"|(?P<not>Not starting (\S+)'s server .*)"
)
# Messages of our spawner (hub/launch.py); the journal of the server's unit has the reason.
_OURS = re.compile(r"systemd does not start \S+:|ended before it listened")
# A message of hub/hook_errors.py.
_HOOK = re.compile(r"(?:c\.\w+\.\w+|Code of a fragment) fails at \S+:\d+: ")
_PREFIX = re.compile(r"^\S+ \w+:\d+\] ")
_SYSTEMD_RUN = re.compile(r"Failed to |Unknown assignment|Cannot |Unit \S+ (?:already|was)")
# Messages of systemd about any end; there is always a better line.
_ROUTINE = re.compile(
    r"Main process exited|Failed with result 'exit-code'|^Start|^Stopp|Consumed |Succeeded\."
    r"|Deactivated|Skipping XSRF|^\[[ID] |Scheduled restart"
    # After an error of Python before its first frame.
    r"|<no Python frame>|^Current thread |^Python runtime state:"
)
_WINDOW_US = 120_000_000
# Spawners on other machines say this.
_OUTPUT = re.compile(r"What it printed is in (/[^\s)]+)")
_REASON = re.compile(r"HTTP 403: Forbidden \((.*)\)")
_MISSING_ACCOUNT = re.compile(r"No user named (\S+)")


@dataclass(frozen=True)
class FailedSpawn:
    """A user server that failed to start."""

    user: str
    time_us: int
    line: str
    """The decisive line of the journal."""
    meaning: str = ""
    command: str = ""
    mended_by: str = CONFIGURATION
    """The change that the next start needs to succeed: one of `explanations`."""
    account: str = ""
    """The system account that the server would run as."""

    @property
    def is_refused(self) -> bool:
        """Whether nothing has failed: a rule forbids the start."""
        return self.mended_by == REFUSED


def failed_spawns(
    entries: Iterable[JournalEntry],
    layout: Layout,
    edit: str,
    accounts: Mapping[str, str] = MappingProxyType({}),
) -> list[FailedSpawn]:
    """Return the last failed start of each user, latest first.

    Args:
        entries: of the hub's unit and of user servers' units, in the order of time.
        layout: of the hub.
        edit: the command that opens a fragment in an editor.
        accounts: those of users whose accounts have other names than they.
    """
    seen = list(entries)
    hub_unit = layout.hub_service
    found: dict[str, FailedSpawn] = {}
    for index, entry in enumerate(seen):
        match = _FAILED.search(entry.message) if entry.unit == hub_unit else None
        if not match:
            continue
        user = next(group for group in match.groups()[1::2] if group)
        symptom = _PREFIX.sub("", entry.message.splitlines()[0])
        unit = f"{layout.user_unit(user)}.service"
        since = max(entry.time_us - _WINDOW_US, found[user].time_us if user in found else 0)
        recent = [e for e in seen[:index] if e.time_us > since]
        # The text of an exception is decisive; but of our spawner's, the unit's journal is.
        is_exception = bool(match["error"] or match["not"]) and not _OURS.search(entry.message)
        if is_exception:
            decisive = _failed_hook(seen[index + 1 :], hub_unit)
        else:
            decisive = _decisive(recent, layout.user_unit(user), hub_unit)
        line = decisive or symptom
        explanation = explain(line, symptom)
        if explanation.mended_by == REFUSED and (reason := _REASON.search(line)):
            line = reason[1]
        # The account is taken from the hub's own message only: a server prints what its user likes,
        # and root may run the command that names the account.
        said = line if is_exception else symptom
        # With a username_template, the account has another name than the user.
        missing = _MISSING_ACCOUNT.search(said)
        account = missing[1] if missing else accounts.get(user, user)
        output = _OUTPUT.search(said)
        command = explanation.command.format(
            account=shlex.quote(account),
            unit=unit,
            output=shlex.quote(output[1]) if output else "",
            edit=edit,
            hub=hub_unit,
            hooks=layout.hook_service.replace("@", "@*"),
            install=f"{layout.hub}/bin/littlest-hub install",
        )
        found[user] = FailedSpawn(
            user, entry.time_us, line, explanation.meaning, command, explanation.mended_by, account
        )
    return sorted(found.values(), key=lambda failure: -failure.time_us)


def started_since(entries: Iterable[JournalEntry], hub_unit: str, failure: FailedSpawn) -> bool:
    """Return whether a later start of the same user's server succeeded."""
    starts = re.compile(
        rf"User {re.escape(failure.user)}(?::\S+)? took [\d.]+ seconds to start|"
        rf"\b201 POST /\S*/users/{re.escape(failure.user)}/server"
    )
    return any(
        e.unit == hub_unit and e.time_us > failure.time_us and starts.search(e.message)
        for e in entries
    )


def hook_failure(message: str) -> str:
    """Return a message of hub/hook_errors.py without its prefix; "": it is another one."""
    text = _PREFIX.sub("", message)
    return text if _HOOK.match(text) else ""


def _failed_hook(later: Iterable[JournalEntry], hub_unit: str) -> str:
    """Return the message about the hook that a failed start was about; "": there is none."""
    for entry in (each for each in later if each.unit == hub_unit):
        if found := hook_failure(entry.message):
            return found
        # The traceback is over.
        if _PREFIX.match(entry.message):
            return ""
    return ""


def _decisive(recent: list[JournalEntry], unit: str, hub_unit: str) -> str:
    """Return the line that gives the reason, of those before the hub gave up; "": none does."""
    # Any of the user's servers: a named server's unit has the name after a ":".
    own = [e for e in recent if e.unit.startswith((f"{unit}.service", f"{unit}:"))]
    # systemd's own exit codes, systemd.exec(5).
    strong = [
        e
        for e in own
        if re.search(r"Failed at step|status=2\d\d/[A-Z]|oom-kill|OOM killer", e.message)
    ]
    # The line before "Failed at step" names the file.
    named = [e for e in own if re.search(r"failed: |mount namespacing: ", e.message)]
    others = [e for e in own if not _ROUTINE.search(e.message) and e.message.strip()]
    for candidates in (named, strong, [e for e in others if e.priority <= 3], others):
        if candidates:
            return candidates[-1].message.strip().splitlines()[-1]
    if own:
        return ""
    # systemd refused the unit.
    run = [
        e
        for e in recent
        if e.unit == hub_unit and e.program != "python3" and _SYSTEMD_RUN.match(e.message)
    ]
    return run[-1].message.strip() if run else ""
