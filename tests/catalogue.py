"""Ready fragments, filled in as their comments say."""

from __future__ import annotations

from pathlib import Path

CATALOGUE = Path(__file__).parents[1] / "jupyterhub_config.d"


def filled(name: str, more: str = "") -> str:
    """Return the text of a ready fragment.

    Args:
        name: of its file.
        more: lines that replace what its placeholders stand for.
    """
    return (CATALOGUE / name).read_text().replace("CHANGE-ME", "of-our-own") + more
