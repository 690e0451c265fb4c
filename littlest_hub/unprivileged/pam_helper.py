"""Says whether a password is right: the one program of a hub that is not root which is.

systemd starts it for each question, with the connection as standard input and output; only the
hub's user can open one. It reads NAME, a NUL, PASSWORD, and further answers that PAM may ask for,
each after a NUL, to the end. It writes "yes", or why not. It asks PAM only about people who are
members of the group that is its argument, so that no hub can try passwords of root's or of
services; PAM counts, delays and logs failures as ever.
"""

from __future__ import annotations

import grp
import os
import pwd
import sys

from littlest_hub.units.names import FIRST_UID

LIMIT = 4096
"""Bytes of a question."""
SERVICE = "login"
"""Of PAM."""


def main() -> None:
    """Answer the question on standard input."""
    print(answer(sys.stdin.buffer.read(LIMIT + 1), sys.argv[1]), end="", flush=True)


def answer(question: bytes, group: str) -> str:
    """ "yes", or why not."""
    try:
        name, *words = question.decode().split("\0")
        account = pwd.getpwnam(name)
        members = grp.getgrnam(group).gr_gid
    except (UnicodeDecodeError, KeyError):
        return "no such user"
    if len(question) > LIMIT or not words or not all(words):
        return "no password"
    if account.pw_uid < FIRST_UID or members not in os.getgrouplist(name, account.pw_gid):
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
