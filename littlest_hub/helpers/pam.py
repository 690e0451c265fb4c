"""PAM helper: the only part of an unprivileged hub that runs as root.

systemd starts a helper for each connection; the connection is the helper's standard input and
output. Only the hub's user can connect. A request is NAME, a NUL, PASSWORD, and further answers for
PAM, each after a NUL. The reply is "yes" or the reason why not. Only members of the group named on
the command line are checked, so that a hub cannot try passwords of root or of services; PAM counts,
delays and logs failures.
"""

from __future__ import annotations

import grp
import os
import pwd
import sys

from littlest_hub.units.names import FIRST_UID

LIMIT_BYTES = 4096
"""Longest request."""
SERVICE = "login"
"""The PAM service."""


def main() -> None:
    """Answer the request on standard input."""
    print(answer(sys.stdin.buffer.read(LIMIT_BYTES + 1), sys.argv[1]), end="", flush=True)


def answer(request: bytes, group: str) -> str:
    """Return "yes" or the reason why not."""
    try:
        name, *words = request.decode().split("\0")
        account = pwd.getpwnam(name)
        group_id = grp.getgrnam(group).gr_gid
    except (UnicodeDecodeError, KeyError):
        return "no such user"
    if len(request) > LIMIT_BYTES or not words or not all(words):
        return "no password"
    if account.pw_uid < FIRST_UID or group_id not in os.getgrouplist(name, account.pw_gid):
        return f"not a member of the group {group}"
    import pamela

    try:
        pamela.authenticate(name, words[0] if len(words) == 1 else tuple(words), service=SERVICE)
        pamela.check_account(name, service=SERVICE)
    except pamela.PAMError as error:
        return str(error)
    return "yes"


if __name__ == "__main__":
    main()
