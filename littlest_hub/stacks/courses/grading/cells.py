"""Cells of CSV files that spreadsheets do not take for formulas; no input or output."""

from __future__ import annotations

# https://owasp.org/www-community/attacks/CSV_Injection
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(cell: object) -> object:
    """Return a cell: a number as it is, a text so that no spreadsheet computes with it."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_BEGINS_FORMULA):
        return f"'{cell}"
    return cell
