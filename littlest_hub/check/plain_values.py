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
    yield from _too_late(settings, fragment, record)


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


def _too_late(settings: Settings, fragment: str, record: type[PlainSettings]) -> Iterator[Problem]:
    """Yield values that are set below the call that takes them, such as at the fragment's end."""
    wanted = {name.upper() for name in record.__dataclass_fields__}
    first_lines: dict[str, int] = {}
    taken = 0
    try:
        statements = ast.parse(settings.fragment_text(fragment)).body
    except SyntaxError:
        return  # running it reports this
    for statement in statements:
        if not taken and isinstance(statement, ast.Expr) and _takes_values(statement, wanted):
            taken = statement.lineno
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for name in (each.id for each in targets if isinstance(each, ast.Name)):
            if name not in wanted:
                continue
            if taken:
                place = f"in line {first_lines[name]}" if name in first_lines else "above it"
                text = f"{name}: line {taken} takes the value before this line; expected {place}"
                yield Problem(str(settings.layout.fragments / fragment), statement.lineno, text)
            first_lines.setdefault(name, statement.lineno)


def _takes_values(statement: ast.Expr, wanted: set[str]) -> bool:
    """Return whether a call has one of the variables, or all (`globals()`), as an argument."""
    names = {each.id for each in ast.walk(statement) if isinstance(each, ast.Name)}
    return bool(names & {"globals", *wanted})


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
