"""Problems of plain values at the top of a stack's fragment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from littlest_hub.check import plain_values
from littlest_hub.check.facts import Facts
from littlest_hub.check.origins import RecordingConfig
from littlest_hub.check.settings import Settings
from littlest_hub.layout import Layout

FRAGMENT = "65-course.py"


@dataclass(frozen=True)
class Values:
    """Values of a stack."""

    hosts: tuple[str, ...] = ()
    memory_gb: float = 0

    def problems(self) -> list[tuple[str, str]]:
        return [("HOSTS", "expected some")] if not self.hosts else []


def settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / FRAGMENT
    file.write_text(text)
    return Settings(RecordingConfig(), {}, Layout(tmp_path), Facts(), [str(file)])


def test_a_misspelled_value_is_a_warning_with_its_line_and_the_right_name(tmp_path: Path) -> None:
    found = settings(tmp_path, "HOSTS = ['a']\nHOST = ['b']\nmemory_gb = 2\nTERM = 'winter'\n")
    about = [
        (each.line, each.message, each.is_warning)
        for each in plain_values.misspelled(found, FRAGMENT, Values)
    ]
    assert about == [
        (2, "HOST: nothing uses this value; probably HOSTS is meant", True),
        (3, "memory_gb: nothing uses this value; probably MEMORY_GB is meant", True),
    ]


def test_the_line_of_a_problem_is_found_however_it_is_spaced(tmp_path: Path) -> None:
    for text in ("\nHOSTS=()\n", "\nHOSTS = ()\n", "HOSTS_OF_OTHERS = 1\nHOSTS  =()\n"):
        found = settings(tmp_path, text)
        (wrong,) = plain_values.problems(found, FRAGMENT, Values)
        assert wrong.line == 2


def test_a_value_below_the_call_that_takes_it_is_refused_with_the_line_for_it(
    tmp_path: Path,
) -> None:
    top = "HOSTS = ['a']\nTERM = 'winter'\nstart()\n"
    assert not list(plain_values.problems(settings(tmp_path, top), FRAGMENT, Values))
    for call in ("configure(c, globals())", "configure(c, HOSTS)", "configure(c, hosts=HOSTS)"):
        text = f"{top}{call}\nHOSTS = ['b']\nMEMORY_GB = 2\nTERM = 'summer'\n"
        wrong = list(plain_values.problems(settings(tmp_path, text), FRAGMENT, Values))
        assert [(each.line, each.message, each.is_warning) for each in wrong] == [
            (5, "HOSTS: line 4 takes the value before this line; expected in line 1", False),
            (6, "MEMORY_GB: line 4 takes the value before this line; expected above it", False),
        ]
