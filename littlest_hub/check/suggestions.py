"""Suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "; did you mean 'x'?" to end a sentence about an unknown name; "" if none is close."""
    candidates = list(candidates)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff)
    if not close:
        lower = {candidate.lower(): candidate for candidate in candidates}
        matches = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=cutoff)
        close = [lower[match] for match in matches]
    return f"; did you mean {close[0]!r}?" if close else ""
