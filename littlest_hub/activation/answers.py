"""The questions of a stack, answered by options or in a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from littlest_hub.errors import LittlestHubError
from littlest_hub.manifest.manifest import Manifest, Question

Ask = Callable[[str], str]
"""Shows a text and returns what the user types."""


def parse_settings(manifest: Manifest, settings: Iterable[str]) -> dict[str, str]:
    """Return the answers that `--set KEY=VALUE` gives.

    Raises:
        LittlestHubError: an unknown key, one without a value, or a value that is no answer.
    """
    questions = {question.key: question for question in manifest.questions}
    answers = {}
    for setting in settings:
        key, is_set, value = setting.partition("=")
        if not is_set or key not in questions:
            known = ", ".join(f"{each.key}={each.default}" for each in manifest.questions)
            raise LittlestHubError(
                f"--set {setting!r}: {manifest.name} has no such setting",
                f"It has: {known}" if known else "It has none",
            )
        questions[key].refuse(value)
        answers[key] = value
    return answers


def complete(
    manifest: Manifest, given: Mapping[str, str], earlier: Mapping[str, str], ask: Ask | None
) -> dict[str, str]:
    """Return an answer to each question.

    Args:
        manifest: the stack's.
        given: answers that are not asked for.
        earlier: answers of an earlier time, in place of defaults.
        ask: asks in a terminal; None: there is none, and defaults are taken.

    Raises:
        LittlestHubError: the terminal is gone, or all of `one_of` are empty.
    """
    answers = dict(given)
    for question in manifest.questions:
        default = earlier.get(question.key, question.default)
        if question.key not in answers:
            answers[question.key] = _asked(question, default, ask) if ask else default
    if manifest.one_of and not any(answers[key] for key in manifest.one_of):
        settings = ", or ".join(f"--set {key}=…" for key in manifest.one_of)
        raise LittlestHubError(
            f"{manifest.name} needs an answer to one of: {', '.join(manifest.one_of)}",
            f"Nothing was changed. Answer with {settings}",
        )
    return answers


def _asked(question: Question, default: str, ask: Ask) -> str:
    while True:
        answer = ask(f"{question.text} [{default}]: ").strip() or default
        try:
            question.refuse(answer)
        except LittlestHubError:
            print(f"Expected {question.expected}.")
        else:
            return answer


def in_fragment(manifest: Manifest, text: str) -> dict[str, str]:
    """Return the answers that a fragment contains, without those that are none any more."""
    found = {}
    for question in manifest.questions:
        line = re.search(rf'^{question.variable} = "([^"\\\n]*)"', text, re.MULTILINE)
        if line and re.fullmatch(question.pattern, line[1]):
            found[question.key] = line[1]
    return found
