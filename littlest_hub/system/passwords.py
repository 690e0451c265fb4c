"""Whether an account of this machine has a usable password: shadow(5)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

SHADOW = Path("/etc/shadow")
_DAY_S = 86400


class Unusable(NamedTuple):
    """The reason why no password opens an account, and the command that changes that."""

    reason: str
    command: str


def unusable_passwords(shadow: Path = SHADOW) -> dict[str, Unusable]:
    """Return the accounts in a shadow file that no password opens, as far as root may see it.

    Accounts of a directory service are not in the file.
    """
    try:
        lines = shadow.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    today = int(time.time() // _DAY_S)
    found = {}
    for line in lines:
        name, *fields = line.split(":")
        if name and (unusable := _unusable(name, [*fields, *[""] * 8], today)):
            found[name] = unusable
    return found


def _unusable(name: str, fields: list[str], today: int) -> Unusable | None:
    secret, changed, _, longest, _, _, expires = fields[:7]
    if expires.isdigit() and int(expires) <= today:
        return Unusable("has expired", f"chage --expiredate -1 {name}")
    if secret.startswith("!") and len(secret) > 3:
        return Unusable("is locked", f"passwd --unlock {name}")
    if not secret or secret[0] in "!*":
        return Unusable("has no password", f"passwd {name}")
    if changed == "0":
        return Unusable("has to get a new password first", f"passwd {name}")
    if changed.isdigit() and longest.isdigit() and int(changed) + int(longest) < today:
        return Unusable("has a password that has expired", f"passwd {name}")
    return None
