"""PAM for the hub, which has no right to use it: PAM's modules need those of sshd(8) and login(1).

systemd starts an instance for each connection; the connection is its standard input and output.
Only the hub can connect. A request is VERB, SERVICE, NAME, and answers to PAM's prompts, with a NUL
between each; the reply is an `Outcome` in JSON. PAM counts and logs failures.

If a group and the directory of fragments are named on the command line, the hub is not root. Then
only members of the group are asked about, so that a hub that was taken over cannot try passwords of
root or of services; and sessions are opened and closed only if a fragment wants them.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import sys
from pathlib import Path

from littlest_hub.helpers.declarations import is_declared
from littlest_hub.system.pam import Outcome, transact
from littlest_hub.units.names import FIRST_UID

LIMIT_BYTES = 4096
"""Longest request."""
VERBS = {
    "login": ("authenticate", "acct_mgmt", "setcred"),
    "authenticate": ("authenticate", "setcred"),
    "check_account": ("acct_mgmt",),
    "open_session": ("open_session",),
    "close_session": ("close_session",),
}
"""Requests that the hub can make, and the steps of PAM."""
DECLARATION = "open_sessions"
"""The setting that lets a hub that is not root open and close sessions."""
DEFAULT_SERVICE = "login"
"""The only PAM service for a hub that is not root."""


def main() -> None:
    """Answer the request on standard input."""
    group, fragments = (*sys.argv[1:], None, None)[:2]
    outcome = answer(sys.stdin.buffer.read(LIMIT_BYTES + 1), group, fragments)
    print(json.dumps(outcome), end="", flush=True)


def answer(request: bytes, group: str | None, fragments: str | None = None) -> Outcome:
    """Return PAM's outcome, or the reason why PAM was not asked.

    Args:
        request: verb, service, name, and answers.
        group: the one whose members a hub that is not root may ask about; None: everyone.
        fragments: the directory of root's fragments, for such a hub.
    """
    verb, _, rest = request.partition(b"\0")
    service, _, rest = rest.partition(b"\0")
    name, *answers = rest.split(b"\0")
    steps = VERBS.get(verb.decode(errors="replace"))
    if steps is None or len(request) > LIMIT_BYTES:
        return Outcome("no such request", [])
    # Debian's `nullok` lets in accounts without a password.
    if "authenticate" in steps and not (answers and answers[0]):
        return Outcome("no password", [])
    if not re.fullmatch(rb"[A-Za-z0-9_.@-]+", service):
        return Outcome("no such PAM service", [])
    if group is not None and (refusal := _refusal(name, service, group)):
        return Outcome(refusal, [])
    is_session = steps in (VERBS["open_session"], VERBS["close_session"])
    if group is not None and is_session and not _has_sessions(fragments):
        return Outcome(f"no fragment in {fragments} has {DECLARATION}", [])
    return transact(service.decode(), name, answers, steps)


def _refusal(name: bytes, service: bytes, group: str) -> str:
    """Return why a hub that is not root may not ask; "": it may."""
    try:
        account = pwd.getpwnam(name.decode())
        group_id = grp.getgrnam(group).gr_gid
    except (UnicodeDecodeError, KeyError):
        return "no such user"
    if service.decode() != DEFAULT_SERVICE:
        return f"this hub may use the PAM service {DEFAULT_SERVICE} only"
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    if account.pw_uid < FIRST_UID or group_id not in groups:
        return f"not a member of the group {group}"
    return ""


def _has_sessions(fragments: str | None) -> bool:
    # None: the unit of an earlier release, during an upgrade.
    return fragments is not None and is_declared(DECLARATION, Path(fragments))


if __name__ == "__main__":
    main()
