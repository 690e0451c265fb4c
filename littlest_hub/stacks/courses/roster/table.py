"""The text of a CSV file as a table, whatever program has written it; no input or output."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass

from littlest_hub.errors import LittlestHubError

MAX_BYTES = 4 << 20
MAX_ROWS = 20_000
_DELIMITERS = ",;\t"
_MAX_CELL = 4096


@dataclass(frozen=True)
class Row:
    """A row, with the number of its line."""

    line: int
    cells: Sequence[str]


def text_of(data: bytes) -> str:
    """Decode a file: UTF-8, UTF-16 with a mark (Blackboard), or Windows-1252 (Excel).

    Raises:
        LittlestHubError: it is no text.
    """
    if len(data) > MAX_BYTES:
        raise LittlestHubError(
            f"the roster has {len(data) >> 20} MB; expected at most {MAX_BYTES >> 20} MB"
        )
    try:
        text = _decoded(data)
    except UnicodeDecodeError as error:
        raise LittlestHubError(
            f"the roster is no text: byte {error.start} cannot be decoded",
            "Save it as CSV, UTF-8",
        ) from error
    if "\0" in text:
        before, _, _ = text.partition("\0")
        line, character = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise LittlestHubError(
            f"the roster is no text: line {line}, character {character}: it contains NUL",
            "Save it as CSV, UTF-8",
        )
    return text


def rows_of(text: str) -> list[Row]:
    """Return the rows that are not empty; the first one is the header.

    Raises:
        LittlestHubError: the text is no CSV, or too long.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(reader.line_num, [cell.strip() for cell in cells]))
            if len(rows) > MAX_ROWS:
                raise LittlestHubError(f"the roster has more than {MAX_ROWS} rows")
            for number, cell in enumerate(cells, 1):
                if len(cell) > _MAX_CELL:
                    where = f"line {reader.line_num}, column {number}"
                    raise LittlestHubError(f"{where}: more than {_MAX_CELL} characters")
    except csv.Error as error:
        raise LittlestHubError(f"line {reader.line_num}: no CSV: {error}") from error
    return rows


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")
