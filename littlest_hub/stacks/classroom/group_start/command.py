"""`littlest-hub class start GROUP`: start the servers of a group before its class begins."""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.classroom.group_start import PATH, credential
from littlest_hub.stacks.classroom.group_start.waves import Outcome, Result, Waves

_AT_ONCE = 10
"""Number of servers that start at once if the hub has no limit of its own."""
_TIMEOUT_S = 1800
"""Time limit of a start; the hub's own is much shorter."""
_RELOAD_S = 60
"""Time for which the hub may be away, because it reloads, before a start counts as failed."""
_STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""
_ABOUT = """\
Start the servers of the members of a group of the hub, a few at a time, and wait
until all run or have failed. Servers that run are left alone, and people who are
locked, or who have left the class, get none. Ctrl-C asks for no more servers;
those that start are awaited.
"""
_EXAMPLES = """\
examples:
  %(prog)s physics                 before the class begins
  %(prog)s physics --at-a-time 1   slowly, while others work

The exit code is 0 if all members who may log in have a server, 1 if a server did not start, and
130 after Ctrl-C.
"""


def add(commands: Verbs) -> None:
    """Add `start` to the commands of a parser."""
    parser = verbs.add(
        commands,
        "start",
        _run,
        "start the servers of a group, a few at a time, before its class begins",
        _ABOUT,
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("group", metavar="GROUP", help="a group of the hub")
    parser.add_argument(
        "--at-a-time",
        metavar="N",
        type=_number,
        help="how many servers may start at the same time; at most, and if you leave it out, as"
        " many as the hub allows",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


class Hub:
    """The hub's part of the command.

    Args:
        layout: the installation.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def members(self, group: str) -> Mapping[str, Any]:
        """Return what the hub says about a group.

        Raises:
            LittlestHubError: it has no such group, or does not answer.
        """
        return self._ask("GET", f"?{urlencode({'group': group})}")

    def start(self, group: str, name: str) -> tuple[Outcome, str]:
        """Start the server of a member; return the outcome, and the reason of a failure.

        Raises:
            LittlestHubError: the hub does not answer, or refuses.
        """
        deadline = time.monotonic() + _RELOAD_S
        while True:
            try:
                found = self._ask("POST", "", {"group": group, "name": name})
                return Outcome(found["outcome"]), str(found["reason"])
            except _AwayError:
                # It reloads: the next hub has another token, and goes on with what has begun.
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _ask(self, method: str, query: str, body: object = None) -> Mapping[str, Any]:
        found = credential.read(self._layout)
        text = None if body is None else json.dumps(body)
        headers = {"Authorization": f"token {found.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(found.host, found.port, timeout=_TIMEOUT_S)
        with closing(connection):
            try:
                connection.request(method, f"{found.prefix}{PATH}{query}", text, headers)
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise _AwayError(
                    f"the hub does not answer: {error or type(error).__name__}",
                    as_typed(f"{self._layout.command} doctor"),
                ) from error
        return _answer(status, content)


class _AwayError(LittlestHubError):
    """The hub does not answer, perhaps because it reloads."""


def _answer(status: int, content: bytes) -> Mapping[str, Any]:
    """Return the answer of the hub.

    Raises:
        LittlestHubError: it is a refusal.
    """
    try:
        found = json.loads(content)
    except ValueError:
        found = {}
    if status == 200 and isinstance(found, dict):
        return found
    said = found.get("message") if isinstance(found, dict) else None
    text = _on_one_line(str(said or f"the hub answers {status}"))
    # 403: the token is that of another hub, which has just been replaced.
    raise (_AwayError if status in (403, 502, 503) else LittlestHubError)(text)


def _run(layout: Layout, options: argparse.Namespace) -> int:
    hub, group = Hub(layout), str(options.group)
    found = hub.members(group)
    states: Mapping[str, str] = found["members"]
    at_once = _at_once(options.at_a_time, int(found["limit"]))
    names = [name for name, state in states.items() if not state]
    results = [Result(name, Outcome(state)) for name, state in states.items() if state]
    if not options.json:
        print(_plan(group, len(states), len(names), at_once, options.at_a_time), flush=True)
    waves = Waves(names, at_once, lambda name: hub.start(group, name))
    before = signal.signal(signal.SIGINT, lambda *_: _interrupt(waves))
    try:
        for number, each in enumerate(waves.results(), 1):
            results.append(each)
            if not options.json and each.outcome is not Outcome.NOT_ASKED:
                print(f"[{number}/{len(names)}] {each.name}: {_shown(each)}", flush=True)
    finally:
        signal.signal(signal.SIGINT, before)
    if options.json:
        members = [asdict(each) for each in sorted(results, key=lambda each: each.name)]
        print(json.dumps({"format": 1, "group": group, "members": members}, indent=1))
    else:
        print("\n".join(summary(group, results)))
    return exit_code(results)


def _interrupt(waves: Waves) -> None:
    """Ask for no more servers; after a second Ctrl-C, end at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    waves.interrupt()
    text = "No more servers are asked for. Those that start are awaited; Ctrl-C again ends this."
    print(text, file=sys.stderr, flush=True)


def _at_once(asked: int | None, limit: int) -> int:
    return min(asked or limit or _AT_ONCE, limit or sys.maxsize)


def _plan(group: str, members: int, starts: int, at_once: int, asked: int | None) -> str:
    text = f"{group}: {_people(members)}, {starts} to start, {at_once} at a time"
    return text if not asked or asked == at_once else f"{text}, the most that the hub allows"


def summary(group: str, results: Sequence[Result]) -> Iterable[str]:
    """Yield lines about all members: numbers, then each failure with its reason."""
    number = Counter(each.outcome for each in results)
    words = {
        Outcome.STARTED: "started",
        Outcome.RUNS: "ran already",
        Outcome.LOCKED: "locked, so nothing was started",
        Outcome.GONE: "not in the class, so nothing was started",
        Outcome.NOT_ASKED: "not asked for, because of Ctrl-C",
        Outcome.FAILED: "did not start",
    }
    said = [f"{number[each]} {text}" for each, text in words.items() if number[each]]
    yield f"{group}: {'; '.join(said) or 'nobody is in this group'}"
    for each in sorted(results, key=lambda each: each.name):
        if each.outcome is Outcome.FAILED:
            yield f"  {each.name}: {_on_one_line(each.reason)}"
        elif each.outcome is Outcome.GONE:
            yield f"  {each.name}: was removed from the class, or no fragment lets them in"


def exit_code(results: Sequence[Result]) -> int:
    """Return the exit code for these results."""
    outcomes = {each.outcome for each in results}
    if Outcome.NOT_ASKED in outcomes:
        return _STOPPED
    return 1 if Outcome.FAILED in outcomes else 0


def _shown(result: Result) -> str:
    text = f"{result.outcome}"
    if result.outcome is Outcome.STARTED:
        text = f"{text} after {result.duration_s:.1f} s"
    return f"{text}: {_on_one_line(result.reason)}" if result.reason else text


def _on_one_line(text: str) -> str:
    """Return a text of the hub that is safe on a terminal."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def _people(number: int) -> str:
    return "1 member" if number == 1 else f"{number} members"


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, found {text!r}")
    return int(text)
