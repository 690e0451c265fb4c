"""Settings in root's fragments without which a helper does not act: a hub may be taken over."""

from __future__ import annotations

import re
from pathlib import Path


def is_declared(setting: str, fragments: Path) -> bool:
    """Return whether a fragment has a setting, other than as False."""
    declared = re.compile(rf"^[^#\n]*\b{setting}\b(?!\s*=\s*False\b)", re.MULTILINE)
    texts = (file.read_text(errors="replace") for file in fragments.glob("[!.]*.py"))
    return any(declared.search(text) for text in texts)
