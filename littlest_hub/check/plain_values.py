"""Problems of plain values at the top of a stack's fragment, for the stack's rules."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Generator, Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.manifest.plain_values import Checked, PlainSettings, Record, parse, record_of

_SIMILAR = 0.8
"""The similarity from which on a name counts as misspelled: HOST, or ALOWED."""


def problems(settings: Settings, fragment: str, record: type[PlainSettings]) -> Iterator[Problem]:
    """Yield the problems of a part's values, each with its line."""
    try:
        found = parsed(settings, fragment, record)
    except ValueError as error:
        yield Problem(str(settings.layout.fragments / fragment), 0, str(error))
        return
    for name, text in found.problems():
        yield problem(settings, fragment, name, text)


def problem(
    settings: Settings, fragment: str, name: str, text: str, *, is_warning: bool = False
) -> Problem:
    """Return a problem of one variable, with its line."""
    lines = enumerate(settings.fragment_text(fragment).splitlines(), 1)
    line = next((number for number, line in lines if re.match(rf"{name}\s*=", line)), 0)
    place = str(settings.layout.fragments / fragment)
    return Problem(place, line, f"{name}: {text}", is_warning=is_warning)


def right_values(
    settings: Settings, fragment: str, record: type[Checked]
) -> Generator[Problem, None, Checked]:
    """Yield the problems of a part, and return its values; the defaults if some are wrong."""
    wrong = list(problems(settings, fragment, record))
    yield from wrong
    return record_of({}, record) if wrong else parsed(settings, fragment, record)


def parsed(settings: Settings, fragment: str, record: type[Record]) -> Record:
    """Return a part's values; the defaults if the text is no Python, which running it reports.

    Raises:
        ValueError: a variable has no plain value.
    """
    try:
        return parse(settings.fragment_text(fragment), record)
    except SyntaxError:
        return record_of({}, record)


def misspelled(settings: Settings, fragment: str, record: type[PlainSettings]) -> Iterator[Problem]:
    """Warn of variables whose names are almost those of values: their values are not used."""
    known = [name.upper() for name in record.__dataclass_fields__]
    try:
        statements = ast.parse(settings.fragment_text(fragment)).body
    except SyntaxError:
        return  # running it reports this
    assigned = [each for each in statements if isinstance(each, ast.Assign)]
    for target in (target for each in assigned for target in each.targets):
        if not isinstance(target, ast.Name) or target.id in known:
            continue
        if meant := difflib.get_close_matches(target.id.upper(), known, 1, _SIMILAR):
            text = f"nothing uses this value; probably {meant[0]} is meant"
            yield problem(settings, fragment, target.id, text, is_warning=True)
