"""The probe of `doctor` for the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment.change import Environment
from littlest_hub.stacks.classroom.environment.generations import Generations


def environment(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the environment is there, with its kernel specs, and that a kernel starts."""
    found = Environment(snapshot.layout)
    place, generations = found.place, found.generations
    command = f"{snapshot.layout.command} environment"
    try:
        number = generations.current()
    except LittlestHubError as error:
        again = f"{command} {generations.way_back()}"
        yield Finding(PROBLEM, "environment", error.message, again)
        return
    if not (place.kernels[0] / "kernels").is_dir():
        yield Finding(PROBLEM, "environment", "its kernel specs are missing", f"{command} make")
    elif reason := _why_no_kernel(found):
        text = f"generation {number}: {reason}"
        yield Finding(PROBLEM, "environment", text, f"{command} {_way_back(generations, number)}")
    else:
        yield Finding(OK, "environment", f"{place.link} is generation {number}")


def _why_no_kernel(found: Environment) -> str:
    """Return why kernels do not work in the present generation; "" if they do."""
    if not found.place.python.exists():
        return "it has no Python: kernels do not start"
    if os.geteuid():  # a trial runs as another user
        return ""
    try:
        return "; ".join(found.problems(is_lenient=True))
    except LittlestHubError as error:  # the list of modules
        return error.message
    except OSError as error:  # a full disk
        return str(error)


def _way_back(generations: Generations, number: int) -> str:
    """Return the command that leads to a generation that may work."""
    try:
        generations.before(number)
    except LittlestHubError:
        later = [each for each in generations.numbers() if each != number]
        return f"rollback {later[-1]}" if later else "make --new"
    return "rollback"
