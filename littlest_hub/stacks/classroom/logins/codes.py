"""One-time codes, with which people without a password choose one."""

from __future__ import annotations

import base64
import hashlib
import secrets

VALID_S = 7 * 86400
"""Time for which a code can be used."""
_BYTES = 10


def new() -> str:
    """Return a new code, which is easy to type: ABCD-EFGH-IJKL-MNOP."""
    text = base64.b32encode(secrets.token_bytes(_BYTES)).decode()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def digest(code: str) -> str:
    """Return the digest that is stored of a code; a fast one is enough for a random code."""
    # Base 32 has no 0 and no 1.
    typed = "".join(filter(str.isalnum, code[:100].upper())).replace("0", "O").replace("1", "I")
    return hashlib.sha256(typed.encode(errors="replace")).hexdigest()
