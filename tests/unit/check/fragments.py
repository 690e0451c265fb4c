"""Fragments to check, written and checked by the tests."""

from littlest_hub.check import Problem, check_fragments

# Imported for the child processes that check fragments: they need not import it again.
from littlest_hub.check import evaluator as evaluator
from littlest_hub.layout import Layout


def write(layout: Layout, name: str, text: str | bytes) -> str:
    """Write a fragment and return its path."""
    content = text.encode() if isinstance(text, str) else text
    (layout.fragments / name).write_bytes(content)
    return str(layout.fragments / name)


def errors(layout: Layout) -> list[Problem]:
    """Check the fragments and return the errors."""
    return check_fragments(layout).errors


def only(problems: list[Problem]) -> Problem:
    """Return the only problem."""
    (problem,) = problems
    return problem
