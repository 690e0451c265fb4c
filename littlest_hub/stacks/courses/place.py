"""Paths and units of courses on the machine; no input or output."""

from __future__ import annotations

from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.units.server import RUNTIME

STACK = "courses"
ADDRESS, ACCOUNTS = "hub.json", "accounts.json"
"""Files that the hub publishes for graders."""
FRAGMENT = "62-courses.py"
SEEN = RUNTIME / "courses"
"""Path at which units of graders see the directory `published` of the hub."""
RELEASE_FILES = Path(__file__).parent
"""This package, which every user of the machine may read."""
STUDENT_SETTINGS = RELEASE_FILES / "settings" / "student"
"""Settings of Jupyter and nbgrader in the servers of people who take part in a course."""
PROGRAMS = RELEASE_FILES / "programs"
"""Programs for terminals of these servers: nbgrader."""
EXCHANGE = "LITTLEST_HUB_EXCHANGE"
"""Variable of a server: nbgrader's exchange."""
SUBMISSION = "LITTLEST_HUB_SUBMISSION_MB"
"""Variable of a server: the largest size of a submission."""
SUBMISSION_MB = 100
"""The largest size of a submission, unless the fragment says otherwise."""


def courses_directory(layout: Layout) -> Path:
    """Return the directory of the course directories."""
    return Path("/srv") / f"{layout.instance}-courses"


def home_of(layout: Layout, name: str) -> Path:
    """Return the directory of a course: sources, submissions, gradebook."""
    return courses_directory(layout) / name


def exchange(layout: Layout) -> Path:
    """Return nbgrader's exchange; each server sees only its own courses there."""
    return Path("/srv") / f"{layout.instance}-exchange"


def records(layout: Layout) -> Path:
    """Return the file with all courses, which only root writes."""
    return layout.stacks / STACK / "data" / "courses.json"


def shared(layout: Layout) -> Path:
    """Return the file that is there if other machines may share the exchange."""
    return records(layout).with_name("exchange-is-shared")


def token_of(layout: Layout, name: str) -> Path:
    """Return the file with the token of a course's formgrader."""
    return layout.stacks / STACK / "tokens" / name


def published(layout: Layout) -> Path:
    """Return the directory in which the hub publishes its address and people's accounts."""
    return layout.stack_hub_data(STACK) / "published"


def accounts(layout: Layout) -> Path:
    """Return the file with the numbers of the accounts that servers of logins run as."""
    return published(layout) / ACCOUNTS


def platforms(layout: Layout) -> Path:
    """Return the directory with what is known of learning platforms, which only root enters."""
    return layout.stacks / STACK / "lti"


def platform_record(layout: Layout, name: str) -> Path:
    """Return the file with the learning platform of a course, and the grades that it has."""
    return platforms(layout) / f"{name}.json"


def platform_key(layout: Layout) -> Path:
    """Return the file with the private key of this hub for learning platforms."""
    return platforms(layout) / "tool.key"


def public_keys(layout: Layout) -> Path:
    """Return the file with its public half, which the hub shows to everybody."""
    return platforms(layout) / "keys" / "keys.json"


def formgrader_unit(layout: Layout, name: str, suffix: str) -> str:
    return layout.stack_unit(STACK, f"-formgrader-{name}{suffix}")


def kernels_unit(layout: Layout, name: str, suffix: str) -> str:
    return layout.stack_unit(STACK, f"-kernels-{name}{suffix}")


def grader_unit(layout: Layout, name: str, work: str) -> str:
    """Return the unit of one command that a course's grader runs; `work` "*" matches all of them.

    No name of a course contains "_", so none of another course matches.
    """
    return layout.stack_unit(STACK, f"-grader-{name}_{work}.service")


def platform_unit(layout: Layout, name: str, work: str) -> str:
    """Return the unit of the program that asks the learning platform of a course."""
    return layout.stack_unit(STACK, f"-lti-{name}_{work}.service")


def kernels_address(layout: Layout, name: str) -> Path:
    """Return the socket at which a grader asks for isolated kernels."""
    return Path(f"/run/{kernels_unit(layout, name, '')}.sock")


def runtime_of(layout: Layout, name: str) -> str:
    """Return the name of the directory in /run that units of a grader have."""
    return formgrader_unit(layout, name, "")


def page_unit(layout: Layout, suffix: str) -> str:
    """Return a unit of root's helper for the page of courses."""
    return layout.stack_unit(STACK, f"-page{suffix}")


def page_address(layout: Layout) -> Path:
    """Return the socket at which the hub asks root to make and change courses."""
    return Path(f"/run/{page_unit(layout, '')}.sock")


def page_directory(layout: Layout) -> Path:
    """Return the directory with the changes that people have begun on the page."""
    return Path("/run") / page_unit(layout, "")
