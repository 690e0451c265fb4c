"""The probe of `doctor` for the environment."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment.generations import Generations
from littlest_hub.stacks.classroom.environment.place import Place


def environment(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the environment is there, with its interpreter and its kernel specs."""
    place = Place.of(snapshot.layout)
    command = f"{snapshot.layout.command} environment"
    generations = Generations(place)
    try:
        number = generations.current()
    except LittlestHubError as error:
        numbers = generations.numbers()
        again = f"{command} rollback {numbers[-1]}" if numbers else f"{command} make"
        yield Finding(PROBLEM, "environment", error.message, again)
        return
    if not place.python.exists():
        text = f"generation {number} has no Python: kernels do not start"
        yield Finding(PROBLEM, "environment", text, f"{command} rollback")
    elif not (place.kernels[0] / "kernels").is_dir():
        yield Finding(PROBLEM, "environment", "its kernel specs are missing", f"{command} make")
    else:
        yield Finding(OK, "environment", f"{place.link} is generation {number}")
