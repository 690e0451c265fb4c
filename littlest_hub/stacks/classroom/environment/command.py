"""`littlest-hub environment`: the environment that the kernels of a class share."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeAlias

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.stacks.classroom.environment import conda, imports
from littlest_hub.stacks.classroom.environment.change import Environment, Outcome

_ABOUT = """\
Change the environment that all kernels share. A change is tried before it counts: a kernel has to
start, and the modules of imports.txt have to work. Kernels that are started from then on have it;
those that run keep what they have. Every change is a generation, which `rollback` returns from.
"""
_UNDO = "Kernels have it when they are started: restart those that are open. To undo it: {}"
_SHELL = ("bash", "--norc", "-i")
Function: TypeAlias = Callable[[Environment, argparse.Namespace], int | None]
"""Carries out a verb; returns its exit code, or None for 0."""


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Run one command of the environment."""
    return verbs.run(_parser(layout), layout, arguments)


def after_enable(layout: Layout) -> Iterator[str]:
    """Yield the command that adds the first packages to a new environment."""
    if Environment(layout).generations.numbers() == [1]:
        yield (
            "The environment of all notebooks contains Python alone. To add packages:"
            f"\n  {layout.command} environment install numpy pandas matplotlib"
        )


def _parser(layout: Layout) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{layout.command} environment", description=_ABOUT)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(word: str, function: Function, text: str) -> argparse.ArgumentParser:
        return verbs.add(commands, word, partial(_run_verb, function), text)

    is_json = {"action": "store_true", "help": "for programs"}
    made = add("install", _install, "install packages for everybody")
    made.add_argument("names", nargs="+", metavar="NAME", help='NAME, "NAME>=VERSION", or a wheel')
    made.add_argument("--conda", action="store_true", help="packages of conda, instead of pip's")
    channel = {"metavar": "CHANNEL", "help": "with --conda: a directory, an address, or a name"}
    made.add_argument("--channel", action="append", default=[], **channel)  # type: ignore[arg-type]
    made = add("remove", _remove, "remove packages")
    made.add_argument("names", nargs="+", metavar="NAME")
    made = add("import", _import, "install what a list of requirements, or a bundle, contains")
    made.add_argument("source", metavar="FILE-or-URL")
    add("export", _export, "print all packages of Python as a list of requirements")
    add("shell", _shell, "open a shell in which everything may be changed; it counts at its end")
    made = add("run", _run, "run one program that changes the environment, such as pip")
    made.add_argument("words", nargs=argparse.REMAINDER, metavar="-- PROGRAM …")
    made = add("list", _list, "list the generations, the present one with a star")
    made.add_argument("--json", **is_json)  # type: ignore[arg-type]
    made = add("diff", _diff, "show which packages two generations do not have in common")
    made.add_argument("before", nargs="?", type=int, metavar="N", help="default: the one before")
    made.add_argument("after", nargs="?", type=int, metavar="M", help="default: the present one")
    made.add_argument("--json", **is_json)  # type: ignore[arg-type]
    made = add("check", _check, "start a kernel and import the modules of imports.txt")
    made.add_argument("--json", **is_json)  # type: ignore[arg-type]
    made = add("rollback", _rollback, "return to another generation, by default the one before")
    made.add_argument("number", nargs="?", type=int, metavar="N")
    made = add("make", _make, "make the environment if there is none (as the stack's unit does)")
    another = "make another generation, with Python alone, even if there are some"
    made.add_argument("--new", action="store_true", help=another)
    return parser


def _run_verb(function: Function, layout: Layout, options: argparse.Namespace) -> int:
    return function(Environment(layout), options) or 0


def _make(environment: Environment, options: argparse.Namespace) -> None:
    number = environment.make(is_new=options.new)
    print(f"{environment.place.link} is generation {number}.")


def _install(environment: Environment, options: argparse.Namespace) -> None:
    if options.conda:
        channels = options.channel or ["conda-forge"]
        place = environment.place.link
        words = conda.command(environment.layout, place, channels, options.names)
        _change(environment, words, f"conda: {shlex.join(options.names)}")
    elif options.channel:
        raise LittlestHubError("--channel goes with --conda")
    else:
        _change(environment, ["pip", "install", *options.names])


def _remove(environment: Environment, options: argparse.Namespace) -> None:
    _change(environment, ["pip", "uninstall", "--yes", *options.names])


def _import(environment: Environment, options: argparse.Namespace) -> None:
    with imports.opened(options.source) as source:
        _change(environment, ["pip", "install", *source.arguments], f"import {options.source}")
    imports.list_modules(environment.place.imports, source.modules)


def _run(environment: Environment, options: argparse.Namespace) -> None:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    # The program has the terminal, because pip asks before it uninstalls.
    _change(environment, words or ["true"])


def _shell(environment: Environment, _: argparse.Namespace) -> None:
    print(f"{environment.place.link} may be changed here; everything counts after `exit`.")
    outcome = environment.run(_SHELL, "shell", is_trusted=True)
    print(_text(environment, outcome))


def _change(environment: Environment, words: Sequence[str], command: str = "") -> None:
    outcome = environment.run(words, command or shlex.join(words))
    print(_text(environment, outcome))


def _text(environment: Environment, outcome: Outcome) -> str:
    if not outcome.is_new:
        return f"Nothing has changed; the environment is generation {outcome.number}."
    undo = f"{environment.layout.command} environment rollback"
    lines = [f"Generation {outcome.number}:", *map(str, outcome.differences), _UNDO.format(undo)]
    return "\n".join(lines)


def _export(environment: Environment, _: argparse.Namespace) -> None:
    number = environment.generations.current()
    print(f"# {environment.place.link}, generation {number}")
    for name, version in environment.python_packages(number).items():
        print(f"{name}=={version}")


def _list(environment: Environment, options: argparse.Namespace) -> None:
    generations = environment.generations
    current = generations.current()
    numbers = generations.numbers()
    found = [
        {"number": each, "is_current": each == current, **asdict(generations.record(each))}
        for each in numbers
    ]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for each in found:
        star = "*" if each["is_current"] else " "
        print(f"{star} {each['number']:>3}  {each['time']}  {each['author']}: {each['command']}")


def _diff(environment: Environment, options: argparse.Namespace) -> None:
    generations = environment.generations
    current = generations.current()
    if options.before is None:
        before, after = generations.before(current), current
    else:
        before, after = options.before, options.after if options.after is not None else current
    found = environment.differences(before, after)
    if options.json:
        record = {"before": before, "after": after, "packages": [asdict(each) for each in found]}
        print(json.dumps(record, indent=2))
    else:
        print("\n".join(map(str, found)) or f"{before} and {after} have the same packages.")


def _check(environment: Environment, options: argparse.Namespace) -> int:
    problems = environment.problems()
    number = environment.generations.current()
    if options.json:
        print(json.dumps({"generation": number, "problems": problems}, indent=2))
    else:
        modules = ", ".join(environment.imports())
        print(
            "\n".join(problems) or f"Generation {number}: a kernel starts, and imports {modules}."
        )
    return 1 if problems else 0


def _rollback(environment: Environment, options: argparse.Namespace) -> None:
    before, now = environment.switch(options.number)
    print(f"The environment is generation {now}; it was {before}. Restart open kernels.")
