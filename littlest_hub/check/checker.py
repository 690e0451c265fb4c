"""A check from start to end: gather facts, run the fragments in the sandbox, report.

Fragments, validation and rules run in the sandbox (`littlest_hub.check.evaluator`). Only DNS, which
needs a network, and the rights to read fragments are checked here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from littlest_hub.check import facts, sandbox
from littlest_hub.check.access import unreadable_fragments
from littlest_hub.check.configuration import Configuration
from littlest_hub.check.messages import Domain, Request
from littlest_hub.check.report import Problem, Report
from littlest_hub.hub import unit_files
from littlest_hub.installation import (
    active_overlay,
    fragment_files,
    release_of_this_interpreter,
)
from littlest_hub.layout import Layout
from littlest_hub.system.addresses import dns_problem, resolve


def check_fragments(
    layout: Layout,
    copies: Mapping[Path, Path] | None = None,
    overlay: Path | Literal["active"] | None = "active",
) -> Report:
    """Check the fragments of an installation.

    Args:
        layout: the installation.
        copies: files to read in place of fragments, by fragment; the fragment need not exist.
            Problems are reported as problems of the fragment.
        overlay: packages to check them with; None: the release's own only.

    Raises:
        LittlestHubError: the check itself failed.
        PermissionError: the caller may not read the fragments.
    """
    copies = copies or {}
    files = sorted({*fragment_files(layout), *copies})
    fragment_by_file = {str(copies.get(file, file)): str(file) for file in files}
    if overlay == "active":
        overlay = active_overlay(layout, release_of_this_interpreter())
    request = _request(layout, fragment_by_file, overlay)
    known = request.facts
    outcome = sandbox.run(layout, request)
    problems = {*outcome.problems, *_misdirected_domains(outcome.domains, known.addresses)}
    # Owner and mode of a copy are temporary; the next check sees those of the fragment.
    if not copies:
        problems.update(unreadable_fragments(layout, files, known.rights))
    named = sorted(_with_fragment_names(problems, fragment_by_file))
    pending = tuple(unit_files.pending_changes(layout, outcome.credentials))
    return Report(named, outcome.printed, outcome.note, pending)


def effective_configuration(layout: Layout) -> Configuration:
    """Return the settings that a hub would have that starts now.

    The fragments run in the sandbox, as for a check; what is wrong with the settings is not looked
    for.

    Raises:
        LittlestHubError: the sandbox failed.
        PermissionError: the caller may not read the fragments.
    """
    overlay = active_overlay(layout, release_of_this_interpreter())
    request = _request(layout, map(str, fragment_files(layout)), overlay)
    outcome = sandbox.run(layout, replace(request, wants_settings=True))
    return Configuration(outcome.settings, sorted(outcome.problems), outcome.note)


def _request(layout: Layout, files: Iterable[str], overlay: Path | None) -> Request:
    return Request(
        base=str(layout.base),
        hub_user=layout.hub_user,
        files=tuple(files),
        facts=facts.gather(layout),
        overlay=str(overlay) if overlay else None,
    )


def _misdirected_domains(
    domains: Collection[Domain], own_addresses: Collection[str]
) -> Iterator[Problem]:
    """Yield a warning for each host name that does not lead visitors to this machine."""
    answers = resolve({domain.name for domain in domains})
    for domain in domains:
        if reason := dns_problem(domain.name, answers[domain.name], own_addresses):
            text = f"HubProxy.domains: {reason}"
            yield Problem(domain.file, domain.line, text, is_warning=True)


def _with_fragment_names(
    problems: Iterable[Problem], fragment_by_file: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield the problems with names of fragments in place of those of their copies."""
    for problem in problems:
        message = problem.message
        for file, fragment in fragment_by_file.items():
            message = message.replace(file, fragment)
        file = fragment_by_file.get(problem.file, problem.file)
        yield replace(problem, file=file, message=message)
